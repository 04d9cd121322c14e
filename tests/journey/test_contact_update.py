"""What an `update` step makes of contacts: values by the types of properties, tags, and who differs."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from journey.contact_rows import contact_schema
from journey.contact_update import fit, updated

PARIS = ZoneInfo("Europe/Paris")
TYPES = {
    "status": "text",
    "visits": "bigint",
    "spent": "double",
    "vip": "boolean",
    "seen": "timestamptz",
    "born": "date",
}


def fitted(values, types=TYPES, stated=None):
    return fit(values, types, stated or {}, PARIS)


def contacts(*rows, types=TYPES):
    return pl.DataFrame([{"contact_id": f"c{n}", **row} for n, row in enumerate(rows)], schema=contact_schema(types))


@pytest.mark.parametrize(
    "name, value, read",
    [
        ("status", 20, "20"),
        ("status", True, "true"),
        ("visits", "3", 3),
        ("visits", 3.0, 3),
        ("spent", 2, 2.0),
        ("vip", "oui", True),
        ("seen", "2026-12-01 10:00", datetime(2026, 12, 1, 9, tzinfo=UTC)),
        ("seen", "2026-12-01", datetime(2026, 11, 30, 23, tzinfo=UTC)),
        ("born", "2026-02-28", date(2026, 2, 28)),
    ],
)
def test_a_known_propertys_type_reads_the_value(name, value, read):
    found = fitted({name: value})
    assert found.columns.row(0, named=True) == {name: read}
    assert found.types == TYPES
    assert found.unfit == ()


@pytest.mark.parametrize("name, value", [("visits", "many"), ("born", "2026-02-30"), ("vip", 2), ("seen", "soon")])
def test_what_does_not_fit_is_said_and_not_set(name, value):
    found = fitted({name: value, "status": "warm"})
    assert found.columns.row(0, named=True) == {"status": "warm"}
    (why,) = found.unfit
    assert f"`{name}`" in why


@pytest.mark.parametrize("name", ["phone", "opted_in", "contact_id", "tags"])
def test_what_is_no_property_is_not_set(name):
    assert fitted({name: "x"}).columns.is_empty()
    assert f"`{name}`" in fitted({name: "x"}).unfit[0]


def test_a_zone_that_is_none_is_not_set():
    assert "Mars" in fitted({"timezone": "Mars/Base"}).unfit[0]
    assert fitted({"timezone": "Asia/Tokyo", "locale": "ja"}).columns.rows() == [("Asia/Tokyo", "ja")]


@pytest.mark.parametrize(
    "value, kind",
    [(7, "bigint"), (7.5, "double"), (True, "boolean"), ("7", "text"), ("warm", "text"), ("2026-12-01", "date")],
)
def test_a_new_property_takes_the_type_of_its_value(value, kind):
    assert fitted({"new": value}).types["new"] == kind


def test_the_settings_state_a_new_propertys_type_and_its_spelling():
    found = fitted({"ZIP": 75001}, stated={"zip": "text"})
    assert found.types["zip"] == "text"
    assert found.columns.rows() == [("75001",)]


def test_a_whole_number_widens_for_decimals_unless_the_settings_state_it():
    assert fitted({"visits": 1.5}).types["visits"] == "double"
    assert fitted({"visits": 1.5}, stated={"visits": "bigint"}).unfit != ()


def test_names_are_found_in_any_case_and_nothing_clears():
    assert fitted({"Status": None}).columns.rows() == [(None,)]
    assert fitted({"unknown": None}).types == TYPES


def test_only_who_differs_is_written():
    known = contacts({"status": "warm", "tags": ["b", "a"]}, {"status": None}, {"status": "cold", "visits": 3})
    after = updated(known, fitted({"status": "warm"}))
    assert after.select("contact_id", "status", "visits").rows() == [("c1", "warm", None), ("c2", "warm", 3)]
    assert updated(known, fitted({"status": "warm", "score": 1})).height == 3


def test_tags_go_before_others_come_and_leave_the_files_list_too():
    known = contacts(
        {"tags": ["cold", "vip"], "file_tags": ["cold", "vip"]},
        {"tags": None, "file_tags": None},
        {"tags": ["autumn"], "file_tags": []},
    )
    after = updated(known, None, ["autumn"], ["cold"])
    assert after.select("contact_id", "tags", "file_tags").rows() == [
        ("c0", ["autumn", "vip"], ["vip"]),
        ("c1", ["autumn"], []),
    ]
    assert updated(known[:1], None, ["cold"], ["cold"])["tags"].to_list() == [["cold", "vip"]]
