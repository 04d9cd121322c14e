"""Conditions: reading them, and their SQL against a plain reading of the rules."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from journey.condition_sql import Binder, Kind, Writer, json_property
from journey.conditions import (
    Ago,
    Clock,
    Condition,
    Operator,
    conditions_schema,
    parse_condition,
    parse_conditions,
    parse_moment,
)

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CLOCK = Clock(NOW, PARIS)


def read(value: object) -> tuple[dict[str, Condition], list[tuple[tuple[object, ...], str, str]]]:
    found: list[tuple[tuple[object, ...], str, str]] = []
    return parse_conditions(value, (), lambda path, what, mend: found.append((tuple(path), what, mend))), found


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as con:
        con.execute("set TimeZone = 'Europe/Paris'")
        yield con


def holds(con: duckdb.DuckDBPyConnection, condition: object, value: object, kind: Kind, clock: Clock = CLOCK) -> bool:
    """Whether DuckDB finds the condition to hold for one value of a column."""
    read = parse_condition(condition, (), lambda *finding: pytest.fail(str(finding)))
    assert read is not None
    types = {
        "boolean": pl.Boolean(), "bigint": pl.Int64(), "double": pl.Float64(), "text": pl.String(), "date": pl.Date(),
        "timestamptz": pl.Datetime("us", "UTC"), "tags": pl.List(pl.String), "json": pl.String(),
    }  # fmt: skip
    writer = Writer(clock, Binder())
    if kind == "json":
        value = json.dumps({} if value is None else {"x": value})
        column = json_property(writer.binder, "v", "x")
    else:
        column = "v"
    con.register("one", pl.DataFrame({"v": [value]}, schema={"v": types[kind]}).to_arrow())
    sql = writer.condition(read, column, kind)
    [(answer,)] = con.execute(f"select {sql} from one", writer.binder.params).fetchall()
    assert isinstance(answer, bool), "never null: `not` must mean what it says"
    return answer


def test_a_regular_expression_that_would_go_back_forever_comes_to_an_end(con: duckdb.DuckDBPyConnection) -> None:
    assert not holds(con, {"matches": "^(a+)+$"}, "a" * 5_000 + "!", "text")


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_value_means_equal_and_a_mapping_is_one_operator() -> None:
    assert read({"country": "FR", "amount": {"at_least": 20}, "vip": True})[0] == {
        "country": Condition(Operator.is_, "FR"),
        "amount": Condition(Operator.at_least, 20),
        "vip": Condition(Operator.is_, True),
    }


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ({"a": {"at_leest": 1}}, "unknown operator `at_leest`"),
        ({"a": {"at_least": 1, "at_most": 2}}, "one operator is wanted here, found `at_least`, `at_most`"),
        ({"a": ["FR", "BE"]}, "a list needs an operator"),
        ({"a": {"in": "FR"}}, "`in` takes a list"),
        ({"a": {"between": [1, 2, 3]}}, "`between` takes two values, found 3"),
        ({"a": {"between": [10, 1]}}, "`between` goes from its first value to its second, and these can't be"),
        ({"a": {"before": "soon"}}, "'soon' is no date or time"),
        ({"a": {"matches": "(a"}}, "'(a' is no regular expression"),
        ({"a": {"matches": "(?<=a)b"}}, "'(?<=a)b' is no regular expression"),
        ({"a": {"exists": "yes"}}, "`exists` is true or false, not 'yes'"),
        ({"a": {"at_least": True}}, "`at_least` compares numbers, dates and texts"),
        ({"a": {"contains": 3}}, "`contains` takes a text"),
        ({"a": None}, "there is no value"),
        ({}, "there is no condition here"),
        ("FR", "conditions are wanted here"),
    ],
)
def test_what_can_not_be_a_condition_is_said_with_a_mend(value: object, what: str) -> None:
    found, problems = read(value)
    assert not found
    assert problems[0][1].startswith(what)
    assert problems[0][2]


def test_an_unknown_operator_names_the_nearest_known_one() -> None:
    assert "`at_least`" in read({"a": {"at_leest": 1}})[1][0][2]


def test_moments_are_durations_ago_dates_and_times() -> None:
    assert parse_moment("30d ago") == Ago(timedelta(days=30))
    assert parse_moment("30 days ago") == Ago(timedelta(days=30))
    assert parse_moment("2026-12-01") == date(2026, 12, 1)
    assert parse_moment("2026-12-01 10:00") == datetime(2026, 12, 1, 10)
    assert [parse_moment(one) for one in ("yesterday", "2026-13-01", 20, True)] == [None] * 4


def test_the_schema_knows_every_operator() -> None:
    each = conditions_schema()["additionalProperties"]["anyOf"][1]
    assert set(each["properties"]) == {str(one) for one in Operator}


# -- meaning -----------------------------------------------------------------------------------------------------------


def test_thirty_days_ago_is_so_many_hours_for_times_and_the_local_date_for_dates(
    con: duckdb.DuckDBPyConnection,
) -> None:
    # Clocks in Paris went back on 25 October: 30 × 24 h before is 14:00 there, thirty dates before is 24 October.
    moment = NOW - timedelta(days=30)
    assert holds(con, {"before": "30d ago"}, moment - timedelta(seconds=1), "timestamptz")
    assert not holds(con, {"before": "30d ago"}, moment, "timestamptz")
    assert holds(con, {"before": "30d ago"}, date(2026, 10, 23), "date")
    assert not holds(con, {"before": "30d ago"}, date(2026, 10, 24), "date")


def test_the_local_date_is_the_settings_timezones(con: duckdb.DuckDBPyConnection) -> None:
    late = Clock(datetime(2026, 11, 23, 23, 30, tzinfo=UTC), PARIS)  # the 24th in Paris
    assert holds(con, {"is": "1d ago"}, date(2026, 11, 23), "date", late)


def test_a_date_compared_with_a_time_is_the_whole_local_day(con: duckdb.DuckDBPyConnection) -> None:
    evening = datetime(2026, 12, 1, 22, 30, tzinfo=UTC)  # 23:30 in Paris
    assert holds(con, "2026-12-01", evening, "timestamptz")
    assert holds(con, {"at_most": "2026-12-01"}, evening, "timestamptz")
    assert holds(con, {"between": ["2026-11-30", "2026-12-01"]}, evening, "timestamptz")
    assert not holds(con, {"after": "2026-12-01"}, evening, "timestamptz")
    assert holds(con, {"after": "2026-12-01"}, evening + timedelta(hours=1), "timestamptz")


def test_a_time_without_a_zone_is_the_settings_timezones(con: duckdb.DuckDBPyConnection) -> None:
    nine = datetime(2026, 12, 1, 9, tzinfo=UTC)
    assert holds(con, {"at_least": "2026-12-01 10:00"}, nine, "timestamptz")
    assert not holds(con, {"at_least": "2026-12-01 10:01"}, nine, "timestamptz")
    assert holds(con, {"after": "2026-12-01 09:59"}, "2026-12-01T10:00", "json")


def test_a_missing_property_fails_all_but_the_negative_ones(con: duckdb.DuckDBPyConnection) -> None:
    conditions: list[dict[str, object]] = [
        {"is": 1}, {"in": [1]}, {"at_least": 0}, {"at_most": 9}, {"more_than": 0}, {"less_than": 9},
        {"between": [0, 9]}, {"contains": "a"}, {"starts_with": "a"}, {"matches": "a*"}, {"before": "2030-01-01"},
        {"after": "2000-01-01"}, {"exists": True},
    ]  # fmt: skip
    kinds: list[Kind] = ["boolean", "bigint", "double", "text", "date", "timestamptz", "tags", "json"]
    for kind in kinds:
        assert not any(holds(con, one, None, kind) for one in conditions), kind
        assert all(holds(con, one, None, kind) for one in ({"is_not": 1}, {"not_in": [1]}, {"exists": False})), kind


def test_tags_are_compared_one_by_one(con: duckdb.DuckDBPyConnection) -> None:
    assert holds(con, "vip", ["staff", "vip"], "tags")
    assert holds(con, {"contains": "vip"}, ["staff", "vip"], "tags")
    assert not holds(con, {"contains": "vi"}, ["vip"], "tags")
    assert holds(con, {"starts_with": "vi"}, ["staff", "vip"], "tags")
    assert holds(con, {"not_in": ["staff"]}, ["vip"], "tags")
    assert holds(con, {"exists": False}, [], "tags")


def test_json_values_count_as_what_they_look_like(con: duckdb.DuckDBPyConnection) -> None:
    assert holds(con, {"at_least": 20}, "20.5", "json")  # CSV has only texts
    assert holds(con, 20, 20.0, "json")
    assert holds(con, True, True, "json")
    assert not holds(con, {"at_least": 0}, "nan", "json")
    assert holds(con, {"contains": "shoes"}, ["hat", "shoes"], "json")
    assert not holds(con, {"contains": "shoe"}, ["hat", "shoes"], "json")
    assert holds(con, {"before": "2026-12-02"}, "2026-12-01", "json")
    assert not holds(con, {"before": "2026-12-02"}, "a word", "json")
    assert holds(con, 12345678901234567, 12345678901234567, "json")
    assert not holds(con, 12345678901234567, 12345678901234568, "json")


def test_dots_go_into_nested_objects_and_odd_names_are_found(con: duckdb.DuckDBPyConnection) -> None:
    document = json.dumps({"order": {"number": "A1"}, "a/b~c": "odd", 'q"': "quote", "flat.name": "x"})
    for name, value in {"order.number": "A1", "a/b~c": "odd", 'q"': "quote", "flat.name": "x"}.items():
        writer = Writer(CLOCK, Binder())
        sql = writer.condition(Condition(Operator.is_, value), json_property(writer.binder, "v", name), "json")
        con.register("one", pl.DataFrame({"v": [document]}).to_arrow())
        assert con.execute(f"select {sql} from one", writer.binder.params).fetchall() == [(True,)], name


def test_a_value_can_not_become_sql(con: duckdb.DuckDBPyConnection) -> None:
    for word in ["'; drop table one; --", "$p0", "\\", "%", "a'b"]:
        assert holds(con, word, word, "text")
        assert not holds(con, word, "x", "text")


# -- against a plain reference -----------------------------------------------------------------------------------------

WORDS = st.sampled_from(["", "FR", "fr", "BE", "a", "ab", "é", "É", "20", "1e3", "007", "true", "2026-11-01", "x y"])
NUMBERS = st.one_of(st.integers(-30, 30), st.sampled_from([0.5, -1.25, 20.0, 2**53, -(2**40)]))
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")


def equal(value: Any, wanted: Any, kind: str) -> bool:
    if kind in ("bigint", "double"):
        return (not isinstance(wanted, str) and value == wanted) or (
            isinstance(wanted, str) and NUMBER.fullmatch(wanted) is not None and float(wanted) == value
        )
    text = value if isinstance(value, str) else json.dumps(value)
    if kind == "json" and not isinstance(wanted, str):
        return NUMBER.fullmatch(text) is not None and float(text) == wanted
    return text == str(wanted)


def ordered(value: Any, operator: str, wanted: Any, kind: str) -> bool:
    left: Any
    right: Any
    if kind in ("bigint", "double") or not isinstance(wanted, str):
        text = value if isinstance(value, str) else json.dumps(value)
        texts = (text, str(wanted))
        if not all(NUMBER.fullmatch(one) for one in texts):
            return False
        left, right = float(texts[0]), float(texts[1])
    elif parse_moment(wanted) is not None:
        text = value if isinstance(value, str) else json.dumps(value)
        if parse_moment(text) is None:
            return False
        left, right = text, wanted  # dates only: they sort as texts
    else:
        left, right = value if isinstance(value, str) else json.dumps(value), wanted
    return {
        "at_least": left >= right, "at_most": left <= right, "more_than": left > right, "less_than": left < right,
    }[operator] is True  # fmt: skip


def reference(condition: Condition, value: object, kind: str) -> bool:
    operator, wanted = condition.operator, condition.value
    values = wanted if isinstance(wanted, tuple) else (wanted,)
    if operator is Operator.exists:
        return (value is not None) == wanted
    if value is None:
        return operator in (Operator.is_not, Operator.not_in)
    if operator in (Operator.is_, Operator.in_):
        return any(equal(value, one, kind) for one in values)
    if operator in (Operator.is_not, Operator.not_in):
        return not any(equal(value, one, kind) for one in values)
    if operator is Operator.between:
        return ordered(value, "at_least", values[0], kind) and ordered(value, "at_most", values[1], kind)
    if operator in (Operator.contains, Operator.starts_with):
        text = value if isinstance(value, str) else json.dumps(value)
        return str(wanted) in text if operator is Operator.contains else text.startswith(str(wanted))
    return ordered(value, str(operator), wanted, kind)


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    operator = draw(st.sampled_from([one for one in Operator if one not in ("matches", "before", "after")]))
    operands = st.one_of(WORDS, NUMBERS)
    if operator is Operator.exists:
        return Condition(operator, draw(st.booleans()))
    if operator in (Operator.in_, Operator.not_in):
        return Condition(operator, tuple(draw(st.lists(operands, min_size=1, max_size=3))))
    if operator is Operator.between:
        plain = draw(st.lists(NUMBERS, min_size=2, max_size=2))
        return Condition(operator, tuple(sorted(plain)))
    if operator in (Operator.contains, Operator.starts_with):
        return Condition(operator, draw(WORDS.filter(bool)))
    return Condition(operator, draw(operands))


@settings(max_examples=150, deadline=None)
@given(condition=conditions(), words=st.lists(WORDS | st.none(), min_size=3), numbers=st.lists(st.integers(-30, 30)))
@example(condition=Condition(Operator.is_not, "FR"), words=["FR", None, "fr"], numbers=[])
@example(condition=Condition(Operator.at_least, "2026-10-31"), words=["2026-11-01", "x", None], numbers=[20260101])
def test_sql_finds_what_the_rules_say(condition: Condition, words: list[str | None], numbers: list[int]) -> None:
    cases: list[tuple[Kind, list[object], pl.DataType]] = [
        ("text", list(words), pl.String()),
        ("bigint", [*numbers, None], pl.Int64()),
        ("double", [float(one) / 4 for one in numbers], pl.Float64()),
        ("json", [*words, *numbers, *(one / 4 for one in numbers)], pl.String()),
    ]
    with duckdb.connect(":memory:") as con:
        con.execute("set TimeZone = 'Europe/Paris'")
        for kind, values, dtype in cases:
            stored = [json.dumps({} if one is None else {"x": one}) for one in values] if kind == "json" else values
            con.register("many", pl.DataFrame({"v": stored}, schema={"v": dtype}).with_row_index().to_arrow())
            writer = Writer(CLOCK, Binder())
            column = json_property(writer.binder, "v", "x") if kind == "json" else "v"
            sql = writer.condition(condition, column, kind)
            found = [
                row[0] for row in con.execute(f"select {sql} from many order by index", writer.binder.params).fetchall()
            ]
            assert found == [reference(condition, one, kind) for one in values], (kind, values)
