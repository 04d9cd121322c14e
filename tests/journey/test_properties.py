"""The types of properties."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journey.phones import _MARKS, _plain, normalise, normalise_all, parsed
from journey.properties import TYPES, PropertyType, convert, observe

PARIS = ZoneInfo("Europe/Paris")


def settle(values: list[str | None], quoted: int = 0) -> PropertyType | None:
    return observe(pl.Series("x", values, pl.String), quoted).settle()


def as_(kind: PropertyType, *values: str | None) -> list[object]:
    return convert(pl.Series("x", values, pl.String), kind, PARIS).to_list()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "20", "-3", None], "bigint"),
        (["1", "2.5", "3e2"], "double"),
        (["75001", "01000", "33000"], "text"),
        (["+33612345678", "1", "2", "3"], "text"),
        (["0", "0.5", "10"], "double"),
        (["true", "False", "TRUE"], "boolean"),
        (["oui", "non", "oui"], "text"),
        (["1", "0", "1"], "bigint"),
        (["2026-01-01", "2026-02-28"], "date"),
        (["1", "2", "3", "0.5"], "double"),
        (["2026-01-01", "2026-02-28 10:00"], "timestamptz"),
        (["2026-01-01", "2026-01-02", "2026-01-03", "2026-02-28 10:00"], "timestamptz"),
        (["2026-01-01T10:00:00Z", "2026-01-01T10:00:00+02:00"], "timestamptz"),
        (["1", "2", "x"], "bigint"),
        (["1", "x", "y"], "text"),
        (["2026-01-01", "2026-01-02", "01/02/2026"], "date"),
        (["12345678901234567890", "12345678901234567891"], "text"),
        (["nan", "inf", "1_000"], "text"),
        ([None, None], None),
    ],
)
def test_a_column_takes_the_narrowest_type_that_two_thirds_of_its_values_fit(
    values: list[str | None], kind: PropertyType | None
) -> None:
    assert settle(values) == kind


def test_texts_in_a_format_with_types_are_no_numbers() -> None:
    assert settle(["1", "2", "3"], quoted=3) == "text"
    assert settle(["1", "2", "3", "4"], quoted=1) == "bigint"
    assert settle(["2026-01-01"], quoted=1) == "date"


def test_evidence_adds_up_over_the_parts_of_a_file() -> None:
    whole = ["1", "2", "x", "y", "3"]
    parts = observe(pl.Series("x", whole[:2])) + observe(pl.Series("x", whole[2:]))
    assert parts == observe(pl.Series("x", whole))


def test_a_boolean_column_reads_the_words_of_exports() -> None:
    found = as_("boolean", "true", "NO", "1", "0", "Oui", "non", "yes", "vrai", None)
    assert found == [True, False, True, False, True, False, True, None, None]


def test_a_code_does_not_fit_a_number() -> None:
    assert as_("bigint", "7", "007", "+7", "7.0", "9223372036854775808") == [7, None, None, None, None]
    assert as_("double", "7", "07.5", "1e3", "1e999", "nan") == [7.0, None, 1000.0, None, None]


def test_times_without_a_zone_are_the_settings() -> None:
    assert as_(
        "timestamptz",
        "2026-07-01 10:00",
        "2026-07-01T10:00:30.5Z",
        "2026-07-01 10:00+0530",
        "2026-07-01",
        "2026-03-29 02:30",  # does not exist in Paris: the first instant after the gap
        "2026-10-25 02:30",  # exists twice: the first
        "2026-02-30 10:00",
        "25/12/2026",
    ) == [
        datetime(2026, 7, 1, 8, tzinfo=UTC),
        datetime(2026, 7, 1, 10, 0, 30, 500_000, tzinfo=UTC),
        datetime(2026, 7, 1, 4, 30, tzinfo=UTC),
        datetime(2026, 6, 30, 22, tzinfo=UTC),
        datetime(2026, 3, 29, 1, tzinfo=UTC),
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        None,
        None,
    ]


def test_dates_are_dates_and_nothing_else() -> None:
    assert as_("date", "2026-02-28", "2026-02-29", "2026-01-01 10:00") == [date(2026, 2, 28), None, None]


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.one_of(st.none(), st.text(max_size=6), st.integers().map(str), st.floats().map(str))))
def test_a_settled_column_keeps_two_thirds_of_its_values_and_never_raises(values: list[str | None]) -> None:
    values = [None if one is None else one.strip() or None for one in values]
    column = pl.Series("x", values, pl.String)
    for kind in TYPES:
        assert convert(column, kind, PARIS).len() == len(values)
    settled = observe(column).settle()
    filled = len(values) - column.null_count()
    if settled is None:
        assert filled == 0
    else:
        kept = filled - (convert(column, settled, PARIS).null_count() - column.null_count())
        assert kept * 3 >= filled * 2


@pytest.mark.parametrize(
    ("written", "phone"),
    [
        ("06 12 34 56 78", "+33612345678"),
        ("06.12.34.56.78", "+33612345678"),
        ("+33 (0)6 12 34 56 78", "+33612345678"),
        ("0033612345678", "+33612345678"),
        ("33612345678", "+33612345678"),
        ("+1 (415) 555-2671", "+14155552671"),
        ("+33755512345", "+33755512345"),
        ("+39 06 1234 5678", "+390612345678"),
        ("612345678", "+33612345678"),
        ("12", None),
        ("n/a", None),
        ("+999123456789", None),
        ("+33612345678 ext. 5", None),
        ("", None),
    ],
)
def test_phones_are_read_as_people_write_them(written: str, phone: str | None) -> None:
    assert normalise(written, "FR") == phone


def test_a_column_of_phones_is_read_like_each_of_them() -> None:
    column = pl.Series("p", ["0612345678", None, "x", "0612345678", "+14155552671"])
    assert normalise_all(column, "FR").to_list() == ["+33612345678", None, None, "+33612345678", "+14155552671"]


@settings(max_examples=300, deadline=None)
@given(
    region=st.sampled_from(["FR", "US", "IT", "GB", "BR", "MX", "AR", "DE", "IN", "RU", "SN", "BE", "CI", "GP"]),
    sign=st.sampled_from(
        ["", "+", "0", "00", "+33", "+39", "+1", "+55", "+549", "+521", "+7", "+44", "+225", "33", "+800"]
    ),
    digits=st.text("0123456789", min_size=3, max_size=13),
    mark=st.sampled_from(["", " ", ".", "-", "(0)"]),
)
def test_plainly_written_numbers_are_what_libphonenumber_makes_of_them(
    region: str, sign: str, digits: str, mark: str
) -> None:
    text = sign + mark + digits
    quick = _plain(text.translate(_MARKS), region)
    assert quick is None or quick == parsed(text, region)
