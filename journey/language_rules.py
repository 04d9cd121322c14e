"""How files spell the rules that both a campaign and `estafette.yaml` may set: silent hours, frequency caps, shares.

What belongs here: fields of a file's model that read straight into the rules of `campaign` and `steps`.
"""

import re
from datetime import time
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    TypeAdapter,
    WithJsonSchema,
    model_validator,
)

from journey.campaign import SilentHours
from journey.clock import is_zone, zone
from journey.language_basics import spelling
from journey.reading import FileModel, SomeTime, example, wrong, wrong_within, zone_words
from journey.spelling import suggest
from journey.steps import FrequencyCap

CONTACT = "contact"
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]+)?) ?%")


def parse_clock(text: str) -> time | None:
    """`18:00`; None for what is no time of day."""
    found = _CLOCK.fullmatch(text.strip())
    if found is None or int(found[1]) > 23 or int(found[2]) > 59:
        return None
    return time(int(found[1]), int(found[2]))


def parse_weekday(text: str) -> int | None:
    """`mon` to `sun` in any case → 0 to 6; None for what is no weekday."""
    word = text.strip().lower()
    return WEEKDAYS.index(word) if word in WEEKDAYS else None


def _clock(value: object) -> time:
    found = parse_clock(value) if isinstance(value, str) else None
    if found is None:
        shown = f"“{value}” is" if isinstance(value, str | int | float) else "this is"
        mend = 'Write "00:00", where the day begins.' if value == "24:00" else 'Write hours and minutes, e.g. "21:00".'
        raise wrong(f"{shown} no time of day", mend)
    return found


def _weekday(value: object) -> int:
    found = parse_weekday(value) if isinstance(value, str) else None
    if found is None:
        shown = f"“{value}” is" if isinstance(value, str | int | float) else "this is"
        raise wrong(f"{shown} no day of the week", suggest(str(value)[:3], WEEKDAYS, none=""))
    return found


def _share(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        meant = value * 100 if 0 < value < 1 else value
        raise wrong(f"{value} is a number without a percent sign", f"Write {meant:g}%, if that is what is meant.")
    found = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise wrong("a share is written in percent", "Write e.g. 5%.")
    share = float(found[1]) / 100
    if share >= 1:
        raise wrong(f"{found[0]} leaves nobody", "Write less than 100%.")
    return share


#: `5%` → 0.05; from 0% to less than 100%
Share = Annotated[
    float,
    PlainValidator(_share),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,2}(\.[0-9]+)? ?%$", "examples": ["5%"]}),
]
#: `21:00`
ClockTime = Annotated[
    time,
    PlainValidator(_clock),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,2}:[0-9]{2}$", "examples": ["21:00"]}),
]
#: `mon`
Weekday = Annotated[int, PlainValidator(_weekday), WithJsonSchema({"type": "string", "enum": list(WEEKDAYS)})]


def _contact_or_zone(value: str) -> str:
    if value != CONTACT and not is_zone(value):
        try:
            zone(value)
        except ValueError as error:
            what, mend = zone_words(str(error))
            raise wrong(what, f"{mend} Or write {CONTACT}.") from None
    return value


class SilentHoursFile(FileModel):
    """When no message goes out: it is held to the first minute that is allowed."""

    model_config = example({"from": "21:00", "to": "08:00", "days_off": ["sun"], "timezone": "contact"})

    start: ClockTime | None = Field(None, alias="from", description='From this time of day on: "21:00".')
    end: ClockTime | None = Field(None, alias="to", description='Until this time of day, over midnight too: "08:00".')
    days_off: list[Weekday] = Field([], description="Whole days without messages: [sat, sun].")
    timezone: Annotated[str, BeforeValidator(_contact_or_zone)] = Field(
        CONTACT, description="An IANA zone, or contact for each one's own."
    )

    @model_validator(mode="after")
    def _some_hours(self) -> "SilentHoursFile":
        if (self.start is None) != (self.end is None):
            there, missing = ("from", "to") if self.end is None else ("to", "from")
            raise wrong(f"silent hours have `{there}` and no `{missing}`", f"Add `{missing}`, e.g. 08:00.")
        if self.start is None and not self.days_off:
            raise wrong("these silent hours silence nothing", 'Write {from: "21:00", to: "08:00"}, or none.')
        if self.start is not None and self.start == self.end:
            what = f"silent hours begin and end at {self.start:%H:%M}, which could be a whole day or no time at all"
            raise wrong_within((("to",), what, "Write two different times; for whole days use `days_off`."))
        if len(set(self.days_off)) == len(WEEKDAYS):
            raise wrong_within(
                (("days_off",), "with all seven days off no message could ever go out", "Leave one out.")
            )
        return self

    def rule(self) -> SilentHours:
        """What the house knows it as."""
        own = self.timezone == CONTACT
        return SilentHours(
            start=self.start, end=self.end, days_off=frozenset(self.days_off), timezone=None if own else self.timezone
        )


class FrequencyCapFile(FileModel):
    """At most so many templates to a person within a rolling time, over all campaigns."""

    model_config = example({"messages": 2, "per": "7d"})

    messages: int = Field(ge=1, description="How many templates.")
    per: SomeTime = Field(description="Within what time, counted back from each message.")

    def rule(self) -> FrequencyCap:
        """What the house knows it as."""
        return FrequencyCap(messages=self.messages, per=self.per)


_SilentHoursSpelling = Annotated[
    Annotated[Literal["none"], Tag("<text>")] | Annotated[SilentHoursFile, Tag("<mapping>")], Discriminator(spelling)
]
_CapOrIgnore = Annotated[
    Annotated[Literal["ignore"], Tag("<text>")] | Annotated[FrequencyCapFile, Tag("<mapping>")], Discriminator(spelling)
]
_CapOrNone = Annotated[
    Annotated[Literal["none"], Tag("<text>")] | Annotated[FrequencyCapFile, Tag("<mapping>")], Discriminator(spelling)
]


def _reads(spelled: Any, *, none: bool = False) -> PlainValidator:
    """A validator that reads a rule's spelling into the rule itself. Words stay words; with `none` they become None."""
    adapter: TypeAdapter[Any] = TypeAdapter(spelled)

    def read(value: object) -> object:
        found = adapter.validate_python(value)
        if isinstance(found, str):
            return None if none else found
        return found.rule()

    return PlainValidator(read, json_schema_input_type=spelled)


#: `{from: "21:00", to: "08:00", days_off: [sun], timezone: contact}`, or `none`
SilentHoursRule = Annotated[SilentHours | Literal["none"], _reads(_SilentHoursSpelling)]
#: the same in `estafette.yaml`, where `none` is what there is without it
ProjectSilentHours = Annotated[SilentHours | None, _reads(_SilentHoursSpelling, none=True)]
#: `{messages: 2, per: 7d}`, or `ignore`
CapOrIgnore = Annotated[FrequencyCap | Literal["ignore"], _reads(_CapOrIgnore)]
#: in `estafette.yaml`: `{messages: 2, per: 7d}`, or `none`
ProjectCap = Annotated[FrequencyCap | None, _reads(_CapOrNone, none=True)]
