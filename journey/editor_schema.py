"""What editors are told of a file, and what findings tell of it: JSON Schemas, and the words and examples in them.

What belongs here: the JSON Schema of a file's model, and finding in it what a key says of itself. The models are the
rooms named after `language`; how they are read is `reading`.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from journey.clock import show_duration
from journey.source import Key, Path

SENTENCE_END = re.compile(r"(?<!\be\.g)\. ")


class _EditorSchema(GenerateJsonSchema):
    """JSON Schema as editors use it: an optional key may be left out but is never null; defaults as files have them."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = super().default_schema(schema)
        if isinstance(inner.get("default", 0), dict | None):
            del inner["default"]  # says nothing, or only what the keys within say
        return inner

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value  # in the order of the spelling, which is the order of importance

    def encode_default(self, dft: Any) -> Any:
        return show_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


@lru_cache(maxsize=16)
def editor_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a file, for editors that complete and check it (draft 7, which VS Code reads)."""
    schema = model.model_json_schema(schema_generator=_EditorSchema)
    return {"$schema": "http://json-schema.org/draft-07/schema#", **schema}


def example_of(model: type[BaseModel], path: Path) -> str:
    """`Write e.g. …`, with the examples of what may stand at `path`; empty where there are none."""
    examples = dict.fromkeys(_flow(one) for node in _walk(model, path) for one in node.get("examples", []))
    return f"Write e.g. {' or '.join(examples)}." if examples else ""


def known_keys(model: type[BaseModel], path: Path) -> set[str]:
    """The keys that a mapping at `path` may have."""
    return {key for node in _walk(model, path) for key in node.get("properties", {})}


def may_be_null(model: type[BaseModel], path: Path) -> bool:
    """Whether an empty value means something there."""
    return any("null" in node.get("type", ()) for node in _walk(model, path))


def description_of(model: type[BaseModel], path: Path) -> str:
    """What the schema says of the key at `path`: its first sentence, without the full stop."""
    schema = editor_schema(model)
    for node in _walk(model, path[:-1]):
        key = node.get("properties", {}).get(path[-1], {})
        for described in (key, *_branches(schema, key)):
            if described.get("description"):
                return SENTENCE_END.split(str(described["description"]), maxsplit=1)[0].removesuffix(".")
    return ""


def _walk(model: type[BaseModel], path: Path) -> list[dict[str, Any]]:
    schema = editor_schema(model)
    nodes = list(_branches(schema, schema))
    for part in path:
        nodes = [branch for node in nodes for child in _into(node, part) for branch in _branches(schema, child)]
    return nodes


def _into(node: dict[str, Any], part: Key) -> Iterator[dict[str, Any]]:
    inside = node.get("properties", {}).get(part) or node.get("additionalProperties")
    if isinstance(part, int) and "items" in node:
        inside = node["items"]
    if isinstance(inside, dict):
        yield inside


def _branches(schema: dict[str, Any], node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema node itself, or what it refers to, or each of its alternatives."""
    if "$ref" in node:
        yield from _branches(schema, schema["$defs"][node["$ref"].rsplit("/", 1)[1]])
        return
    alternatives = [*node.get("anyOf", []), *node.get("oneOf", [])]
    for one in alternatives:
        yield from _branches(schema, one)
    if not alternatives:
        yield node


def _flow(value: object) -> str:
    """A value as a file would spell it on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(one) for one in value) + "]"
    text = str(value)
    return text if _UNQUOTED.fullmatch(text) else f'"{text}"'


_UNQUOTED = re.compile(r"[A-Za-z_][\w/:. -]*|[-+]?[0-9.]+[smhdw%]?|[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{2}:[0-9]{2}")
