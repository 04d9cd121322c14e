"""Segments in YAML: reading them, what is wrong with them, their schema."""

import re
from datetime import timedelta

import pytest

from journey.audience import (
    AllOf,
    AnyOf,
    EventFilter,
    Not,
    Segment,
    SegmentFilter,
    TagFilter,
    UserFilter,
    check_segments,
    load_segment,
    order,
    properties,
)
from journey.audience_schema import segment_schema
from journey.audience_sql import counts
from journey.conditions import Condition, Operator, parse_condition


def load(text: str, name: str = "some") -> Segment:
    segment, problems = load_segment(text, f"segments/{name}.yaml")
    assert not problems
    assert segment is not None
    return segment


def problems(text: str) -> list[str]:
    segment, found = load_segment(text, "segments/some.yaml")
    assert segment is None
    return [str(one) for one in found]


def test_the_example_of_the_page_is_read() -> None:
    segment = load(
        "all:\n"
        "  - {user: {country: FR, last_seen: {before: 30d ago}}}\n"
        "  - {tag: newsletter}\n"
        "  - {event: purchase, count: {at_least: 3}, within: 90d, where: {amount: {at_least: 20}}}\n"
        "  - not: {segment: staff}\n"
    )
    assert segment.filter == AllOf(
        (
            UserFilter({"country": Condition(Operator.is_, "FR"), "last_seen": Condition(Operator.before, "30d ago")}),
            TagFilter("newsletter"),
            EventFilter(
                "purchase",
                Condition(Operator.at_least, 3),
                timedelta(days=90),
                {"amount": Condition(Operator.at_least, 20)},
            ),
            Not(SegmentFilter("staff")),
        )
    )
    assert properties(segment) == [
        (("all", 0, "user", "country"), "country"),
        (("all", 0, "user", "last_seen"), "last_seen"),
    ]


def test_groups_nest_and_an_event_means_at_least_once() -> None:
    segment = load("any:\n- all: [{tag: a}, {not: {event: login, within: 7d}}]\n- {event: visit}\n")
    login = EventFilter("login", Condition(Operator.at_least, 1), timedelta(days=7))
    assert segment.filter == AnyOf((AllOf((TagFilter("a"), Not(login))), EventFilter("visit")))


def test_no_and_on_are_words() -> None:
    assert load("user: {country: no, newsletter: on}").filter == UserFilter(
        {"country": Condition(Operator.is_, "no"), "newsletter": Condition(Operator.is_, "on")}
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("usr: {a: 1}", "segments/some.yaml:1: usr: unknown key `usr`. Did you mean `user`?"),
        ("all:\n  - tga: vip", "segments/some.yaml:2: all[0].tga: unknown key `tga`. Did you mean `tag`?"),
        (
            "event: buy\nwithn: 3d",
            "segments/some.yaml:2: withn: unknown key `withn` beside `event`. Did you mean `within`?",
        ),
        (
            "tag: a\nwithin: 3d",
            "segments/some.yaml:2: within: unknown key `within` beside `tag`. It belongs to `event`.",
        ),
        ("tag: a\nuser: {a: 1}", "a filter has `user` and `tag`; it can have only one"),
        ("within: 3d", "this filter says nothing of whom it finds"),
        ("all: {tag: a}", "`all` takes a list of filters"),
        ("- tag: a", "a filter is wanted here"),
        ("all: []", "`all` takes a list of filters"),
        ("event: buy\nwithin: soon", "'soon' is not a duration"),
        ("event: buy\nwithin: 0d", "a duration of zero leaves no time"),
        ("event: buy\ncount: many", "`count` takes whole numbers"),
        ("event: buy\ncount: {at_least: -1}", "there is no negative count"),
        ("event: buy\nwhere: {amount: {atleast: 3}}", "where.amount.atleast: unknown operator `atleast`"),
        ("tag: [a]", "`tag` takes a name"),
        ("user: {last_seen: {before: tomorrow}}", "user.last_seen.before: 'tomorrow' is no date or time"),
        ("", "the file is empty"),
        ("all: [", "not YAML"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_mend(text: str, said: str) -> None:
    found = problems(text)
    assert any(said in one for one in found), found
    assert all(one.endswith((".", "?")) for one in found)


def test_every_finding_of_a_file_is_reported() -> None:
    assert len(problems("all:\n- tga: x\n- {user: {a: {bigger: 3}}}\n- {event: buy, within: x}\n")) == 3


def test_a_segment_named_nowhere_is_found_with_the_nearest_name() -> None:
    segments = {"vips": load("tag: vip", "vips"), "a": load("all:\n- tag: x\n- not: {segment: vip}", "a")}
    [problem] = check_segments(segments)
    assert str(problem) == "segments/a.yaml:3: all[1].not.segment: there is no segment `vip`. Did you mean `vips`?"
    assert check_segments(segments, known=["vip"]) == []


def test_a_circle_of_segments_is_found_once() -> None:
    segments = {
        "a": load("segment: b", "a"),
        "b": load("not: {segment: c}", "b"),
        "c": load("segment: a", "c"),
        "d": load("segment: a", "d"),
    }
    [problem] = check_segments(segments)
    assert "a → b → c → a" in problem.message
    with pytest.raises(ValueError, match="circle"):
        order(segments, "d")


def test_segments_come_after_those_that_they_need() -> None:
    segments = {
        "top": load("all: [{segment: left}, {segment: right}]", "top"),
        "left": load("segment: base", "left"),
        "right": load("not: {segment: base}", "right"),
        "base": load("tag: x", "base"),
    }
    assert [one.name for one in order(segments, "top")] == ["base", "left", "right", "top"]


def test_a_file_whose_name_can_not_name_a_segment_is_refused() -> None:
    segment, [problem] = load_segment("select contact_id from contacts", "segments/my loyal.sql")
    assert segment is None
    assert "cannot name a segment" in problem.message


@pytest.mark.parametrize("operator", ["is", "is_not", "at_least", "at_most", "more_than", "less_than"])
def test_counts_decide_whether_nobody_s_events_are_meant_too(operator: str) -> None:
    condition = parse_condition({operator: 2}, (), lambda *finding: pytest.fail(str(finding)))
    assert condition is not None
    signs = {"is": "==", "is_not": "!=", "at_least": ">=", "at_most": "<=", "more_than": ">", "less_than": "<"}
    assert [counts(condition, n) for n in range(5)] == [eval(f"{n} {signs[operator]} 2") for n in range(5)]


def test_the_schema_accepts_what_is_read_and_refuses_the_rest() -> None:
    schema = segment_schema()
    shapes = schema["definitions"]["filter"]["anyOf"]
    assert {key for shape in shapes for key in shape["required"]} == {
        "all", "any", "not", "user", "tag", "segment", "event",
    }  # fmt: skip
    [event] = [shape for shape in shapes if shape["required"] == ["event"]]
    assert set(event["properties"]) == {"event", "count", "within", "where"}
    assert re.fullmatch(event["properties"]["within"]["pattern"], "90d")
    assert all(shape["additionalProperties"] is False for shape in shapes)
