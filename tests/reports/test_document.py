import re
from html.parser import HTMLParser

import pytest

from sentiment_train.reports.document import (
    Facts,
    Heading,
    Paragraph,
    Picture,
    Quote,
    Table,
    to_html,
    to_markdown,
)

EVIL = "<script>alert('1')</script> & \"q\" | `x` *b* _i_ [l](u) $5 ${body}\x00\u202e\nend"
BLOCKS = [
    Heading(EVIL),
    Heading("small", level=3),
    Paragraph(EVIL),
    Facts([(EVIL, EVIL)]),
    Table(EVIL, ("class", EVIL), [(EVIL, "-1.5"), ("plain", "1,000")]),
    Picture(b"\x89PNG", EVIL),
    Quote(EVIL, EVIL),
]


class Page(HTMLParser):
    """The elements of a page, its attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_no_text_becomes_markup():
    page = Page(to_html(EVIL, BLOCKS))
    assert "script" not in page.tags
    assert page.open == []
    places = 11  # wherever it was put; the title is there twice
    assert page.text.count("<script>alert('1')</script>") == places
    assert page.text.count("${body}") == places
    assert "\x00" not in page.text
    assert "\u202e" not in page.text


def test_the_page_loads_nothing_and_every_picture_has_words():
    page = Page(to_html("run", BLOCKS))
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert sources == ["data:image/png;base64,iVBORw=="]
    alts = [value for name, value in page.attributes if name == "alt"]
    assert len(alts) == 1
    assert alts[0].startswith("<script>alert")
    assert ("lang", "en") in page.attributes
    assert page.tags.count("caption") == page.tags.count("table") == 1


def test_markdown_has_no_markup_of_others():
    text = to_markdown(EVIL, BLOCKS)
    assert "<" not in text
    assert "\n> &lt;script&gt;alert('1')&lt;/script&gt; &amp; " in text
    assert r"\| \`x\` \*b\* \_i\_ \[l\](u) \$5 \${body}" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [3, 3, 3, 3]
    assert rows[3] == "| plain | 1,000 |"


@pytest.mark.parametrize(
    "text, written",
    [
        ("# no heading", r"\# no heading"),
        ("- no list", r"\- no list"),
        ("1. no list", r"1\. no list"),
        ("0.5 stays", "0.5 stays"),
        ("macro_f1 stays", "macro_f1 stays"),
        ("a  b\nc", "a  b c"),
    ],
)
def test_a_paragraph_begins_as_a_paragraph(text, written):
    assert to_markdown("t", [Paragraph(text)]) == f"# t\n\n{written}\n"
