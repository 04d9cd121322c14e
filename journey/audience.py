"""Segments: queries that name contacts, and the filters of those written in YAML.

What belongs here: the models, reading `segments/*.yaml`, what may be wrong across segments (unknown ones, circles). How
a filter becomes SQL is `audience_sql`; what editors are told is `audience_schema`; running one is `resources/segments`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Literal

from journey.clock import parse_duration
from journey.conditions import (
    MOMENTS,
    TEXTS,
    Condition,
    Operator,
    Report,
    parse_condition,
    parse_conditions,
)
from journey.problems import Problem
from journey.reading import NAME
from journey.source import Path, Source, dotted, parse_source
from journey.spelling import suggest

FOLDER = "segments"
AT_LEAST_ONE = Condition(Operator.at_least, 1)
_EVENT_KEYS = ("event", "count", "within", "where")
_Reader = Callable[[Mapping[object, object], Path, Report], "Filter | None"]
_KEYS = ("all", "any", "not", "user", "tag", "event", "segment")


@dataclass(frozen=True, slots=True)
class AllOf:
    filters: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class AnyOf:
    filters: "tuple[Filter, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    filter: "Filter"


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Every condition holds for the contact's properties."""

    conditions: Mapping[str, Condition]


@dataclass(frozen=True, slots=True)
class TagFilter:
    tag: str


@dataclass(frozen=True, slots=True)
class EventFilter:
    """The number of the contact's events that match meets `count`. `within` counts back from now."""

    event: str
    count: Condition = AT_LEAST_ONE
    within: timedelta | None = None
    where: Mapping[str, Condition] | None = None


@dataclass(frozen=True, slots=True)
class SegmentFilter:
    """The contact is in another segment."""

    segment: str


Filter = AllOf | AnyOf | Not | UserFilter | TagFilter | EventFilter | SegmentFilter


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment. `file` is its path within the home. SQL keeps its text as it is; YAML has a filter."""

    name: str
    file: str
    kind: Literal["sql", "yaml"]
    text: str
    filter: Filter | None = None


def load_segment(text: str, file: str) -> tuple[Segment | None, list[Problem]]:
    """Reads a segment file (`segments/NAME.yaml` or `.sql`): the segment, or None and the findings that forbid it.

    Whether SQL is one plain SELECT is for `resources.segment_guard.check_query`, which asks DuckDB.
    """
    path = PurePosixPath(file)
    problems: list[Problem] = []
    if not NAME.fullmatch(path.stem):
        mend = "Use up to 64 letters a to z, digits, _ and -, starting with a letter or _."
        problems.append(Problem(file, 1, "", f"the file's name “{path.stem}” cannot name a segment", mend))
    if path.suffix == ".sql":
        if not text.strip():
            mend = "Write a SELECT that returns contact_id."
            problems.append(Problem(file, 1, "", "the file is empty", mend))
        return (None if problems else Segment(path.stem, file, "sql", text)), problems
    source, found = parse_source(text, file)
    if source is None:
        return None, [*problems, *found]
    read = parse_filter(source, problems)
    problems.sort(key=lambda problem: (problem.line, problem.field))
    return (None if problems or read is None else Segment(path.stem, file, "yaml", text, read)), problems


def parse_filter(source: Source, problems: list[Problem]) -> Filter | None:
    """The filter of a YAML segment; findings are added to `problems`."""

    def report(path: Path, what: str, mend: str) -> None:
        problems.append(Problem(source.file, source.line(path), dotted(path), what, mend))

    return _filter(source.data, (), report)


def check_segments(segments: Mapping[str, Segment], known: Collection[str] = ()) -> list[Problem]:
    """What is wrong across segments: references to unknown ones, and circles. `known`: names that have a file with
    findings of its own; a reference to one is no finding here."""
    problems: list[Problem] = []
    for segment in segments.values():
        for path, name in references(segment):
            if name not in segments and name not in known:
                what = f"there is no segment `{name}`"
                mend = suggest(name, segments, none=f"Add {FOLDER}/{name}.sql or {FOLDER}/{name}.yaml.")
                problems.append(_at(segment, path, what, mend))
    for circle in _circles(segments):
        segment = segments[circle[0]]
        path = next(path for path, name in references(segment) if name == circle[1])
        what = f"segments go round in a circle: {' → '.join(circle)}"
        problems.append(_at(segment, path, what, "Take one of these references out."))
    return sorted(problems, key=lambda problem: (problem.file, problem.line))


def references(segment: Segment) -> list[tuple[Path, str]]:
    """The segments that a segment names, with the place of each name in its file."""
    return [(path, one.segment) for path, one in _walk(segment.filter, ()) if isinstance(one, SegmentFilter)]


def properties(segment: Segment) -> list[tuple[Path, str]]:
    """The contact properties that a YAML segment names, with the place of each in its file."""
    users = [(path, one) for path, one in _walk(segment.filter, ()) if isinstance(one, UserFilter)]
    return [((*path, "user", name), name) for path, one in users for name in one.conditions]


def order(segments: Mapping[str, Segment], name: str) -> list[Segment]:
    """The segment `name` and all that it needs, each after what it needs. Raises KeyError for an unknown one and
    ValueError for a circle (`check_segments` says both in words)."""
    done: dict[str, Segment] = {}

    def visit(one: str, way: tuple[str, ...]) -> None:
        if one in way:
            raise ValueError(f"segments go round in a circle: {' → '.join((*way[way.index(one) :], one))}")
        if one not in done:
            for _, needed in references(segments[one]):
                visit(needed, (*way, one))
            done[one] = segments[one]

    visit(name, ())
    return list(done.values())


# -- reading -----------------------------------------------------------------------------------------------------------


def _filter(value: object, path: Path, report: Report) -> Filter | None:
    if not isinstance(value, Mapping):
        mend = "Write e.g. `user: {country: FR}`, `tag: vip`, or `all:` and a list."
        report(path, "a filter is wanted here", mend)
        return None
    kinds = [key for key in _KEYS if key in value]
    if len(kinds) != 1:
        unknown = [str(key) for key in value if key not in (*_KEYS, *_EVENT_KEYS)]
        if unknown:
            report((*path, unknown[0]), f"unknown key `{unknown[0]}`", suggest(unknown[0], _KEYS, none=""))
        elif kinds:
            both = " and ".join(f"`{key}`" for key in kinds)
            report((*path, kinds[1]), f"a filter has {both}; it can have only one", "Make them two items of `all`.")
        else:
            listed = ", ".join(_KEYS)
            report(path, "this filter says nothing of whom it finds", f"It needs one of: {listed}.")
        return None
    kind = kinds[0]
    allowed = _EVENT_KEYS if kind == "event" else (kind,)
    extra = [str(key) for key in value if key not in allowed]
    for key in extra:
        mend = "It belongs to `event`." if key in _EVENT_KEYS else suggest(key, allowed, none="Remove it.")
        report((*path, key), f"unknown key `{key}` beside `{kind}`", mend)
    read = _READERS[kind](value, path, report)
    return None if extra else read


def _group(kind: type[AllOf] | type[AnyOf], key: str) -> _Reader:
    def read(value: Mapping[object, object], path: Path, report: Report) -> Filter | None:
        items = value[key]
        if not isinstance(items, list) or not items:
            report((*path, key), f"`{key}` takes a list of filters", "Start each with `- `.")
            return None
        found = [_filter(one, (*path, key, number), report) for number, one in enumerate(items)]
        filters = tuple(one for one in found if one is not None)
        return kind(filters) if len(filters) == len(found) else None

    return read


def _not(value: Mapping[object, object], path: Path, report: Report) -> Filter | None:
    inner = _filter(value["not"], (*path, "not"), report)
    return None if inner is None else Not(inner)


def _user(value: Mapping[object, object], path: Path, report: Report) -> Filter | None:
    conditions = parse_conditions(value["user"], (*path, "user"), report)
    return UserFilter(conditions) if conditions else None


def _name(value: Mapping[object, object], key: str, path: Path, report: Report) -> str | None:
    name = value[key]
    if isinstance(name, bool) or not isinstance(name, str | int) or not str(name).strip():
        report((*path, key), f"`{key}` takes a name", f"Write {key}: NAME.")
        return None
    return str(name)


def _tag(value: Mapping[object, object], path: Path, report: Report) -> Filter | None:
    name = _name(value, "tag", path, report)
    return None if name is None else TagFilter(name.strip())


def _segment(value: Mapping[object, object], path: Path, report: Report) -> Filter | None:
    name = _name(value, "segment", path, report)
    return None if name is None else SegmentFilter(name)


def _event(value: Mapping[object, object], path: Path, report: Report) -> Filter | None:
    name = _name(value, "event", path, report)
    count: Condition | None = AT_LEAST_ONE
    if "count" in value:
        count = _count(value["count"], (*path, "count"), report)
    within = None
    if "within" in value:
        try:
            within = parse_duration(str(value["within"]))
            if not within:
                raise ValueError("a duration of zero leaves no time")
        except ValueError as error:
            report((*path, "within"), str(error).partition(";")[0], "Write a whole number and a unit: 24h, 90d, 2w.")
            return None
    where = parse_conditions(value["where"], (*path, "where"), report) if "where" in value else None
    return None if name is None or count is None else EventFilter(name, count, within, where)


def _count(value: object, path: Path, report: Report) -> Condition | None:
    condition = parse_condition(value, path, report)
    if condition is None:
        return None
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    plain = {Operator.exists, *TEXTS, *MOMENTS}
    if condition.operator in plain or not all(isinstance(one, int) and not isinstance(one, bool) for one in values):
        report(path, "`count` takes whole numbers", "Write e.g. count: 3, or count: {at_least: 3}.")
        return None
    if any(isinstance(one, int) and one < 0 for one in values):
        report(path, "there is no negative count", "Write a number from 0.")
        return None
    return condition


_READERS: dict[str, _Reader] = {
    "all": _group(AllOf, "all"),
    "any": _group(AnyOf, "any"),
    "not": _not,
    "user": _user,
    "tag": _tag,
    "event": _event,
    "segment": _segment,
}


# -- across segments ---------------------------------------------------------------------------------------------------


def _walk(one: Filter | None, path: Path) -> Iterator[tuple[Path, Filter]]:
    if one is None:
        return
    yield path, one
    if isinstance(one, AllOf | AnyOf):
        key = "all" if isinstance(one, AllOf) else "any"
        for number, inner in enumerate(one.filters):
            yield from _walk(inner, (*path, key, number))
    elif isinstance(one, Not):
        yield from _walk(one.filter, (*path, "not"))


def _circles(segments: Mapping[str, Segment]) -> list[tuple[str, ...]]:
    """Every circle once, from its first name in the alphabet, closed by that name again."""
    found: set[tuple[str, ...]] = set()

    def visit(name: str, way: list[str], seen: set[str]) -> None:
        if name in way:
            circle = way[way.index(name) :]
            start = circle.index(min(circle))
            found.add((*circle[start:], *circle[:start], circle[start]))
        elif name in segments and name not in seen:
            for _, needed in references(segments[name]):
                visit(needed, [*way, name], seen)
            seen.add(name)

    seen: set[str] = set()
    for name in sorted(segments):
        visit(name, [], seen)
    return sorted(found)


def _at(segment: Segment, path: Path, what: str, mend: str) -> Problem:
    source, _ = parse_source(segment.text, segment.file)
    line = source.line((*path, "segment")) if source is not None else 1
    return Problem(segment.file, line, dotted((*path, "segment")), what, mend)
