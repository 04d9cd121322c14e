"""How a campaign file spells waiting.

What belongs here: what follows a message (`on_read`, `on_reply`), delays and `wait_for`. What they become is `steps`.
"""

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, PlainValidator, Tag, WithJsonSchema, model_validator

from journey.clock import parse_duration, parse_time
from journey.language_basics import Conditions, Name, one_of, only_beside, spelling, text_keys
from journey.language_rules import parse_clock, parse_weekday
from journey.reading import FileModel, SomeTime, example, wrong, wrong_within
from journey.steps import DelayStep, EventMatch, OnRead, OnReply, Until, WaitBranch, WaitForStep
from journey.words import END

_LENGTHS = ("for", "until")
_WAITED = ("event", "reply_to", "read", "click")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class OnReadFile(FileModel):
    """Waits for the message to be read; a reader moves at once, the others at the deadline."""

    model_config = example({"within": "2d", "read": "thanks", "not_read": "reminder"})

    within: SomeTime = Field(description="How long to wait after Meta accepted the message, at most 7d.")
    read: Name = Field(description="The step for those who read it in time, or end.")
    not_read: Name = Field(description="The step for the others, or end.")
    undelivered: Name | None = Field(None, description="The step for those it never reached; default: as not_read.")
    full_wait: bool = Field(False, description="true: those who read it move at the deadline too.")

    def on_read(self) -> OnRead:
        """What the house knows it as."""
        return OnRead(**dict(self))


class OnReplyFile(FileModel):
    """Waits for an answer to the message, by button or by hand."""

    model_config = example({"within": "24h", "answers": {"Oui": "details", "Non, merci": "end"}, "silence": "reminder"})

    within: SomeTime = Field(description="How long to wait after Meta accepted the message.")
    answers: Annotated[dict[Name, Name], BeforeValidator(text_keys)] = Field(
        {}, description="The step by answer: a quick reply's label or payload, or what people write; case is ignored."
    )
    other: Name = Field(END, description="The step for any other answer, or end.")
    silence: Name = Field(END, description="The step for those who do not answer, or end.")
    full_wait: bool = Field(False, description="true: those who answered move at the deadline too.")

    def on_reply(self) -> OnReply:
        """What the house knows it as."""
        return OnReply(**dict(self))


# -- delay -----------------------------------------------------------------------------------------------------------


def _until(value: object) -> Until:
    if not isinstance(value, str):
        raise wrong("a moment is wanted here", 'Write "18:00", mon 09:00, 2026-12-24 09:00, or {event: …}.')
    text = value.strip()
    clock = parse_clock(text)
    if clock is not None:
        return Until(clock=clock)
    day, _, rest = text.partition(" ")
    weekday, clock = parse_weekday(day), parse_clock(rest)
    if weekday is not None and clock is not None:
        return Until(clock=clock, weekday=weekday)
    if weekday is not None or _DAY.fullmatch(text):
        raise wrong(f"“{text}” has no time of day", f"Write e.g. {day} 09:00.")
    try:
        parse_time(text)
    except ValueError:
        mend = 'Write "18:00", mon 09:00, 2026-12-24 09:00, or a property: {event: appointment_at}.'
        raise wrong(f"“{text}” is no moment that can be waited for", mend) from None
    return Until(at=text)


class UntilFile(FileModel):
    """A moment that stands in a property."""

    model_config = example({"event": "appointment_at"}, {"user": "contract_ends"}, one_of=("event", "user"))

    event: Name | None = Field(None, description="A property of what brought the contact in.")
    user: Name | None = Field(None, description="A property of the contact.")

    @model_validator(mode="after")
    def _one_source(self) -> "UntilFile":
        one_of(self, ("event", "user"), "the property of a moment", "{event: appointment_at}")
        return self


_UntilText = Annotated[
    Until,
    PlainValidator(_until),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^([A-Za-z]{3} )?[0-9]{1,2}:[0-9]{2}$|^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}",
            "examples": ["18:00", "mon 09:00", "2026-12-24 09:00"],
        }
    ),
]


def _shift(value: object) -> timedelta:
    text = str(value).strip()
    sign = -1 if text.startswith("-") else 1
    try:
        return sign * parse_duration(text[1:] if text[:1] in ("-", "+") else text)
    except ValueError:
        what = f"“{value}” is no shift" if isinstance(value, str | int | float) else "this is no shift"
        raise wrong(what, "Write how long before (-24h) or after (2h) the moment.") from None


Shift = Annotated[
    timedelta,
    PlainValidator(_shift),
    WithJsonSchema({"type": "string", "pattern": "^[-+]?[0-9]+ *[a-z]+$", "examples": ["-24h", "2h"]}),
]


class DelayFile(FileModel):
    """Waits for so long, or until a moment."""

    model_config = example(
        {"for": "3d"},
        {"until": {"event": "appointment_at"}, "shift": "-24h"},
        one_of=_LENGTHS,
        beside={"shift": "until"},
    )

    length: SomeTime | None = Field(None, alias="for", description="How long: 3d.")
    until: (
        Annotated[
            Annotated[_UntilText, Tag("<text>")] | Annotated[UntilFile, Tag("<mapping>")], Discriminator(spelling)
        ]
        | None
    ) = Field(
        None,
        description="The next 18:00, the next mon 09:00, or 2026-12-24 09:00, on the contact's clock; or a property"
        " that holds a date: {event: appointment_at}.",
    )
    shift: Shift | None = Field(None, description="So long before (-24h) or after (2h) the date.")
    if_past: Literal["continue", "end"] = Field(
        "continue",
        description="Where the moment was over already: continue goes on while the date itself is ahead, end leaves.",
    )

    @model_validator(mode="after")
    def _one_length(self) -> "DelayFile":
        one_of(self, _LENGTHS, "a delay", "{for: 3d}")
        clock = isinstance(self.until, Until) and self.until.clock is not None
        if self.shift is not None and (self.until is None or clock):
            mend = "Write the shifted time itself." if clock else "Add the two up, or write `until`."
            raise wrong_within((("shift",), "`shift` is for dates, as in until: {event: appointment_at}", mend))
        return self

    def delay(self, following: str) -> DelayStep:
        """What the house knows it as."""
        until = self.until
        if isinstance(until, UntilFile):
            until = Until(event=until.event, user=until.user)
        shift = self.shift if self.shift is not None else timedelta(0)
        return DelayStep(length=self.length, until=until, shift=shift, if_past=self.if_past, next=following)


# -- wait_for --------------------------------------------------------------------------------------------------------


def _texts(value: object) -> object:
    return [value] if isinstance(value, str) else value


#: `[Oui, Yes]`, or `Oui`
_ListOrText = BeforeValidator(_texts, json_schema_input_type=Annotated[list[Name], Field(min_length=1)] | Name)


def _button(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise wrong("a button's label or position is wanted here", "Write e.g. Acheter, or 0 for the first.")
    return value


class WaitBranchFile(FileModel):
    """One thing that is waited for: an event, an answer, a read, or a tap on a counted link."""

    model_config = example(
        {"event": "purchase", "where": {"amount": {"at_least": 20}}, "next": "thanks"},
        {"reply_to": "offer", "is": ["Oui"], "next": "details"},
        {"read": "offer", "next": "more"},
        {"click": "offer", "button": "Acheter", "next": "more"},
        one_of=_WAITED,
        beside={"where": "event", "is": "reply_to", "button": "click"},
    )

    event: Name | None = Field(None, description="The name of an event that the contact does.")
    where: Conditions | None = Field(None, description="Conditions on the event's properties; all must hold.")
    reply_to: Name | None = Field(None, description="The step whose message is answered.")
    answers: Annotated[list[Name], Field(min_length=1), _ListOrText] | None = Field(
        None, alias="is", description="What counts as the answer: [Oui, Yes]; without it, any answer."
    )
    read: Name | None = Field(None, description="The step whose message is read.")
    click: Name | None = Field(None, description="The step whose counted link is tapped.")
    button: Annotated[Name | int, BeforeValidator(_button)] | None = Field(
        None, description="The button's label or position from 0; without it, any."
    )
    next: Name = Field(description="The step that follows, or end.")

    @model_validator(mode="after")
    def _one_thing(self) -> "WaitBranchFile":
        one_of(self, _WAITED, "a branch", "event: purchase")
        only_beside(self, "where", "event", "an event")
        only_beside(self, "is", "reply_to", "an answer")
        only_beside(self, "button", "click", "a tap")
        return self

    def branch(self) -> WaitBranch:
        """What the house knows it as."""
        if self.event is not None:
            return WaitBranch(kind="event", match=EventMatch(event=self.event, where=self.where or {}), next=self.next)
        if self.reply_to is not None:
            return WaitBranch(kind="reply", step=self.reply_to, answers=tuple(self.answers or ()), next=self.next)
        if self.read is not None:
            return WaitBranch(kind="read", step=self.read, next=self.next)
        return WaitBranch(kind="click", step=self.click, button=self.button, next=self.next)


class WaitForFile(FileModel):
    """Waits for the earliest of several things; those for whom none comes move at the deadline."""

    model_config = example(
        {"within": "14d", "branches": [{"event": "purchase", "next": "thanks"}], "else": "last_call"}
    )

    within: SomeTime = Field(description="How long to wait from arriving at this step, at most 90d.")
    branches: list[WaitBranchFile] = Field(min_length=1, description="What is waited for; the earliest in time wins.")
    otherwise: Name = Field(END, alias="else", description="The step for those for whom nothing came, or end.")
    full_wait: bool = Field(False, description="true: everyone moves at the deadline.")

    def wait_for(self) -> WaitForStep:
        """What the house knows it as."""
        return WaitForStep(
            within=self.within,
            branches=tuple(one.branch() for one in self.branches),
            otherwise=self.otherwise,
            full_wait=self.full_wait,
        )
