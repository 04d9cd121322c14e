"""Conditions: the one grammar by which files compare a property, and their meaning.

What belongs here: reading `{country: FR}`, `{amount: {at_least: 20}}`, `{last_seen: {before: 30d ago}}`, and what each
value in them is (a number, a date, a moment). How they become SQL is `condition_sql`.

A missing property fails every operator but `is_not`, `not_in` and `exists: false`. Text compares exactly, `between`
includes its ends, `matches` searches. `30d ago` is 30 × 24 h before now where times are compared, and the local date
then where dates are.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from journey.clock import civil_time, parse_duration, parse_time, resolve, utc
from journey.source import Path
from journey.spelling import suggest

Scalar = str | bool | int | float
#: Takes a finding: path in the file, what is wrong, what to do
Report = Callable[[Path, str, str], None]

LARGEST = 2**63 - 1
BOOLEANS = {
    "true": True, "yes": True, "1": True, "oui": True,
    "false": False, "no": False, "0": False, "non": False,
}  # fmt: skip
#: How a number is written in text; a leading 0 is fine here, `+`, `nan`, `inf` and `1_000` are not
NUMBER = r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?"
_NUMBER = re.compile(NUMBER)
_AGO = re.compile(r"(.*\S)\s+ago")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Operator(StrEnum):
    """The words of the grammar."""

    is_ = "is"
    is_not = "is_not"
    in_ = "in"
    not_in = "not_in"
    at_least = "at_least"
    at_most = "at_most"
    more_than = "more_than"
    less_than = "less_than"
    between = "between"
    contains = "contains"
    starts_with = "starts_with"
    matches = "matches"
    before = "before"
    after = "after"
    exists = "exists"


LISTS = frozenset({Operator.in_, Operator.not_in})
ORDERS = frozenset({Operator.at_least, Operator.at_most, Operator.more_than, Operator.less_than})
MOMENTS = frozenset({Operator.before, Operator.after})
TEXTS = frozenset({Operator.contains, Operator.starts_with, Operator.matches})


@dataclass(frozen=True, slots=True)
class Condition:
    """`operator value`; the value is a tuple for `in`, `not_in` and `between` (low, high), a bool for `exists`."""

    operator: Operator
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Ago:
    """So long before now."""

    duration: timedelta


Moment = Ago | date | datetime


@dataclass(frozen=True, slots=True)
class Clock:
    """What conditions need to know of time: `now` (UTC) and the settings' zone."""

    now: datetime
    zone: ZoneInfo

    def day(self, moment: Moment) -> date:
        """The local date that a moment stands for. A duration is taken off the wall clock: 30d is thirty dates."""
        if isinstance(moment, Ago):
            return (civil_time(self.now, self.zone) - moment.duration).date()
        if isinstance(moment, datetime):
            return civil_time(self._utc(moment), self.zone).date()
        return moment

    def bounds(self, moment: Moment) -> tuple[datetime, datetime]:
        """The first instant of a moment and the first after it (UTC): equal for instants, a local day for a date."""
        if isinstance(moment, Ago):
            instant = self.now - moment.duration
            return instant, instant
        if isinstance(moment, datetime):
            return self._utc(moment), self._utc(moment)
        return self._midnight(moment), self._midnight(moment + timedelta(days=1))

    def _midnight(self, day: date) -> datetime:
        return resolve(datetime.combine(day, time()), self.zone)

    def _utc(self, moment: datetime) -> datetime:
        return resolve(moment, self.zone) if moment.tzinfo is None else utc(moment)


def parse_moment(text: object) -> Moment | None:
    """`30d ago`, `2026-12-01`, `2026-12-01 10:00` (also with a zone); None for anything else."""
    if not isinstance(text, str):
        return None
    text = text.strip()
    try:
        if ago := _AGO.fullmatch(text):
            return Ago(parse_duration(ago[1]))
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text)
            return day if date.min < day < date.max else None
        moment = parse_time(text)
        # The ends of the calendar have no instant in every zone.
        return moment if 2 <= moment.year <= 9998 else None
    except ValueError:
        return None


def parse_number(value: Scalar) -> int | float | None:
    """A number, or a text that is written as one; None for anything else (true and false are no numbers)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    text = value.strip()
    if not _NUMBER.fullmatch(text) or len(text) > 400:
        return None
    return int(text) if text.removeprefix("-").isdecimal() else float(text)


def parse_boolean(value: Scalar) -> bool | None:
    """true/false, also as the words that contact files may use; None for anything else."""
    if isinstance(value, bool):
        return value
    return BOOLEANS.get(str(value).strip().casefold())


def written(value: Scalar) -> str:
    """A value as text, for comparing with text: `true`, `20`, `1.5`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def parse_conditions(value: object, path: Path, report: Report) -> dict[str, Condition]:
    """`{country: FR, amount: {at_least: 20}}` by property. Findings go to `report`; what has one is left out."""
    if not isinstance(value, Mapping):
        report(path, "conditions are wanted here", "Write e.g. {country: FR} or {amount: {at_least: 20}}.")
        return {}
    if not value:
        report(path, "there is no condition here", "Write e.g. {country: FR}.")
    found: dict[str, Condition] = {}
    for name, one in value.items():
        condition = parse_condition(one, (*path, name), report)
        if not str(name).strip():
            report((*path, name), "a condition names no property", "Write the property's name before the colon.")
        elif condition is not None:
            found[str(name)] = condition
    return found


def parse_condition(value: object, path: Path, report: Report) -> Condition | None:
    """A value (equal), or a mapping of one operator. None where there is a finding."""
    if isinstance(value, list):
        report(path, "a list needs an operator", "Write {in: [...]}.")
        return None
    if not isinstance(value, Mapping):
        return _condition(Operator.is_, value, path, report)
    if len(value) != 1:
        names = ", ".join(f"`{name}`" for name in value) or "none"
        report(path, f"one operator is wanted here, found {names}", "Put each one in an item of `all` of its own.")
        return None
    [(name, operand)] = value.items()
    if name not in {str(one) for one in Operator}:
        mend = suggest(str(name), [str(one) for one in Operator], none="")
        report((*path, name), f"unknown operator `{name}`", mend)
        return None
    return _condition(Operator(name), operand, (*path, name), report)


def _condition(operator: Operator, operand: object, path: Path, report: Report) -> Condition | None:
    if operator in LISTS or operator is Operator.between:
        return _list(operator, operand, path, report)
    if not isinstance(operand, str | bool | int | float):
        what = "there is no value" if operand is None else "one value is wanted here, not a list or mapping"
        report(path, what, "Give it one; `{exists: false}` finds those who have none.")
        return None
    problem = _wrong(operator, operand)
    if problem is not None:
        report(path, *problem)
        return None
    return Condition(operator, operand)


def _list(operator: Operator, operand: object, path: Path, report: Report) -> Condition | None:
    if not isinstance(operand, list) or not operand:
        example = "[1, 10]" if operator is Operator.between else "[FR, BE]"
        report(path, f"`{operator}` takes a list", f"Write {operator}: {example}.")
        return None
    if operator is Operator.between and len(operand) != 2:
        report(path, f"`between` takes two values, found {len(operand)}", "Write between: [lowest, highest].")
        return None
    for number, one in enumerate(operand):
        if not isinstance(one, str | bool | int | float):
            report((*path, number), "one value is wanted here", "Write a text, a number, true or false.")
            return None
    if operator is Operator.between and not _orderly(*operand):
        mend = "Write two numbers, two dates or times, or two texts; the lower one first."
        report(path, "`between` goes from its first value to its second, and these can't be", mend)
        return None
    return Condition(operator, tuple(operand))


def _orderly(low: Scalar, high: Scalar) -> bool:
    if isinstance(low, bool) or isinstance(high, bool):
        return False
    if isinstance(low, str) != isinstance(high, str):
        return False
    if not isinstance(low, str) and not isinstance(high, str):
        return low <= high
    return (parse_moment(low) is None) == (parse_moment(high) is None)


def _wrong(operator: Operator, value: Scalar) -> tuple[str, str] | None:
    """What is wrong with an operator's value, and the mend."""
    if operator is Operator.exists and not isinstance(value, bool):
        return f"`exists` is true or false, not {value!r}", "Write exists: true, or exists: false."
    if operator in MOMENTS and parse_moment(value) is None:
        return f"{value!r} is no date or time", "Write e.g. 30d ago, 2026-12-01, or 2026-12-01 10:00."
    if operator in ORDERS and isinstance(value, bool):
        return f"`{operator}` compares numbers, dates and texts", "Write {is: true}, or a number."
    if operator in TEXTS and not isinstance(value, str):
        return f"`{operator}` takes a text", f'Put it in quotes: "{written(value)}".'
    if operator in TEXTS and not value:
        return f"`{operator}` of an empty text finds everyone", "Write what to look for; or {exists: true}."
    if operator is Operator.matches:
        try:
            # The regular expressions of Rust and of DuckDB (RE2) are one family: linear time, no look-around.
            pl.Series([""]).str.contains(str(value))
        except pl.exceptions.ComputeError as error:
            reason = next((line for line in reversed(str(error).splitlines()) if line.startswith("error:")), "")
            what = f"{value!r} is no regular expression" + (f" ({reason.removeprefix('error: ')})" if reason else "")
            return what, "Correct it; look-around and back-references are not understood."
    return None


_SAID = {
    Operator.is_: "Equals this.",
    Operator.is_not: "Differs from this, or is missing.",
    Operator.in_: "Is one of these.",
    Operator.not_in: "Is none of these, or is missing.",
    Operator.at_least: "This or more.",
    Operator.at_most: "This or less.",
    Operator.more_than: "More than this.",
    Operator.less_than: "Less than this.",
    Operator.between: "From the first to the second, both included.",
    Operator.contains: "Has this text in it.",
    Operator.starts_with: "Starts with this text.",
    Operator.matches: "This regular expression is found in it.",
    Operator.before: "Earlier than 30d ago, 2026-12-01, or 2026-12-01 10:00.",
    Operator.after: "Later than 30d ago, 2026-12-01, or 2026-12-01 10:00.",
    Operator.exists: "Whether it has a value at all.",
}


def conditions_schema() -> dict[str, Any]:
    """The JSON Schema of conditions by property, for editors."""
    scalar = {"type": ["string", "number", "boolean"]}
    each: dict[str, Any] = {str(one): scalar for one in Operator}
    each |= {str(one): {"type": "array", "items": scalar, "minItems": 1} for one in LISTS}
    each["between"] = {"type": "array", "items": scalar, "minItems": 2, "maxItems": 2}
    each |= {str(one): {"type": "string", "minLength": 1} for one in TEXTS}
    each |= {str(one): {"type": "string", "examples": ["30d ago", "2026-12-01"]} for one in MOMENTS}
    each["exists"] = {"type": "boolean"}
    each = {name: {**schema, "description": _SAID[Operator(name)]} for name, schema in each.items()}
    operators = {
        "type": "object",
        "properties": each,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    return {"type": "object", "minProperties": 1, "additionalProperties": {"anyOf": [scalar, operators]}}
