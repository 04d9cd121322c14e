"""How the API is described: examples, answers and errors of each door, for /openapi.json and the page made of it.

What belongs here: descriptions. `describe` puts them together with what FastAPI knows of the doors.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

VERSION = "1"
_JSON = "application/json"
_TEXT = {"type": "string"}
_SECURITY: list[dict[str, list[str]]] = [{"token": []}, {"bearer": []}]
_ABOUT = """Start journeys, report events, ask what became of a request.

Every call brings a token, made by `estafette tokens add NAME`: `Authorization: Api TOKEN` (or `Bearer TOKEN`). What is
answered with 200 is on disk; the next pass deals with it. Every error is `{"error": "a sentence"}`."""

_ERRORS: dict[int, tuple[str, str]] = {
    400: ("The request is not as it should be; the sentence says what.", "`users` is an empty list: it names nobody."),
    401: ("There is no token, or one that is unknown or revoked.", "This token is unknown, or was revoked."),
    404: ("There is no such thing.", "There is no campaign `autumn`."),
    408: ("The body did not come within 30 seconds.", "The body did not come in time."),
    409: (
        "The campaign takes no requests now (stopped, a draft, with a hole), or the Idempotency-Key was used for"
        " another request.",
        "The campaign `survey` is stopped and takes no requests until it is resumed.",
    ),
    413: (
        "The body is longer than 10 MB, or has more than 10,000 events.",
        "The body is too long: at most 10 MB are taken.",
    ),
    415: (
        "The body is compressed (`Content-Encoding`).",
        "A body with a Content-Encoding is not taken; send it as it is.",
    ),
    429: (
        "The token makes too many requests a second, or too many wrong tokens came from the address; `Retry-After` says"
        " when to come again.",
        "Too many requests: a token may make 50 a second. Try again in 1 s.",
    ),
    503: (
        "It could not be kept, or the ledger is busy; nothing is lost by sending it again.",
        "The ledger is busy. Try again in a few seconds.",
    ),
}  # fmt: skip


def _errors(*codes: int, **said: str) -> dict[int | str, dict[str, Any]]:
    found: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        about, example = _ERRORS[code]
        found[code] = {
            "description": about,
            "content": {
                _JSON: {
                    "schema": {"$ref": "#/components/schemas/Error"},
                    "example": {"error": said.get(f"e{code}", example)},
                }
            },
        }
        if code in (429, 503):
            found[code]["headers"] = {
                "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}, "example": 1}
            }
        if code == 401:
            about = "How to come again: `Bearer`, with the realm `estafette`."
            found[code]["headers"] = {"WWW-Authenticate": {"description": about, "schema": _TEXT}}
    return found


def _answer(about: str, schema: dict[str, Any], example: Any) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": about, "content": {_JSON: {"schema": schema, "example": example}}}}


def _body(schema: str, examples: dict[str, tuple[str, Any]]) -> dict[str, Any]:
    listed = {name: {"summary": summary, "value": value} for name, (summary, value) in examples.items()}
    return {
        "required": True,
        "content": {_JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}, "examples": listed}},
    }


_OUTCOMES_EXAMPLE = {
    "request_uuid": "9b2f3c1e-0c1d-4a57-9a53-6f2f0f3f8a11",
    "campaign": "survey",
    "state": "working",
    "taken_at": "2026-12-01T12:00:03+00:00",
    "detail": None,
    "counts": {"entered": 1, "waiting": 1},
    "outcomes": [
        {
            "contact_id": "u1",
            "outcome": "entered",
            "detail": None,
            "participant_id": 41,
            "met_at": "2026-12-01T12:00:03+00:00",
        },
        {
            "contact_id": "u2",
            "outcome": "waiting",
            "detail": "the contact is not known; it is waited for until 2026-12-02 12:00:03+00:00",
            "participant_id": None,
            "met_at": None,
        },
    ],
    "next": None,
}

START: dict[str, Any] = {
    "tags": ["journeys"],
    "operation_id": "startJourney",
    "summary": "Let people into a campaign",
    "description": "The campaign needs an `api` entry; the request brings exactly the attributes that it declares."
    " Who comes in is decided by the next pass: ask for the outcomes by the `request_uuid`. Ids that are not known wait"
    " 24 hours for their contact; phones make contacts.",
    "responses": {
        **_answer(
            "The request is on disk.",
            {"$ref": "#/components/schemas/Started"},
            {"request_uuid": "9b2f3c1e-0c1d-4a57-9a53-6f2f0f3f8a11"},
        ),
        **_errors(400, 401, 404, 408, 409, 413, 415, 429, 503),
    },
    "openapi_extra": {
        "security": _SECURITY,
        "parameters": [
            {
                "name": "campaign",
                "in": "path",
                "required": True,
                "description": "The campaign's name, which is that of its file.",
                "schema": {"type": "string", "minLength": 1},
                "example": "survey",
            },
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Makes a repeat harmless, also days later: the same token, campaign and key give the"
                " same request_uuid, and the people enter once. The same key with another body is refused (409).",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
                "example": "order-4711",
            },
        ],
        "requestBody": _body(
            "Start",
            {
                "users": (
                    "By contact ids",
                    {"payload": {"users": ["u1", "u2"], "attribute_values": {"offer": "x", "survey_id": 7}}},
                ),
                "phones": (
                    "By phone numbers",
                    {"payload": {"phones": ["+33612345678"], "attribute_values": {"offer": "x", "survey_id": 7}}},
                ),
                "segment": (
                    "By a segment of the project",
                    {"payload": {"segment": "loyal", "attribute_values": {"offer": "x", "survey_id": 7}}},
                ),
            },
        ),
    },
}

OUTCOMES: dict[str, Any] = {
    "tags": ["journeys"],
    "operation_id": "requestOutcomes",
    "summary": "What became of a request",
    "description": "One outcome a person: those of the table `entries` (`entered`, `control`, `already_in`, `re_entry`,"
    " `unknown_contact`, `refused`, `stopped`), `waiting` for ids that are not known yet, `pending` for people who have"
    " not been dealt with. A segment that was refused as a whole has one outcome without a contact.",
    "responses": {
        **_answer("The outcomes so far.", {"$ref": "#/components/schemas/Outcomes"}, _OUTCOMES_EXAMPLE),
        **_errors(400, 401, 404, 429, 503, e404="There is no request of this uuid.",
                  e400="`limit` is no whole number from 1 to 10000."),
    },
    "openapi_extra": {
        "security": _SECURITY,
        "parameters": [
            {
                "name": "request_uuid",
                "in": "path",
                "required": True,
                "description": "What the start of the journey answered, or the line of a request file said.",
                "schema": {"type": "string", "minLength": 1},
                "example": "9b2f3c1e-0c1d-4a57-9a53-6f2f0f3f8a11",
            },
            {
                "name": "limit",
                "in": "query",
                "required": False,
                "description": "Outcomes on one page.",
                "schema": {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 1_000},
                "example": 100,
            },
            {
                "name": "after",
                "in": "query",
                "required": False,
                "description": "`next` of the page before.",
                "schema": {"type": "integer", "minimum": 0, "maximum": 10**12, "default": 0},
                "example": 100,
            },
        ],
    },
}  # fmt: skip

_EVENT = {
    "event": "purchase",
    "contact_id": "u1",
    "occurred_at": "2026-12-01T11:58:00Z",
    "properties": {"amount": 49.9},
}
EVENTS: dict[str, Any] = {
    "tags": ["events"],
    "operation_id": "takeEvents",
    "summary": "Report what contacts did",
    "description": "One event, or a list of up to 10,000. Bad ones are named by their place in the list (from 0), the"
    " others are taken. Without `event_id` an event is known by what it says: sending a list again changes nothing.",
    "responses": {
        **_answer(
            "The events are on disk; `refused` names those that are not.",
            {"$ref": "#/components/schemas/Taken"},
            {"accepted": 1, "refused": [{"index": 1, "reason": "there is no occurred_at"}]},
        ),
        **_errors(400, 401, 408, 413, 415, 429, 503, e400="No event was taken: there is no occurred_at."),
    },
    "openapi_extra": {
        "security": _SECURITY,
        "requestBody": _body(
            "Events",
            {
                "one": ("One event", _EVENT),
                "list": ("Several", [_EVENT, {**_EVENT, "contact_id": None, "phone": "+33612345678"}]),
            },
        ),
    },
}

_TIME = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?( ?(Z|[+-]\d{2}:?\d{2}))?)?$"
_MAYBE_TEXT = {"type": ["string", "null"]}
_ID = {"type": ["string", "integer"], "minLength": 1, "maxLength": 200, "pattern": r"\S"}
SCHEMAS: dict[str, Any] = {
    "Error": {"type": "object", "required": ["error"], "properties": {"error": _TEXT}},
    "Start": {
        "type": "object",
        "required": ["payload"],
        "additionalProperties": False,
        "properties": {
            "payload": {
                "type": "object",
                "additionalProperties": False,
                "description": "Exactly one of `users`, `phones` and `segment`.",
                "oneOf": [{"required": [one]} for one in ("users", "phones", "segment")],
                "properties": {
                    "users": {"type": "array", "minItems": 1, "items": _ID, "description": "Contact ids."},
                    "phones": {"type": "array", "minItems": 1, "items": _ID, "description": "Phone numbers."},
                    "segment": {
                        "type": "string",
                        "minLength": 1,
                        "pattern": r"\S",
                        "description": "The name of a segment.",
                    },
                    "attribute_values": {
                        "type": "object",
                        "description": "A value for each attribute that the campaign's entry declares, and no other.",
                        "additionalProperties": True,
                    },
                },
            }
        },
    },
    "Started": {
        "type": "object",
        "required": ["request_uuid"],
        "properties": {"request_uuid": {"type": "string", "format": "uuid"}},
    },
    "Event": {
        "type": "object",
        "required": ["event", "occurred_at"],
        "properties": {
            "event": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"\S"},
            "contact_id": {"type": ["string", "integer", "null"], "description": "This, or `phone`."},
            "phone": {"type": ["string", "null"], "description": "Where the contact's id is not known."},
            "occurred_at": {
                "type": "string",
                "pattern": _TIME,
                "description": "ISO 8601; without a zone in the settings' timezone.",
            },
            "properties": {"type": ["object", "null"], "additionalProperties": True},
            "event_id": {"type": ["string", "null"], "maxLength": 200, "description": "Your own id, if there is one."},
        },
        "additionalProperties": {"description": "Other keys are properties too."},
    },
    "Events": {
        "oneOf": [
            {"$ref": "#/components/schemas/Event"},
            {"type": "array", "maxItems": 10_000, "items": {"$ref": "#/components/schemas/Event"}},
        ]
    },
    "Taken": {
        "type": "object",
        "required": ["accepted", "refused"],
        "properties": {
            "accepted": {"type": "integer"},
            "refused": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["index", "reason"],
                    "properties": {"index": {"type": "integer"}, "reason": _TEXT},
                },
            },
        },
    },
    "Outcomes": {
        "type": "object",
        "required": ["request_uuid", "campaign", "state", "taken_at", "detail", "counts", "outcomes", "next"],
        "properties": {
            "request_uuid": _TEXT,
            "campaign": _TEXT,
            "state": {"type": "string", "enum": ["pending", "working", "done"]},
            "taken_at": _MAYBE_TEXT,
            "detail": {**_MAYBE_TEXT, "description": "Why the whole request was refused."},
            "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
            "outcomes": {"type": "array", "items": {"$ref": "#/components/schemas/Outcome"}},
            "next": {"type": ["integer", "null"], "description": "`after` of the next page; null on the last."},
        },
    },
    "Outcome": {
        "type": "object",
        "required": ["contact_id", "outcome", "detail", "participant_id", "met_at"],
        "properties": {
            "contact_id": _MAYBE_TEXT,
            "outcome": _TEXT,
            "detail": _MAYBE_TEXT,
            "participant_id": {"type": ["integer", "null"]},
            "met_at": _MAYBE_TEXT,
        },
    },
}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an application's doors that are in its schema."""
    if app.openapi_schema is None:
        found = get_openapi(title="Estafette", version=VERSION, description=_ABOUT, routes=app.routes)
        for path in found["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)  # no door answers it
                listed = operation.get("parameters", [])  # FastAPI's own, without a word of what they are, then ours
                if listed:
                    operation["parameters"] = list({(one["in"], one["name"]): one for one in listed}.values())
        found["components"] = {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Api TOKEN`; tokens are made by `estafette tokens add NAME`.",
                },
                "bearer": {"type": "http", "scheme": "bearer", "description": "The same token, the other way."},
            },
        }
        app.openapi_schema = found
    return app.openapi_schema
