"""How a campaign file spells steps.

What belongs here: what splits, experiments and updates say, and which keys of a step exclude each other. A new kind of
step is a new key of `StepFile` and a model of its own. What they become is `steps`; waiting is `language_waits`.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
    model_validator,
)

from journey.conditions import Scalar
from journey.language_basics import Conditions, Name, one_of, spelling, text_keys, written
from journey.language_messages import Message
from journey.language_waits import DelayFile, OnReadFile, OnReplyFile, WaitForFile
from journey.reading import NAME, FileModel, example, wrong, wrong_within
from journey.steps import ELSE, Arm, ExperimentStep, MessageStep, SplitBranch, SplitStep, Step, UpdateStep
from journey.words import END

DEEDS = ("message", "delay", "wait_for", "split", "experiment", "update")
_WAYS_ON = ("next", "on_read", "on_reply")
_OF_MESSAGES = ("on_read", "on_reply", "on_skip", "on_failure")
_QUESTIONS = ("segment", "user", "event")
_NAME_MEND = "Use up to 64 letters a to z, digits, _ and -, starting with a letter or _."
#: Where the steps that follow are named in deeds that branch.
_BRANCHING = {"wait_for": "its branches and `else`", "split": "its branches and `else`", "experiment": "its arms"}


class SplitBranchFile(FileModel):
    """One question about the contact, or about what brought the contact in."""

    model_config = example(
        {"segment": "loyal", "next": "vip"},
        {"user": {"total_spent": {"at_least": 100}}, "next": "vip"},
        {"event": {"amount": {"at_least": 50}}, "next": "more"},
        one_of=_QUESTIONS,
    )

    segment: Name | None = Field(None, description="A file of segments/, without its ending.")
    user: Conditions | None = Field(None, description="Conditions on the contact's properties; all must hold.")
    event: Conditions | None = Field(
        None, description="Conditions on properties of what brought the contact in; all must hold."
    )
    next: Name = Field(description="The step that follows, or end.")

    @model_validator(mode="after")
    def _one_question(self) -> "SplitBranchFile":
        one_of(self, _QUESTIONS, "a branch", "segment: loyal")
        return self

    def branch(self) -> SplitBranch:
        """What the house knows it as."""
        return SplitBranch(**dict(self))


class SplitFile(FileModel):
    """The first branch that matches decides."""

    model_config = example({"branches": [{"segment": "loyal", "next": "vip"}], "else": "end"})

    branches: list[SplitBranchFile] = Field(min_length=1, description="The questions, in their order.")
    otherwise: Name = Field(END, alias="else", description="The step where no branch matches, or end.")

    def split(self) -> SplitStep:
        """What the house knows it as."""
        return SplitStep(branches=tuple(one.branch() for one in self.branches), otherwise=self.otherwise)


class ArmFile(FileModel):
    """One arm of an experiment."""

    model_config = example({"weight": 50, "next": "offer"})

    weight: float = Field(gt=0, allow_inf_nan=False, description="Its share, in proportion to the other weights.")
    next: Name = Field(description="The step that follows, or end.")


def _arm_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise wrong(f"“{name}” cannot name an arm", _NAME_MEND)
    return name


def _set_value(value: object) -> Scalar | None:
    if isinstance(value, float) and not math.isfinite(value):
        raise wrong(f"{value} is no number that a property can hold", "Write another value.")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise wrong("a property holds one value, not a list or mapping", "Write a text, a number, true or false.")


def _tag(value: str) -> str:
    if "|" in value:
        raise wrong(f"“{value}” has a |, which separates tags", "Write two tags, or use another character.")
    return value.strip()


_VALUE_SCHEMA = {"type": ["string", "number", "boolean", "null"]}
_Value = Annotated[Scalar | None, PlainValidator(_set_value), WithJsonSchema(_VALUE_SCHEMA)]
Tags = list[Annotated[Name, AfterValidator(_tag), Field(json_schema_extra={"pattern": r"^[^|]*[^|\s][^|]*$"})]]


class UpdateFile(FileModel):
    """Writes to the contact."""

    model_config = example({"set": {"status": "warm"}, "add_tags": ["autumn"], "remove_tags": ["cold"]})

    set_: Annotated[dict[Name, _Value], BeforeValidator(text_keys)] = Field(
        {}, alias="set", description="Properties with their new values; null clears one."
    )
    add_tags: Tags = Field([], description="Tags that the contact gets.")
    remove_tags: Tags = Field([], description="Tags that the contact loses.")

    @model_validator(mode="after")
    def _something(self) -> "UpdateFile":
        if not (self.set_ or self.add_tags or self.remove_tags):
            raise wrong("this update changes nothing", "Write `set`, `add_tags` or `remove_tags`.")
        both = [tag for tag in self.add_tags if tag in self.remove_tags]
        if both:
            raise wrong(f"the tag `{both[0]}` is added and removed", "Keep one of the two.")
        return self

    def update(self, following: str) -> UpdateStep:
        """What the house knows it as."""
        return UpdateStep(
            set=self.set_, add_tags=tuple(self.add_tags), remove_tags=tuple(self.remove_tags), next=following
        )


def _step_name(name: str) -> str:
    if name == END:
        raise wrong(f"`{END}` is the word for leaving the campaign; no step may bear it", "Give the step another name.")
    if not NAME.fullmatch(name):
        raise wrong(f"“{name}” cannot name a step", _NAME_MEND)
    return name


StepName = Annotated[str, AfterValidator(_step_name)]


class StepFile(FileModel):
    """One step: a message, a delay, a wait, a split, an experiment or an update; and what follows, `end` by default."""

    model_config = example(
        {"message": {"template": "welcome", "language": "fr"}, "next": "pause"},
        {"delay": {"for": "3d"}, "next": "reminder"},
        one_of=DEEDS,
        beside=dict.fromkeys(_OF_MESSAGES, "message"),
        apart=(
            *(("next", deed) for deed in _BRANCHING),
            ("next", "on_read"),
            ("next", "on_reply"),
            ("on_read", "on_reply"),
        ),
    )

    message: Message | None = Field(None, description="Sends a message: a template, or free text.")
    delay: DelayFile | None = Field(None, description="Waits for so long, or until a moment.")
    wait_for: WaitForFile | None = Field(None, description="Waits for an event, an answer, a read or a tap.")
    split: SplitFile | None = Field(None, description="Asks who the contact is, or what brought them in.")
    experiment: Annotated[dict[Annotated[str, AfterValidator(_arm_name)], ArmFile], Field(min_length=1)] | None = Field(
        None,
        description="Draws an arm by its weight; a contact always draws the same.",
        examples=[{"a": {"weight": 50, "next": "offer"}, "b": {"weight": 50, "next": "offer_b"}}],
        json_schema_extra={"propertyNames": {"pattern": f"^{NAME.pattern}$"}},
    )
    update: UpdateFile | None = Field(None, description="Writes properties and tags to the contact.")
    next: Name | None = Field(None, description="The step that follows a message, a delay or an update, or end.")
    on_read: OnReadFile | None = Field(None, description="What follows depends on whether the message was read.")
    on_reply: OnReplyFile | None = Field(None, description="What follows depends on the answer to the message.")
    on_skip: (
        Annotated[
            Annotated[Name, Tag("<text>")] | Annotated[dict[str, Name], Tag("<mapping>")], Discriminator(spelling)
        ]
        | None
    ) = Field(None, description="The step for those whose message was skipped: one for all, or by reason, with else.")
    on_failure: Name | None = Field(
        None, description="The step for those whose message Meta refused or failed; default: end."
    )

    @model_validator(mode="after")
    def _one_deed_and_one_way_on(self) -> "StepFile":
        one_of(self, DEEDS, "a step", "message: {template: welcome, language: fr}")
        one_way = written(self, _WAYS_ON)
        if len(one_way) > 1:
            listed = " and ".join(f"`{key}`" for key in one_way)
            raise wrong(f"a step has {listed}; it can have only one of them", "Keep one of them.")
        if self.message is not None:
            return self
        [deed] = written(self, DEEDS)
        strays = [
            ((key,), f"`{key}` is for messages, and this step has a `{deed}`", "Move it to the step that sends one.")
            for key in written(self, _OF_MESSAGES)
        ]
        if self.next is not None and deed in _BRANCHING:
            mend = f"Name the steps that follow in {_BRANCHING[deed]}."
            strays.append((("next",), f"`next` has no place beside `{deed}`", mend))
        if strays:
            raise wrong_within(*strays)
        return self

    def step(self) -> Step:
        """What the house knows it as."""
        following = self.next or END
        if self.delay is not None:
            return self.delay.delay(following)
        if self.wait_for is not None:
            return self.wait_for.wait_for()
        if self.split is not None:
            return self.split.split()
        if self.experiment is not None:
            return ExperimentStep(arms={name: Arm(**dict(one)) for name, one in self.experiment.items()})
        if self.update is not None:
            return self.update.update(following)
        assert self.message is not None
        on_skip = self.on_skip if isinstance(self.on_skip, Mapping) else {ELSE: self.on_skip or END}
        return MessageStep(
            message=self.message.message(),
            next=self.next,
            on_read=self.on_read.on_read() if self.on_read is not None else None,
            on_reply=self.on_reply.on_reply() if self.on_reply is not None else None,
            on_skip={**on_skip, ELSE: on_skip.get(ELSE, END)},
            on_failure=self.on_failure or END,
        )


#: What the JSON Schema says of the names of steps
STEP_NAMES: dict[str, Any] = {"propertyNames": {"pattern": f"^(?!end$){NAME.pattern}$"}}
