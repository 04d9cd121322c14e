"""What editors are told of YAML segments.

What belongs here: the JSON Schema of `segments/*.yaml`. What the keys mean is `audience`.
"""

from typing import Any

from journey.clock import DURATION_PATTERN
from journey.conditions import LISTS, MOMENTS, TEXTS, Operator, conditions_schema


def segment_schema() -> dict[str, Any]:
    """The JSON Schema of a YAML segment, for editors that complete and check it (draft 7)."""
    conditions = conditions_schema()
    number = {"type": "integer", "minimum": 0}
    some = {"type": "array", "items": number, "minItems": 1}
    words = [str(one) for one in Operator if one not in {Operator.exists, *TEXTS, *MOMENTS}]
    counts = {one: some if one in {*LISTS, Operator.between} else number for one in words}
    one_count = {"type": "object", "properties": counts, "additionalProperties": False, "maxProperties": 1}
    again, many = {"$ref": "#/definitions/filter"}, {"type": "array", "minItems": 1}
    name = {"type": ["string", "integer"]}
    described: dict[str, tuple[dict[str, Any], str]] = {
        "all": ({**many, "items": again}, "Every one of these filters holds."),
        "any": ({**many, "items": again}, "At least one of these filters holds."),
        "not": (again, "This filter does not hold."),
        "user": (conditions, "Conditions on the contact's properties; all must hold."),
        "tag": (name, "The contact has this tag."),
        "segment": (name, "The contact is in this other segment."),
    }
    event: dict[str, Any] = {
        "event": {**name, "description": "The event's name; the contact has it at least once."},
        "count": {"anyOf": [number, one_count], "description": "How often: 3, or {at_least: 3}."},
        "within": {"type": "string", "pattern": DURATION_PATTERN, "description": "How far back: 90d."},
        "where": {**conditions, "description": "Conditions on the event's properties."},
    }
    alternatives: list[dict[str, Any]] = [
        {"properties": {key: {**schema, "description": about}}, "required": [key]}
        for key, (schema, about) in described.items()
    ]
    alternatives.append({"properties": event, "required": ["event"]})
    shapes = [{"type": "object", "additionalProperties": False, **one} for one in alternatives]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A segment",
        "description": "Who is in it: one filter; `all`, `any` and `not` nest.",
        **again,
        "definitions": {"filter": {"anyOf": shapes}},
    }
