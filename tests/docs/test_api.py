"""docs/api.md: its calls are answered as it says."""

import json
import re
import shlex

import pytest

from gateway.api_schema import _ERRORS
from tests.docs.pages import DOCS, rows
from tests.gateway.doors import CAMPAIGN, doors_of
from tests.stage import person

PAGE = (DOCS / "api.md").read_text(encoding="utf-8")
CALL = re.compile(r"^```sh\n(curl .+?)^```\n\n```json\n(.+?)^```", re.MULTILINE | re.DOTALL)
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture
def doors(make_home):
    campaign = CAMPAIGN.replace("name: survey", "name: survey_thanks").replace("[offer, survey_id]", "[survey, offer]")
    stage = make_home(campaigns=[campaign], contacts=[{**person(1), "contact_id": "u1"}])
    stage.turn()
    with doors_of(stage) as made:
        yield made


def curl(doors, text, **variables):
    """What a curl command of the page would be answered."""
    for name, value in variables.items():
        text = text.replace(f"${name}", value)
    assert "$" not in text
    words = shlex.split(text.replace("\\\n", " "))[1:]
    method, headers, body, path = "GET", {}, None, ""
    while words:
        word = words.pop(0)
        if word == "-X":
            method = words.pop(0)
        elif word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = words.pop(0).encode()
        else:
            path = word.removeprefix(ADDRESS)
    assert path.startswith("/")
    return doors.ask(method, path, auth=headers.pop("Authorization", None), headers=headers, content=body)


def test_every_call_of_the_page_is_answered_as_it_says(doors):
    calls = [(call, json.loads(answer)) for call, answer in CALL.findall(PAGE)]
    assert len(calls) == 4
    uuid = ""
    for call, said in calls:
        answer = curl(doors, call, TOKEN=doors.token, REQUEST_UUID=uuid)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert list(found) == list(said)
        if "state" in said:
            found["request_uuid"] = said["request_uuid"]
            assert found == said
        elif "accepted" in said:
            assert found == said
        elif "request_uuid" in said:
            uuid = found["request_uuid"]
            doors.stage.turn()


def test_the_page_has_every_error(doors):
    """405 is of no call that there is, so the API's own description has none."""
    known = sorted([*_ERRORS, 405])
    assert [int(row["status"]) for row in rows("api.md", "status", "what", "send it again")] == known
    for method, path in (("GET", "/api/events"), ("POST", "/api/requests/x"), ("PUT", "/api/journey/x/start/external")):
        answer = doors.ask(method, path)
        assert answer.status_code == 405 and answer.json()["error"]
        assert answer.headers["Allow"] and method not in answer.headers["Allow"]
