"""YAML segments as DuckDB SQL with bound parameters.

What belongs here: a filter → one SELECT over `contacts` and `events`. The tables' columns are the analysts'
(spec §6); a segment that is named in a filter is a view whose name `segment_view` gives.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from journey.audience import AllOf, AnyOf, EventFilter, Filter, Not, Segment, SegmentFilter, TagFilter, UserFilter
from journey.clock import to_us
from journey.condition_sql import Binder, Kind, Writer, json_property, quoted
from journey.conditions import Clock, Condition, Operator


@dataclass(frozen=True, slots=True)
class Query:
    """A statement and its parameters."""

    sql: str
    params: Mapping[str, Any]


def segment_view(name: str) -> str:
    """The name of the view that holds the contact_ids of a segment which another one refers to."""
    return f"segment {name}"


def segment_sql(segment: Segment, columns: Mapping[str, Kind], clock: Clock) -> Query:
    """The SELECT of a YAML segment: contact_id, one row a contact. `columns`: those of `contacts` and what they hold.

    A property that `contacts` does not have is missing for everyone.
    """
    assert segment.filter is not None
    writer = Writer(clock, Binder())
    where = _Filters(writer, {name.casefold(): (name, kind) for name, kind in columns.items()}).sql(segment.filter)
    return Query(f"select c.contact_id from contacts as c where {where}", writer.binder.params)


@dataclass(frozen=True, slots=True)
class _Filters:
    writer: Writer
    columns: Mapping[str, tuple[str, Kind]]

    def sql(self, one: Filter) -> str:
        match one:
            case AllOf(filters):
                return "(" + " and ".join(self.sql(inner) for inner in filters) + ")"
            case AnyOf(filters):
                return "(" + " or ".join(self.sql(inner) for inner in filters) + ")"
            case Not(inner):
                return f"(not {self.sql(inner)})"
            case UserFilter(conditions):
                return "(" + " and ".join(self._user(name, one) for name, one in conditions.items()) + ")"
            case TagFilter(tag):
                return f"coalesce(list_contains(c.tags, {self.writer.binder.bind(tag)}), false)"
            case SegmentFilter(name):
                return f"(c.contact_id in (select contact_id from {quoted(segment_view(name))}))"
            case EventFilter():
                return self._event(one)

    def _user(self, name: str, condition: Condition) -> str:
        known = self.columns.get(name.casefold())
        if known is None:
            return self.writer.condition(condition, "null::varchar", "text")
        return self.writer.condition(condition, f"c.{quoted(known[0])}", known[1])

    def _event(self, one: EventFilter) -> str:
        binder = self.writer.binder
        wheres = [f"e.event = {binder.bind(one.event)}", "e.contact_id is not null"]
        if one.within is not None:
            now = self.writer.clock.now
            since, until = binder.bind(to_us(now - one.within)), binder.bind(to_us(now))
            wheres.append(f"e.occurred_at > make_timestamptz({since}::bigint)")
            wheres.append(f"e.occurred_at <= make_timestamptz({until}::bigint)")
        for name, condition in (one.where or {}).items():
            wheres.append(self.writer.condition(condition, json_property(binder, "e.properties", name), "json"))
        found = f"select e.contact_id from events as e where {' and '.join(wheres)}"
        if one.count == Condition(Operator.at_least, 1):
            return f"(c.contact_id in ({found}))"
        meets = self.writer.condition(one.count, "count(*)", "bigint")
        grouped = f"{found} group by e.contact_id having"
        if counts(one.count, 0):  # so those without any such event are meant too
            return f"(c.contact_id not in ({grouped} not {meets}))"
        return f"(c.contact_id in ({grouped} {meets}))"


def counts(condition: Condition, number: int) -> bool:
    """Whether a number of events meets a count's condition."""
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    wanted = [int(one) for one in values]
    match condition.operator:
        case Operator.is_ | Operator.in_:
            return number in wanted
        case Operator.is_not | Operator.not_in:
            return number not in wanted
        case Operator.at_least:
            return number >= wanted[0]
        case Operator.at_most:
            return number <= wanted[0]
        case Operator.more_than:
            return number > wanted[0]
        case Operator.less_than:
            return number < wanted[0]
        case _:
            return wanted[0] <= number <= wanted[1]
