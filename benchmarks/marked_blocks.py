"""Pages of the documentation with tables that a command writes."""

from __future__ import annotations

import re


def with_tables(page: str, tables: dict[str, str], command: str) -> str:
    """A page with the blocks between the markers of a command replaced.

    Args:
      tables: markdown by the name that stands in the marker.

    Raises:
      ValueError: unless the page has exactly one block for each table.
    """
    for name, table in tables.items():
        begin, end = f"<!-- begin: {command} ({name}) -->", "<!-- end -->"
        block = re.compile(f"{re.escape(begin)}\n.*?{end}", re.DOTALL)
        if len(block.findall(page)) != 1:
            raise ValueError(f"the page needs one block {begin} … {end}")
        page = block.sub(lambda _, b=begin, t=table, e=end: f"{b}\n\n{t}\n\n{e}", page)
    return page
