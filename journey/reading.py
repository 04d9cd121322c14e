"""A file's data → a checked model, with every failure said as a finding that a newcomer can act on.

What belongs here: the base of all models that mirror a file, the fields they share (durations, names), and the
translation of pydantic's errors into `Problem`s with file:line. What does not: any rule of a particular file.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from journey.clock import DURATION_PATTERN, is_zone, parse_duration, zone
from journey.editor_schema import description_of, example_of, known_keys, may_be_null
from journey.problems import Problem
from journey.source import Key, Path, Source, dotted
from journey.spelling import nearest, suggest

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


class FileModel(BaseModel):
    """Mirrors a mapping of a file: its keys and no others, its types and no conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Model = TypeVar("Model", bound=FileModel)


def example(
    *values: dict[str, Any],
    one_of: tuple[str, ...] = (),
    beside: Mapping[str, str] | None = None,
    apart: tuple[tuple[str, str], ...] = (),
) -> ConfigDict:
    """A model's configuration with examples, for editors and for findings; and what editors are told of keys: those of
    which exactly one stands, those that stand only `beside` another, and pairs that don't stand together."""
    schema: dict[str, Any] = {"examples": list(values)}
    rules: list[dict[str, Any]] = [{"not": {"required": list(pair)}} for pair in apart]
    if one_of:
        rules.insert(0, {"oneOf": [{"required": [key]} for key in one_of]})
    if rules:
        schema["allOf"] = rules
    if beside:
        schema["dependencies"] = {key: [owner] for key, owner in beside.items()}
    return ConfigDict(json_schema_extra=schema)


def wrong(what: str, mend: str) -> PydanticCustomError:
    """The error a validator raises: what is wrong and what to do. Braces in either are kept as they are."""
    return PydanticCustomError("wrong", "{what}", {"what": what, "mend": mend})


def wrong_within(*found: tuple[Path, str, str]) -> ValidationError:
    """The error a validator raises about places within its value: (path from there, what is wrong, what to do) each."""
    lines = [
        InitErrorDetails(type=wrong(what, mend), loc=tuple(path), input=None, ctx={}) for path, what, mend in found
    ]
    return ValidationError.from_exception_data("wrong", lines)


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise wrong(f"{value} is a number without a unit", f"Write a duration such as {value}h or {value}d.")
    try:
        return parse_duration(str(value))
    except ValueError as error:
        raise wrong(str(error).partition(";")[0], "Write a whole number and a unit: 30m, 24h, 2d, 1w.") from None


def _some_time(value: object) -> timedelta:
    duration = _duration(value)
    if not duration:
        raise wrong("a duration of zero leaves no time", "Write a longer one, e.g. 24h.")
    return duration


_DURATION_SCHEMA = WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": ["30m", "24h", "2d"]})
#: `30m`, `24h`, `2d`, `30 days`; zero allowed
Duration = Annotated[timedelta, BeforeValidator(_duration), _DURATION_SCHEMA]
#: the same, more than zero
SomeTime = Annotated[timedelta, BeforeValidator(_some_time), _DURATION_SCHEMA]


def _zone_name(value: object) -> object:
    if isinstance(value, str) and not is_zone(value):
        try:
            zone(value)
        except ValueError as error:
            raise wrong(*zone_words(str(error))) from None
    return value


def zone_words(sentence: str) -> tuple[str, str]:
    """`clock.zone`'s sentence about an unknown zone as (what, mend)."""
    what, _, hint = sentence.partition("; ")
    return what, hint[:1].upper() + hint[1:] + ("" if hint.endswith("?") else ".")


#: an IANA time zone
ZoneName = Annotated[str, BeforeValidator(_zone_name), WithJsonSchema({"type": "string", "examples": ["Europe/Paris"]})]


def read_model(source: Source, model: type[Model]) -> tuple[Model | None, list[Problem]]:
    """The source as a `model`, or the findings that forbid it, in the order of their lines."""
    empty = {path for path in source.nulls() if not may_be_null(model, path)}
    problems = [
        Problem(
            source.file,
            source.line(path),
            dotted(path),
            "there is no value" if isinstance(path[-1], int) else f"`{path[-1]}` has no value",
            example_of(model, path).replace("Write e.g.", "Give it one, e.g.").replace("}.", "}, or remove the line.")
            or "Give it one, or remove the line.",
        )
        for path in empty
    ]
    read: Model | None = None
    try:
        read = model.model_validate(source.data)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        misspelt = {path for one in errors if (path := _meant(source, model, one)) is not None}
        for one in errors:
            missing = one["type"] == "missing"
            path = source.path(one["loc"], missing=missing)
            hidden = one["type"] == "wrong" and any(
                path == place[:-1] for place in empty
            )  # what the empty key would be
            if not (path in misspelt if missing else path in empty or hidden):
                problems.append(_problem(source, model, one))
    problems.sort(key=lambda problem: (problem.line, problem.field))
    return (None, problems) if problems else (read, [])


def _meant(source: Source, model: type[FileModel], error: ErrorDetails) -> tuple[Key, ...] | None:
    """The path that an unknown key was probably meant to be: one finding for a misspelt key is enough."""
    if error["type"] != "extra_forbidden":
        return None
    path = source.path(error["loc"])
    near = nearest(str(path[-1]), known_keys(model, path[:-1]))
    return (*path[:-1], near) if near else None


def _problem(source: Source, model: type[FileModel], error: ErrorDetails) -> Problem:
    kind, found = error["type"], error["input"]
    path = source.path(error["loc"], missing=kind == "missing")
    line = source.line(path)
    name = str(path[-1]) if path else "the file"
    context: dict[str, Any] = error.get("ctx", {})
    if kind == "wrong":
        what, mend = str(context["what"]), str(context["mend"])
    elif kind == "invalid_key" or error["loc"][-1:] == ("[key]",):
        what, mend = f"the key {found} is not text", f'Put it in quotes: "{found}".'
    elif kind == "missing":
        about = description_of(model, path)
        what, mend = f"`{name}` is missing", f"Add `{name}:`" + (f" ({about})." if about else ".")
    elif kind == "extra_forbidden":
        beside = source.value(path[:-1])
        others = [str(key) for key in beside if key != path[-1]] if isinstance(beside, dict) else []
        known = known_keys(model, path[:-1])
        what, mend = f"unknown key `{name}`", suggest(name, known, none="Remove it.")
        if name in known:
            listed = " and ".join(f"`{one}`" for one in others)
            what, mend = f"`{name}` has no place beside {listed}", "Remove one or the other."
    elif kind == "literal_error":
        known = set(re.findall(r"'([^']*)'", str(context["expected"])))
        what = f"{_shown(found)} is not one of the words of `{name}`"
        mend = suggest(found if isinstance(found, str) else "", known, none="")
        instead = example_of(model, path)
        if instead:
            mend += " Or write" + instead.removeprefix("Write")
    elif kind == "string_type" and isinstance(found, bool | int | float):
        what, mend = f"text is wanted here, and {_shown(found)} is none", f'Put it in quotes: "{_written(found)}".'
    elif kind in _WANTED:
        wanted, way = _WANTED[kind]
        what, mend = f"{wanted} is wanted here, not {_shown(found)}", example_of(model, path) or way
    elif kind == "too_short":
        what, mend = f"`{name}` is empty", "It needs at least one."
    elif kind in ("greater_than", "finite_number"):
        what, mend = f"{_shown(found)} is no share of anything", "Write a number above 0."
    elif kind in ("greater_than_equal", "less_than_equal"):
        bound = context.get("ge", context.get("le"))
        what = f"{_shown(found)} is too {'small' if 'ge' in context else 'large'}"
        mend = f"Write a number {'from' if 'ge' in context else 'up to'} {bound}."
    else:
        what, mend = error["msg"][:1].lower() + error["msg"][1:], "Correct the value."
    return Problem(source.file, line, dotted(path), what, mend)


_WANTED = {
    "string_type": ("text", "Write a text."),
    "int_type": ("a whole number", "Write digits without quotes, e.g. 50."),
    "float_type": ("a number", "Write digits without quotes, e.g. 50."),
    "bool_type": ("true or false", "Write `true` or `false`, without quotes."),
    "list_type": ("a list", "Start each item with `- `, or write [a, b]."),
    "dict_type": ("a mapping (`key: value`)", "Write `key: value` lines, indented under it."),
    "model_type": ("a mapping (`key: value`)", "Write `key: value` lines, indented under it."),
}


def _shown(value: object) -> str:
    if isinstance(value, bool | int | float):
        return _written(value)
    if isinstance(value, str):
        return f"“{value if len(value) <= 60 else value[:59] + '…'}”"
    return "a list" if isinstance(value, list) else "a mapping"


def _written(value: bool | int | float) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
