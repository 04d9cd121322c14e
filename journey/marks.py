"""Marks: what rendering leaves in a body for what is known only at planning, and the filling of them.

What belongs here: the marks of the coupon code and of the codes of counted links, and `fill_marks`. A message may be
held back for many reasons, and only who really gets one uses up a code: so bodies are made first, and codes go in last.

A mark begins with U+0001 and ends with U+0002 as they are. JSON writes control characters as escapes, and so does
`render` with people's data: no value of anybody's can be a mark, and a body with a mark left in it is no JSON.
"""

from collections.abc import Mapping

import polars as pl

from journey.text import json_escaped, percent_encoded

VOUCHER = "\x01voucher\x02"  # in a text: takes the code as it is, escaped for JSON
VOUCHER_IN_URL = "\x01voucher-url\x02"  # in an address: takes it percent-encoded
CODE_LENGTH = 20  # what a mark counts in checks of length: Meta's longest coupon code

#: Columns of the frame that `pipelines.rendering` gives, each with the button's position behind it: the address to
#: which a counted link leads (null where the person's template has none there), and the button's label.
LINK, LABEL = "link.", "label."


def link_mark(button: int) -> str:
    """The mark of the code of the counted link in the button at this position (from 0)."""
    return f"\x01link{button}\x02"


def links_of(columns: list[str]) -> list[int]:
    """The positions of the buttons with counted links, by the columns of a rendered frame."""
    return sorted(int(name.removeprefix(LINK)) for name in columns if name.startswith(LINK))


def fill_marks(
    bodies: pl.Series, vouchers: pl.Series | None = None, links: Mapping[int, pl.Series] | None = None
) -> pl.Series:
    """The bodies (String) with codes in the place of their marks; null stays null.

    `vouchers` (String) are coupon codes, row by row; `links` (String) the codes of counted links by the button's
    position. Null is for bodies without that mark. The addresses of counted links (columns LINK) may hold the
    voucher's mark too, and are filled by the same call, without `links`.

    Raises ValueError where a mark would be left: a message without its code must not go out.
    """
    codes = {link_mark(button): values for button, values in (links or {}).items()}
    if vouchers is not None:
        plain = vouchers.cast(pl.String)
        codes[VOUCHER] = plain.to_frame("code").select(json_escaped(pl.col("code"))).to_series()
        codes[VOUCHER_IN_URL] = percent_encoded(plain)
    for mark, values in codes.items():
        marked = bodies.str.contains(mark, literal=True).fill_null(False)
        if not marked.any():
            continue
        frame = pl.DataFrame({"body": bodies, "code": values.cast(pl.String), "marked": marked})
        filled = pl.col("body").str.split(mark).list.join(pl.col("code"), ignore_nulls=False)
        bodies = frame.select(pl.when("marked").then(filled).otherwise("body").alias(bodies.name)).to_series()
        if (marked & bodies.is_null()).any():
            raise ValueError(f"a body has the mark {mark.strip(chr(1) + chr(2))}, and there is no code for it")
    if bodies.str.contains("\x01", literal=True).any():
        raise ValueError("a body has a mark for which no codes were given")
    return bodies
