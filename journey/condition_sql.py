"""Conditions as DuckDB SQL with bound parameters.

What belongs here: one SQL expression for a condition on a column of a known type, or on a property inside JSON. Every
expression is true or false, never null, so that `not` around it means what it says.

A JSON property has the type its value has, row by row; so numbers, dates and times written as text count as what they
look like when they are compared with one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

from journey.clock import to_us
from journey.conditions import (
    LARGEST,
    MOMENTS,
    NUMBER,
    Clock,
    Condition,
    Moment,
    Operator,
    Scalar,
    parse_boolean,
    parse_moment,
    parse_number,
    written,
)

#: What a column holds: a property's type, `tags` (a list of text), or `json` (a text that JSON extraction gave)
Kind = Literal["boolean", "bigint", "double", "text", "date", "timestamptz", "tags", "json"]

_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_EXACT = 2**53  # integers beyond this have no exact double
_LESS = {Operator.less_than: "<", Operator.at_most: "<=", Operator.before: "<"}
_MORE = {Operator.more_than: ">", Operator.at_least: ">=", Operator.after: ">"}
_SIGN = _LESS | _MORE


@dataclass
class Binder:
    """Collects values; `bind` gives the parameter's place in the SQL. `params` go to DuckDB with the statement."""

    params: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: str | int | float | bool) -> str:
        name = f"p{len(self.params)}"
        self.params[name] = value
        return f"${name}"


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes conditions as SQL, with one clock and one binder for a whole statement."""

    clock: Clock
    binder: Binder

    def condition(self, condition: Condition, column: str, kind: Kind) -> str:
        """An expression that is true or false for every row. `column` is SQL of the type that `kind` says."""
        operator, value = condition.operator, condition.value
        if operator is Operator.exists:
            there = f"coalesce(len({column}), 0) > 0" if kind == "tags" else f"{column} is not null"
            return f"({there})" if value else f"(not {there})"
        if operator in (Operator.is_not, Operator.not_in):
            return f"(not {self._sure(self._any_equal(column, kind, _values(value)))})"
        if operator in (Operator.is_, Operator.in_):
            return self._sure(self._any_equal(column, kind, _values(value)))
        if operator is Operator.between:
            low, high = _values(value)
            least = self._order(Operator.at_least, column, kind, low)
            return self._sure(f"{least} and {self._order(Operator.at_most, column, kind, high)}")
        if operator in _SIGN:
            return self._sure(self._order(operator, column, kind, _values(value)[0]))
        return self._sure(self._search(operator, column, kind, str(value)))

    # -- equality ----------------------------------------------------------------------------------------------------

    def _any_equal(self, column: str, kind: Kind, values: Sequence[Scalar]) -> str:
        if kind == "text":  # one `in` is what a scan can push down
            return f"{column} in ({', '.join(self._text(one) for one in values)})"
        return " or ".join(self._equal(column, kind, one) for one in values)

    def _equal(self, column: str, kind: Kind, value: Scalar) -> str:
        match kind:
            case "tags":
                return f"list_contains({column}, {self._text(value)})"
            case "json":
                return self._equal_json(column, value)
            case "boolean":
                truth = parse_boolean(value)
                return "false" if truth is None else f"{column} = {str(truth).lower()}"
            case "bigint" | "double":
                number = parse_number(value)
                return "false" if number is None else f"{column} = {self._number(number)}"
            case "date" | "timestamptz":
                moment = parse_moment(value)
                return "false" if moment is None else self._moment(Operator.is_, column, kind, moment)
            case _:
                return f"{column} = {self._text(value)}"

    def _equal_json(self, column: str, value: Scalar) -> str:
        if isinstance(value, bool):
            return f"lower({column}) = {self._text(value)}"
        if isinstance(value, str) or abs(value) > _EXACT:
            return f"{column} = {self._text(value)}"
        return f"{_as_number(column)} = {self._number(value)}"

    # -- order -------------------------------------------------------------------------------------------------------

    def _order(self, operator: Operator, column: str, kind: Kind, value: Scalar) -> str:
        moment = parse_moment(value)
        if kind in ("date", "timestamptz"):
            return "false" if moment is None else self._moment(operator, column, kind, moment)
        if kind in ("bigint", "double"):
            number = None if operator in MOMENTS else parse_number(value)
            return "false" if number is None else f"{column} {_SIGN[operator]} {self._number(number)}"
        if kind in ("boolean", "tags"):
            return "false"
        if moment is not None:
            return self._moment_in_text(operator, column, moment)
        if isinstance(value, str):
            return f"{column} {_SIGN[operator]} {self._text(value)}"
        return f"{_as_number(column)} {_SIGN[operator]} {self._number(value)}"

    def _moment(self, operator: Operator, column: str, kind: Kind, moment: Moment) -> str:
        if kind == "date":
            sign = _SIGN.get(operator, "=")
            return f"{column} {sign} {self._day(self.clock.day(moment))}"
        start, end = self.clock.bounds(moment)
        if operator is Operator.is_:
            if start == end:
                return f"{column} = {self._instant(start)}"
            return f"({column} >= {self._instant(start)} and {column} < {self._instant(end)})"
        # A date is a whole local day: `after` it begins with the next one, `at_most` includes it.
        if start != end and operator in (Operator.after, Operator.more_than):
            return f"{column} >= {self._instant(end)}"
        if start != end and operator is Operator.at_most:
            return f"{column} < {self._instant(end)}"
        return f"{column} {_SIGN[operator]} {self._instant(start)}"

    def _moment_in_text(self, operator: Operator, column: str, moment: Moment) -> str:
        day = self._moment(operator, f"try_cast({column} as date)", "date", moment)
        instant = self._moment(operator, f"try_cast({column} as timestamptz)", "timestamptz", moment)
        return (
            f"case when regexp_full_match({column}, '{_DATE}') then {day}"
            f" when regexp_matches({column}, '^{_DATE}[T ][0-9]{{2}}:[0-9]{{2}}') then {instant} else false end"
        )

    # -- text --------------------------------------------------------------------------------------------------------

    def _search(self, operator: Operator, column: str, kind: Kind, value: str) -> str:
        function = {Operator.starts_with: "starts_with", Operator.matches: "regexp_matches"}.get(operator, "contains")
        wanted = self._text(value)
        if kind == "tags":
            if operator is Operator.contains:
                return f"list_contains({column}, {wanted})"
            return f"len(list_filter({column}, lambda one: {function}(one, {wanted}))) > 0"
        plain = f"{function}({column if kind in ('text', 'json') else f'{column}::varchar'}, {wanted})"
        if kind == "json" and operator is Operator.contains:
            array = f"case when {column} like '[%' and json_valid({column}) then {column} end"
            items = f"json_extract_string({array}, '$[*]')"
            return f"(coalesce(list_contains({items}, {wanted}), {plain}))"
        return plain

    # -- values ------------------------------------------------------------------------------------------------------

    def _text(self, value: Scalar) -> str:
        return self.binder.bind(written(value))

    def _number(self, value: int | float) -> str:
        return self.binder.bind(value if abs(value) <= LARGEST else float(value))

    def _instant(self, time: datetime) -> str:
        return f"make_timestamptz({self.binder.bind(to_us(time))}::bigint)"

    def _day(self, day: date) -> str:
        return f"{self.binder.bind(day.isoformat())}::date"

    @staticmethod
    def _sure(expression: str) -> str:
        return f"coalesce({expression}, false)"


def json_property(binder: Binder, column: str, name: str) -> str:
    """SQL for the text of a property in a JSON column; dots go into nested objects. Null where missing or null."""
    nested = f"json_extract_string({column}, {binder.bind('/' + '/'.join(_pointer(part) for part in name.split('.')))})"
    if "." not in name:
        return nested
    # A flat file (CSV) may have a column whose own name has dots.
    return f"coalesce(json_extract_string({column}, {binder.bind('/' + _pointer(name))}), {nested})"


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _pointer(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _as_number(column: str) -> str:
    return f"(case when regexp_full_match({column}, '{NUMBER}') then try_cast({column} as double) end)"


def _values(value: Scalar | tuple[Scalar, ...]) -> tuple[Scalar, ...]:
    return value if isinstance(value, tuple) else (value,)
