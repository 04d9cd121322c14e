"""How a campaign file spells variables.

What belongs here: where a value comes from and how it is written, and what may stand in its place. What it becomes is
`variables`.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from journey.language_basics import Name, one_of, spelling, text_keys
from journey.reading import FileModel, example, wrong
from journey.variables import Variable
from journey.words import Case

MOST_DECIMALS = 10
_SOURCES = ("user", "event", "text")


def _format(value: object) -> object:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value <= MOST_DECIMALS:
            raise wrong(f"a number with {value} decimals", f"Write how many decimals, from 0 to {MOST_DECIMALS}.")
        return value
    if isinstance(value, str) and "%" in value:
        return value
    raise wrong("a format is a number of decimals or a date pattern", 'Write e.g. 2, or "%d/%m à %H:%M".')


class VariableFile(FileModel):
    """Where a value comes from (exactly one of user, event, text) and how it is written."""

    model_config = example({"user": "first_name", "fallback": "cher client"}, {"text": "20 %"}, one_of=_SOURCES)

    user: Name | None = Field(None, description="A property of the contact; also contact_id, phone, locale.")
    event: Name | None = Field(
        None,
        description="A property of what brought the contact in: the event, the request, a column of the segment.",
    )
    text: Name | None = Field(None, description="A constant.")
    case: Literal["CapitalizeFirst", "CapitalizeAllFirst", "UPPERCASE", "lowercase", "regular"] = Field(
        "regular", description="Upper and lower case: of the first word, of every word, of the whole text."
    )
    format: Annotated[int | str, BeforeValidator(_format)] | None = Field(
        None, description='A number of decimals (2) or a date pattern ("%d/%m à %H:%M").'
    )
    timezone: Name | None = Field(None, description="The zone in which a time is written, e.g. Europe/Paris.")
    fallback: Name | None = Field(None, description="Used as written where the value is missing or blank.")

    @model_validator(mode="after")
    def _one_source(self) -> "VariableFile":
        one_of(self, _SOURCES, "a variable", "{user: first_name}")
        return self

    def variable(self) -> Variable:
        """What the house knows it as."""
        case, rest = Case(self.case), (self.format, self.timezone, self.fallback)
        if self.user is not None:
            return Variable("user", self.user, case, *rest)
        if self.event is not None:
            return Variable("event", self.event, case, *rest)
        return Variable("text", self.text or "", case, *rest)


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


TextOrVariable = Annotated[
    Annotated[Name, Tag("<text>")] | Annotated[VariableFile, Tag("<mapping>")], Discriminator(spelling)
]
_Number = Annotated[Name, BeforeValidator(_number_as_text), WithJsonSchema({"type": ["number", "string"]})]
#: a number, a number as text, or a variable
NumberOrVariable = Annotated[
    Annotated[_Number, Tag("<text>")] | Annotated[VariableFile, Tag("<mapping>")], Discriminator(spelling)
]
#: by placeholder; positional ones may be written as numbers
Variables = Annotated[dict[str, VariableFile], BeforeValidator(text_keys)]


def variable(read: str | VariableFile) -> Variable:
    """A constant or a variable, as the house knows it."""
    return Variable("text", read) if isinstance(read, str) else read.variable()


def variables(read: dict[str, VariableFile]) -> dict[str, Variable]:
    """Variables by placeholder, as the house knows them."""
    return {name: one.variable() for name, one in read.items()}
