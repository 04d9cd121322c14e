"""Schemathesis reads our OpenAPI and asks what it says may be asked, and what it says may not."""

import copy
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.python import asgi
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from gateway.app import create_app
from resources.access import add_token
from tests.gateway.doors import CAMPAIGN

START, OUTCOMES, EVENTS = ("startJourney", "requestOutcomes", "takeEvents")
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much]
AS_EVER = settings(
    derandomize=True, deadline=None, database=None, max_examples=25, print_blob=False, suppress_health_check=QUIET
)
AT_LENGTH = settings(AS_EVER, max_examples=400)
TIMES = ["2026-12-01T11:58:00Z", "2026-12-01 11:58", "2026-12-01T11:58:00.123456+01:00"]


@dataclass
class Api:
    """The API of a home whose campaign `survey` takes requests, and what it answered so far."""

    app: Any
    token: str
    answers: Counter[int] = field(default_factory=Counter)

    def operation(self, name: str, document: dict[str, Any] | None = None) -> Any:
        """An operation of our document, or of another one."""
        schema = schemathesis.openapi.from_asgi("/openapi.json", self.app)
        if document is not None:
            schema = schemathesis.openapi.from_dict(document)
            schema.app = self.app
        return next(one.ok() for one in schema.get_all_operations() if one.ok().definition.raw["operationId"] == name)

    def ask(self, case: Any, auth: str | None = "", **headers: str) -> Any:
        """The answer to a case, with a token unless told otherwise."""
        if auth is not None:
            headers["Authorization"] = auth or f"Api {self.token}"
        answer = case.call(headers=headers)
        self.answers[answer.status_code] += 1
        return answer


@pytest.fixture
def api(make_home: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setattr("gateway.access.WRONG_BURST", 1e9)  # schemathesis tries wrong tokens of its own
    stage = make_home(campaigns=[CAMPAIGN])
    stage.turn()
    with stage.home.ledger.write() as tx:
        token = add_token(tx, "shop", stage.us)
    app = create_app(Path(stage.path), app_secret=None, verify_token=None, clock=lambda: stage.now)
    app.state.access._rate = app.state.access._burst = 1e9
    yield Api(app, token)
    asgi.shutdown_lifespans()


def ask_all(api: Api, name: str, mode: GenerationMode, how: settings) -> None:
    operation = api.operation(name)
    survey = {"path_parameters": {"campaign": "survey"}} if name == START else {}

    @how
    @given(operation.as_strategy(mode, **survey) | operation.as_strategy(mode))
    def each(case: Any) -> None:
        answer = api.ask(case)
        assert answer.status_code not in (422, 500)
        # That the campaign declares other attributes, or that a text is no phone, no schema of ours can say.
        excluded = [positive_data_acceptance]
        if answer.status_code == 413:  # schemathesis wants 400 for too many items
            excluded.append(negative_data_rejection)
        case.validate_response(answer, excluded_checks=excluded)

    each()


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", [START, OUTCOMES, EVENTS])
def test_every_answer_is_one_that_is_described(api: Api, name: str, mode: GenerationMode) -> None:
    ask_all(api, name, mode, AS_EVER)


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("name", [START, OUTCOMES, EVENTS])
@pytest.mark.timeout(1_800)
def test_every_answer_is_one_that_is_described_at_length(api: Api, name: str, mode: GenerationMode) -> None:
    ask_all(api, name, mode, AT_LENGTH)


def test_whatever_is_asked_without_a_token_is_401(api: Api) -> None:
    for name in (START, OUTCOMES, EVENTS):

        @settings(AS_EVER, max_examples=10)
        @given(api.operation(name).as_strategy(), st.sampled_from([None, "Api", "Basic YTpi", "Bearer est_wrong"]))
        def each(case: Any, auth: str | None) -> None:
            answer = api.ask(case, auth)
            assert answer.status_code == 401
            case.validate_response(answer, excluded_checks=[positive_data_acceptance])

        each()
    assert set(api.answers) == {401}


def exact(document: dict[str, Any]) -> dict[str, Any]:
    """The document, with what only this home knows: its segment, the campaign's attributes, phones that are some."""
    found = copy.deepcopy(document)
    schemas = found["components"]["schemas"]
    payload = schemas["Start"]["properties"]["payload"]
    payload["required"] = ["attribute_values"]
    payload["properties"]["segment"] = {"enum": ["everyone"]}
    payload["properties"]["phones"]["items"] = {"type": "string", "pattern": r"^\+336[0-9]{8}$"}
    payload["properties"]["attribute_values"] = {
        "type": "object",
        "required": ["offer", "survey_id"],
        "properties": {"offer": {}, "survey_id": {}},
        "additionalProperties": False,
    }
    event = schemas["Event"]
    event["required"] = [*event["required"], "contact_id"]
    event["properties"] |= {
        "contact_id": {"type": ["string", "integer"], "minLength": 1, "maxLength": 200, "pattern": r"^c\S*$"},
        "occurred_at": {"enum": TIMES},
        "phone": {"type": "null"},
    }
    event["additionalProperties"] = False  # a key that is a field spelt otherwise is that field
    return found


@pytest.mark.parametrize("name", [START, EVENTS])
def test_what_the_schema_allows_is_taken(api: Api, name: str) -> None:
    document = exact(api.operation(name).schema.raw_schema)
    survey = {"path_parameters": {"campaign": "survey"}} if name == START else {}

    @AS_EVER
    @given(api.operation(name, document).as_strategy(**survey))
    def each(case: Any) -> None:
        assume("\\u0000" not in json.dumps(case.body))  # is taken nowhere, which no schema can say of nested values
        answer = api.ask(case)
        assert answer.status_code in (200, 409), (answer.text, case.body)  # 409: a key that was drawn twice
        assert not answer.json().get("refused"), (answer.text, case.body)

    each()
    assert api.answers[200] > 10


ODD = {
    "Accept": ["text/html", "application/xml", "*/*;q=0", "\xff"],
    "Accept-Language": ["tlh", "fr;q=banane", ","],
    "Content-Type": ["text/plain", "multipart/form-data", "application/json; charset=utf-16", "", "é"],
    "Content-Encoding": ["gzip", "identity", "br, gzip", ""],
    "Cookie": ["estafette_session=x", "=;;=", "estafette_language=../.."],
    "Expect": ["100-continue"],
    "Idempotency-Key": ["a" * 255, "a" * 256, "é", "order-1, order-1", "\x7f"],
    "If-None-Match": ["*"],
    "Origin": ["https://evil.example"],
    "Range": ["bytes=0-1"],
    "X-Forwarded-For": ["203.0.113.7", "127.0.0.1"],
    "X-HTTP-Method-Override": ["DELETE"],
}


def test_no_header_makes_an_answer_that_is_not_described(api: Api) -> None:
    pairs = st.sampled_from([(name, value) for name, values in ODD.items() for value in values])
    for name in (START, OUTCOMES, EVENTS):
        survey = {"path_parameters": {"campaign": "survey"}} if name == START else {}

        @AS_EVER
        @given(api.operation(name).as_strategy(**survey), st.lists(pairs, max_size=4).map(dict))
        def each(case: Any, headers: dict[str, str]) -> None:
            case.headers = case.headers or {}
            for one in headers:
                case.headers.pop(one, None)
            answer = api.ask(case, **headers)
            assert answer.status_code not in (422, 500)
            case.validate_response(answer, excluded_checks=[positive_data_acceptance])

        each()
