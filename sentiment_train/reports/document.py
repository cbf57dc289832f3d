"""A report as a list of blocks, written as Markdown or as one HTML file.

Every string is plain text, whoever wrote it: both writers escape it.
"""

from __future__ import annotations

import base64
import html
import re
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from string import Template


@dataclass(frozen=True)
class Heading:
    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Facts:
    """Pairs of a label and a text."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Link:
    """A cell that leads to a file, by a path relative to the document."""

    text: str
    path: str


@dataclass(frozen=True)
class Table:
    """The first cell of a row names it; numbers stand to the right."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | Link]]


@dataclass(frozen=True)
class Picture:
    """`alt` says in words what is to be seen, for those who do not see it and for Markdown.

    Markdown shows the picture itself if it is also in a file beside the document.
    """

    png: bytes
    alt: str
    file: str = ""


@dataclass(frozen=True)
class Quote:
    """Somebody else's text, and a line about it."""

    text: str
    note: str


Block = Heading | Paragraph | Facts | Table | Picture | Quote


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """Markdown of one file; of pictures only the words."""
    pieces = [f"# {_plain(title)}", *(_MARKDOWN[type(block)](block) for block in blocks)]
    return "\n\n".join(pieces) + "\n"


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """A page that needs no other file and may load none."""
    body = "\n".join(_HTML[type(block)](block) for block in blocks)
    return Template(_PAGE).substitute(title=_escaped(title), style=_STYLE, body=body)


def to_lines(table: Table) -> list[str]:
    """A table for a screen: columns with two spaces between them."""
    rows = [
        [cell.text if isinstance(cell, Link) else cell for cell in row]
        for row in (table.header, *table.rows)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]


def _plain(text: str) -> str:
    """Text in which Markdown finds nothing to interpret."""
    escaped = re.sub(r"([\\`*\[\]|~$]|(?<!\w)_|_(?!\w))", r"\\\1", _printable(text).strip())
    escaped = re.sub(r"^([#+=-])", r"\\\1", escaped)  # a heading or a list
    escaped = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", escaped)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _printable(text: str) -> str:
    """Without line breaks and control characters, which could leave their place."""
    return "".join(c if c.isprintable() or c in "\u200c\u200d" else " " for c in text)


def _markdown_cell(cell: str | Link) -> str:
    if isinstance(cell, Link):
        return f"[{_plain(cell.text)}](<{urllib.parse.quote(cell.path)}>)"
    return _plain(cell)


def _markdown_table(table: Table) -> str:
    def line(cells: Sequence[str | Link]) -> str:
        return f"| {' | '.join(map(_markdown_cell, cells))} |"

    rule = f"| --- |{' ---: |' * (len(table.header) - 1)}"
    lines = [line(table.header), rule, *map(line, table.rows)]
    return f"**{_plain(table.caption)}**\n\n" + "\n".join(lines)


def _markdown_facts(facts: Facts) -> str:
    return "\n".join(f"- **{_plain(label)}** {_plain(text)}" for label, text in facts.rows)


_MARKDOWN = {
    Heading: lambda block: f"{'#' * block.level} {_plain(block.text)}",
    Paragraph: lambda block: _plain(block.text),
    Facts: _markdown_facts,
    Table: _markdown_table,
    Picture: lambda block: (
        f"![{_plain(block.alt)}](<{block.file}>)" if block.file else f"*{_plain(block.alt)}*"
    ),
    Quote: lambda block: f"> {_plain(block.text)}\n\n{_plain(block.note)}",
}


def _escaped(text: str) -> str:
    return html.escape(_printable(text))


def _html_cell(cell: str | Link) -> str:
    if isinstance(cell, Link):
        return f'<a href="{urllib.parse.quote(cell.path)}">{_escaped(cell.text)}</a>'
    return _escaped(cell)


def _html_table(table: Table) -> str:
    header = "".join(f'<th scope="col">{_escaped(cell)}</th>' for cell in table.header)
    rows = "".join(
        f'<tr><th scope="row">{_html_cell(row[0])}</th>'
        + "".join(f"<td>{_html_cell(cell)}</td>" for cell in row[1:])
        + "</tr>\n"
        for row in table.rows
    )
    return (
        f'<div class="wide"><table><caption>{_escaped(table.caption)}</caption>\n'
        f"<thead><tr>{header}</tr></thead>\n<tbody>{rows}</tbody></table></div>"
    )


def _html_facts(facts: Facts) -> str:
    rows = "".join(
        f"<dt>{_escaped(label)}</dt><dd>{_escaped(text)}</dd>\n" for label, text in facts.rows
    )
    return f"<dl>{rows}</dl>"


def _html_picture(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    return f'<p><img alt="{_escaped(picture.alt)}" src="data:image/png;base64,{data}"></p>'


_HTML = {
    Heading: lambda block: f"<h{block.level}>{_escaped(block.text)}</h{block.level}>",
    Paragraph: lambda block: f"<p>{_escaped(block.text)}</p>",
    Facts: _html_facts,
    Table: _html_table,
    Picture: _html_picture,
    Quote: lambda block: (
        f'<figure><blockquote dir="auto">{_escaped(block.text)}</blockquote>'
        f"<figcaption>{_escaped(block.note)}</figcaption></figure>"
    ),
}

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 58rem; margin: 2rem auto; padding: 0 1rem;
  color: #1a1a1a; background: #fff; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; border-bottom: 1px solid #ddd;
  font-variant-numeric: tabular-nums; vertical-align: top; }
th:first-child { text-align: left; } th { font-weight: 500; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; }
dt { font-weight: 500; } dd { margin: 0; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; }
figure { margin: 1rem 0; } figcaption { color: #555; font-size: .9rem; }
blockquote { margin: 0; padding: .5rem 1rem; background: #f4f4f4; overflow-wrap: anywhere; }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>${title}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>${title}</h1>
${body}
</main>
</body>
</html>
"""
