"""Codes go into bodies last: whose body has a mark gets its own, and no mark goes out."""

import json

import polars as pl
import pytest

from journey.marks import VOUCHER, VOUCHER_IN_URL, fill_marks, link_mark, links_of


def test_each_body_gets_its_own_codes_in_every_place() -> None:
    body = f'{{"text":"Code {VOUCHER}, oui {VOUCHER}","url":"p?c={VOUCHER_IN_URL}","link":"{link_mark(1)}"}}'

    filled = fill_marks(
        pl.Series("body", [body, body, "{}", None]),
        pl.Series(['A"1\\', "É 2", None, None]),
        {1: pl.Series(["aaa", "bbb", None, None])},
    )

    assert [json.loads(one) for one in filled[:3]] == [
        {"text": 'Code A"1\\, oui A"1\\', "url": "p?c=A%221%5C", "link": "aaa"},
        {"text": "Code É 2, oui É 2", "url": "p?c=%C3%89%202", "link": "bbb"},
        {},
    ]
    assert filled[3] is None
    assert filled.name == "body"


def test_a_mark_at_the_very_beginning_or_end_is_filled() -> None:
    assert fill_marks(pl.Series([VOUCHER + "x" + VOUCHER]), pl.Series(["AB"])).to_list() == ["ABxAB"]


@pytest.mark.parametrize("vouchers", [None, pl.Series([None], dtype=pl.String)])
def test_a_mark_without_a_code_is_refused(vouchers: pl.Series | None) -> None:
    with pytest.raises(ValueError, match="mark"):
        fill_marks(pl.Series([f"a{VOUCHER}"]), vouchers)


def test_a_mark_of_another_link_is_not_taken_for_it() -> None:
    with pytest.raises(ValueError, match="mark"):
        fill_marks(pl.Series([link_mark(12)]), None, {1: pl.Series(["x"])})


def test_links_are_found_by_their_columns() -> None:
    assert links_of(["body", "link.10", "link.2", "label.2", "linked"]) == [2, 10]
