"""The pieces of which the whole language of campaign files is made.

What belongs here: names, the check that exactly one of several keys stands, keys that may be written as numbers, and
conditions and events as fields of a file's model. What a variable, message, step, entry or setting looks like are rooms
of their own (`language_…`).
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from journey.conditions import Condition, conditions_schema, parse_conditions
from journey.reading import FileModel, example, wrong, wrong_within
from journey.source import Path
from journey.steps import EventMatch


def _not_blank(value: str) -> str:
    if not value.strip():
        raise wrong("this text is blank", "Write something, or remove the line.")
    return value


#: any text that is not blank
Name = Annotated[str, AfterValidator(_not_blank)]


def spelling(value: object) -> str:
    """Tells what is spelled as a mapping from what is a word: for unions of the two."""
    return "<mapping>" if isinstance(value, dict | FileModel) else "<text>"


def text_keys(value: object) -> object:
    """Keys of a mapping that may be written as numbers: `1:` is `"1":`."""
    if not isinstance(value, dict):
        return value
    named = {str(key): one for key, one in value.items()}
    if len(named) < len(value):
        twice = next(str(key) for key in value if isinstance(key, int) and str(key) in value)
        raise wrong(f"`{twice}` is written twice, once as a number and once as text", "Keep one of the two.")
    return named


def written(model: FileModel, keys: tuple[str, ...]) -> list[str]:
    """Those of the keys, as files have them, that stand in the file."""
    attributes = {field.alias or name: name for name, field in type(model).model_fields.items()}
    return [key for key in keys if getattr(model, attributes[key]) is not None]


def one_of(model: FileModel, keys: tuple[str, ...], what: str, sample: str) -> None:
    """Raises where not exactly one of `keys` is set."""
    found = written(model, keys)
    if len(found) > 1:
        listed = " and ".join(f"`{key}`" for key in found)
        raise wrong(f"{what} has {listed}; it can have only one of them", "Keep one of them.")
    if not found:
        listed = ", ".join(f"`{key}`" for key in keys)
        raise wrong(f"{what} has none of {listed}", f"Write one, e.g. {sample}.")


def only_beside(model: FileModel, key: str, owner: str, what: str) -> None:
    """Raises where `key` stands without `owner`, which alone gives it a meaning."""
    if written(model, (key,)) and not written(model, (owner,)):
        raise wrong_within(((key,), f"`{key}` says something of {what} only", f"Remove it, or write `{owner}`."))


def _conditions(value: object) -> Mapping[str, Condition]:
    problems: list[tuple[Path, str, str]] = []
    found = parse_conditions(value, (), lambda path, what, mend: problems.append((path, what, mend)))
    if problems:
        raise wrong_within(*problems)
    return found


#: `{country: FR, amount: {at_least: 20}}`
Conditions = Annotated[Mapping[str, Condition], PlainValidator(_conditions), WithJsonSchema(conditions_schema())]


class EventFile(FileModel):
    """Events of one name, of which `where` may ask more."""

    model_config = example({"event": "purchase", "where": {"amount": {"at_least": 20}}})

    event: Name = Field(description="The event's name.")
    where: Conditions | None = Field(None, description="Conditions on the event's properties; all must hold.")

    def matched(self) -> EventMatch:
        """What the house knows it as."""
        return EventMatch(event=self.event, where=self.where or {})
