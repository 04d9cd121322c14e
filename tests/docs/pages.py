"""Tables and examples of the documentation, for tests that run them."""

import re
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_CODE = re.compile(r"^`(.*)`$", re.DOTALL)


def tables(page: str, *columns: str) -> list[list[dict[str, str]]]:
    """Every table of a page that has exactly these columns, one dict a row; `code` cells without their quotes."""
    found = [table for table in _tables((DOCS / page).read_text(encoding="utf-8")) if list(table[0]) == list(columns)]
    assert found, f"{page} has no table of {columns}"
    return found


def rows(page: str, *columns: str) -> list[dict[str, str]]:
    """The rows of all tables of a page that have exactly these columns."""
    return [row for table in tables(page, *columns) for row in table]


def campaigns(page: str) -> list[tuple[str, list[list[dict[str, str]]]]]:
    """Every ```yaml campaign of a page, with the time lines (tables of at, what happens, then) that follow it."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = list(re.finditer(r"^```yaml campaign\n(.+?)^```", text, re.MULTILINE | re.DOTALL))
    ends = [block.start() for block in blocks[1:]] + [len(text)]
    return [
        (
            block.group(1),
            [t for t in _tables(text[block.end() : end]) if list(t[0]) == ["at", "what happens", "then"]],
        )
        for block, end in zip(blocks, ends, strict=True)
    ]


def _tables(text: str) -> Iterator[list[dict[str, str]]]:
    for found in re.finditer(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *body = [_cells(line) for line in found.group().splitlines()]
        if body:
            yield [dict(zip(head, map(_plain, cells), strict=True)) for cells in body]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")] if line.strip("| ") else []


def _plain(cell: str) -> str:
    code = _CODE.match(cell)
    return code.group(1) if code else cell
