"""Taking requests in: lines of API entries, each known by its uuid."""

import json

import pytest

from resources.requests import take_in_requests
from tests.stage import Stage


@pytest.fixture
def stage(make_home):
    made = make_home()
    (made.path / "landing/requests").mkdir()
    return made


def put(stage: Stage, *lines: object, file: str = "log.ndjson", end: str = "\n"):
    texts = [one if isinstance(one, str) else json.dumps(one) for one in lines]
    with (stage.path / "landing/requests" / file).open("a") as log:
        log.write("\n".join(texts) + end)
    return take_in_requests(stage.home.landing, ["main"], stage.lease, stage.now, stage.wall, False)


def asked(uuid="r1", **more):
    return {"campaign": "offer", "request_uuid": uuid, **more}


def test_a_request_is_kept_as_it_was_asked(stage):
    (taken,) = put(stage, asked(users=["u1", 7, "u1"], attribute_values={"offer": "x", "n": 1}))
    assert (taken.rows, taken.new, taken.quarantined) == (1, 1, 0)
    (row,) = stage.rows("SELECT uuid, campaign, kind, people, attributes, source, taken_at, done_at FROM request")
    assert row[:3] == ("r1", "offer", "users")
    assert (json.loads(row[3]), json.loads(row[4])) == (["u1", "7"], {"offer": "x", "n": 1})
    assert row[5:] == ("requests/log.ndjson", stage.us, None)


def test_phones_and_a_segment_may_be_named_and_attributes_left_out(stage):
    put(stage, asked("a", phones=["06 00 00 00 01"]), asked("b", segment="loyal"))
    assert stage.rows("SELECT kind, people, attributes FROM request ORDER BY id") == [
        ("phones", '["06 00 00 00 01"]', "{}"),
        ("segment", '["loyal"]', "{}"),
    ]


def test_a_known_uuid_changes_nothing(stage):
    put(stage, asked(users=["u1"]))
    (taken,) = put(stage, asked(users=["u2"]), asked("r2", users=["u2"]))
    assert (taken.new, taken.unchanged) == (1, 1)
    assert stage.rows("SELECT uuid, people FROM request ORDER BY id") == [("r1", '["u1"]'), ("r2", '["u2"]')]


def test_a_file_read_twice_changes_nothing(stage):
    put(stage, asked(users=["u1"]))
    (again,) = put(stage, asked(users=["u1"]), file="copy.ndjson")
    assert again.again or again.new == 0
    assert stage.value("SELECT count(*) FROM request") == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "it is not JSON"),
        ('["a"]', "it is no JSON object"),
        ({"request_uuid": "r", "users": ["a"]}, "there is no campaign"),
        ({"campaign": "offer", "users": ["a"]}, "there is no request_uuid"),
        ({"campaign": "offer", "request_uuid": " ", "users": ["a"]}, "there is no request_uuid"),
        (asked(), "one of `users`, `phones` and `segment` is wanted, found none"),
        (asked(users=["a"], segment="b"), "one of `users`, `phones` and `segment` is wanted, found `users` and"),
        (asked(users=[]), "`users` names nobody"),
        (asked(users=[["a"]]), "`users` is a list of texts"),
        (asked(users=[""]), "`users` is a list of texts"),
        (asked(phones={"a": 1}), "`phones` is a list of texts"),
        (asked(segment=["a", "b"]), "`segment` is the name of one segment"),
        (asked(users=["a"], attribute_values=["x"]), "`attribute_values` is no JSON object"),
        (asked("r" * 300, users=["a"]), "request_uuid is longer than 200 characters"),
    ],
)  # fmt: skip
def test_a_bad_line_is_set_aside_and_the_others_come_in(stage, line, reason):
    (taken,) = put(stage, asked("good", users=["u1"]), line, asked("better", users=["u1"]))
    assert (taken.new, taken.quarantined) == (2, 1)
    (row,) = stage.rows("SELECT source, file, line, reason FROM quarantine")
    assert row[:3] == ("requests", "requests/log.ndjson", 2)
    assert row[3].startswith(reason)


def test_a_line_that_is_not_whole_yet_waits(stage):
    put(stage, asked("a", users=["u1"]), json.dumps(asked("b", users=["u1"]))[:-3], end="")
    assert stage.rows("SELECT uuid FROM request") == [("a",)]
    with (stage.path / "landing/requests/log.ndjson").open("a") as log:
        log.write('1"]}'[-3:] + "\n")
    take_in_requests(stage.home.landing, ["main"], stage.lease, stage.now, stage.wall, False)
    assert stage.rows("SELECT uuid FROM request") == [("a",), ("b",)]


def test_a_file_of_another_kind_is_set_aside(stage):
    put(stage, "campaign,request_uuid", file="a.csv")
    assert "is not for requests; use .ndjson" in stage.value("SELECT reason FROM quarantine")
