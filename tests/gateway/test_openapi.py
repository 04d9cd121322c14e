"""The API is described whole: every door, every answer; and no body whatever is a fault or a 422."""

import json
import re
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.api_schema import SCHEMAS
from tests.gateway.doors import PATH, VALUES

POSTED = {"200", "400", "401", "408", "413", "415", "429", "503"}
DOORS = {
    ("/api/journey/{campaign}/start/external", "post"): POSTED | {"404", "409"},
    ("/api/requests/{request_uuid}", "get"): {"200", "400", "401", "404", "429", "503"},
    ("/api/events", "post"): POSTED,
}
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)

words = st.text(max_size=8)
keys = st.none() | st.text(st.characters(min_codepoint=1, max_codepoint=126), max_size=5)
BYTES = [b"\xef\xbb\xbf{}", b"\xff\xfe", b"[" * 50_000, b'{"a":' * 50_000, b'"\\ud800"', b"1e999", b"NaN", b"", b"null"]


def of(schema):
    """Values of a schema, in which now and then something else stands."""
    if "$ref" in schema:
        return of(SCHEMAS[schema["$ref"].rpartition("/")[2]])
    if "oneOf" in schema and "properties" not in schema:
        return st.one_of(*map(of, schema["oneOf"]), anything)
    made = st.one_of(*(_of_type(one, schema) for one in _types(schema)))
    return st.one_of(made, made, made, anything)


def _types(schema):
    found = schema.get("type", "null")
    return found if isinstance(found, list) else [found]


def _of_type(name, schema):
    if name == "object":
        known = {key: of(one) for key, one in schema.get("properties", {}).items()}
        others = st.dictionaries(st.text(max_size=5), anything, max_size=1)
        return st.builds(lambda one, other: {**other, **one}, st.fixed_dictionaries({}, optional=known), others)
    if name == "array":
        return st.lists(of(schema["items"]), max_size=4)
    if name == "string":
        return st.sampled_from(["c0", "everyone", "+33600000001", "2026-12-01T10:00:00Z", "\0", ""]) | words
    return {"integer": st.integers(), "null": st.none(), "boolean": st.booleans()}[name]


def document(doors):
    return doors.get("/openapi.json", auth=None).json()


def test_every_door_of_the_api_is_described_with_every_answer(doors):
    found = document(doors)
    assert found["openapi"].startswith("3.1")
    listed = [(path, method, one) for path, ones in found["paths"].items() for method, one in ones.items()]
    assert {(path, method): set(one["responses"]) for path, method, one in listed} == DOORS
    for ones in found["paths"].values():
        for one in ones.values():
            assert one["security"] == [{"token": []}, {"bearer": []}]
            assert one["summary"] and one["description"] and one["operationId"]
            for parameter in one.get("parameters", []):
                assert parameter["description"] and parameter["example"], parameter["name"]
            for code, answer in one["responses"].items():
                (content,) = answer["content"].values()
                assert answer["description"] and content["example"] is not None, code
    assert set(found["components"]["securitySchemes"]) == {"token", "bearer"}


def test_every_reference_leads_somewhere(doors):
    text = json.dumps(document(doors))
    assert "422" not in text and "HTTPValidationError" not in text
    for name in re.findall(r'"#/components/schemas/([A-Za-z]+)"', text):
        assert name in SCHEMAS


def test_the_examples_are_taken_or_refused_for_what_is_not_there(doors):
    doors.stage.contacts([{"contact_id": "u1", "phone": "0611111111", "country": "FR"}]).turn()
    for path, ones in document(doors)["paths"].items():
        body = ones.get("post", {}).get("requestBody")
        for example in body["content"]["application/json"]["examples"].values() if body else ():
            value = json.loads(json.dumps(example["value"]).replace('"loyal"', '"everyone"'))
            answer = doors.post(path.replace("{campaign}", "survey"), value)
            assert answer.status_code == 200, answer.text
            assert not answer.json().get("refused")


def test_the_page_says_the_same_without_anything_from_elsewhere(doors):
    answer = doors.get("/docs/api", auth=None)
    assert answer.status_code == 200
    for path, _ in DOORS:
        assert path in answer.text
    assert "<script" not in answer.text and " style=" not in answer.text and "http://" not in answer.text
    assert re.findall(r'(?:src|href)="([^"#]+)"', answer.text) == ["/docs/api.css", "/openapi.json"]
    assert doors.get("/docs/api.css", auth=None).headers["content-type"].startswith("text/css")


def quiet(doors):
    doors.app.state.access._rate = doors.app.state.access._burst = 1e9


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(body=of({"$ref": "Start"}), key=keys)
def test_whatever_is_posted_to_start_is_answered_as_described(doors, body, key):
    quiet(doors)
    payload = body.get("payload") if isinstance(body, dict) else None
    if isinstance(payload, dict) and payload.get("attribute_values") == {}:
        payload["attribute_values"] = VALUES
    headers = {} if key is None else {"Idempotency-Key": key.encode()}
    answer = doors.post(PATH, content=json.dumps(body).encode(), headers=headers)
    assert answer.status_code in (200, 400, 409), answer.text
    assert list(answer.json()) == (["request_uuid"] if answer.status_code == 200 else ["error"])


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(body=of({"$ref": "Events"}))
def test_whatever_is_posted_as_events_is_answered_as_described(doors, body):
    quiet(doors)
    answer = doors.post("/api/events", content=json.dumps(body).encode())
    assert answer.status_code in (200, 400), answer.text
    assert set(answer.json()) <= {"accepted", "refused", "error"}
    assert ("error" in answer.json()) == (answer.status_code == 400)


@pytest.mark.parametrize("content", BYTES)
def test_bytes_that_are_no_json_are_400(doors, content):
    for path in (PATH, "/api/events"):
        assert doors.post(path, content=content).status_code == 400


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(uuid=st.text(min_size=1, max_size=30), query=st.dictionaries(st.sampled_from(["limit", "after", "x"]), words))
def test_whatever_is_asked_for_is_400_or_404(doors, uuid, query):
    quiet(doors)
    answer = doors.get(f"/api/requests/{quote(uuid, safe='')}", params=query)
    assert answer.status_code in (400, 404), answer.text
