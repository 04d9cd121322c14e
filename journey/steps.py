"""The steps of a campaign and the messages that they send, as the rest of the house knows them.

What belongs here: one model a kind of step, each with `ways()`: every way out of it. How a file spells them is
`language_steps`; who takes which way is `cohort`.
"""

from collections.abc import Iterator, Mapping
from datetime import time, timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from journey.conditions import Condition, Scalar
from journey.variables import Variable
from journey.words import END, Branch

ELSE = "else"  # the key of on_skip that takes every other reason

#: (its key in the step, the branch's name, target, whether anything is waited for on it). A text in the last place is
#: the name of a message step: the way waits only in a loop that leads through that step again, and so needs news of it.
Way = tuple[tuple[str | int, ...], str, str, bool | str]


class Model(BaseModel):
    """The base of everything a campaign file becomes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EventMatch(Model):
    """Events of one name whose properties meet every condition."""

    event: str
    where: Mapping[str, Condition] = {}


class FrequencyCap(Model):
    """At most `messages` templates to a contact within any `per`, over all campaigns."""

    messages: int
    per: timedelta


# -- messages --------------------------------------------------------------------------------------------------------


class LanguageByContact(Model):
    """The language is the contact's property `user`; `fallback` where that is missing or not approved."""

    user: str
    fallback: str | None = None


class Location(Model):
    """What fills a location header. All four are needed; latitude and longitude are decimal degrees."""

    latitude: Variable
    longitude: Variable
    name: Variable
    address: Variable


class Header(Model):
    """What fills the template's header. `value` is None for a location only; `filename` is for documents only."""

    kind: Literal["image", "video", "document", "text", "location"]
    value: Variable | None = None
    filename: Variable | None = None
    location: Location | None = None


class Link(Model):
    """A counted link: the button's URL takes a code, and the code leads to `url`, a text with {name} placeholders
    that `variables` (and the campaign's shared ones) fill, percent-encoded."""

    url: str
    variables: dict[str, Variable] = {}


class Coupons(Model):
    """One code of `pool` fills {{voucher}} wherever the template has it, and the copy-code button. Whoever's message
    Meta accepts gets `tag`."""

    pool: str
    tag: str | None = None


class TemplateMessage(Model):
    """A message from a template. `variables` by placeholder; `buttons` by label (text) or position from 0 (int).

    `frequency_cap` None: the campaign's, else the settings'.
    """

    kind: Literal["template"] = "template"
    template: str
    language: str | LanguageByContact
    header: Header | None = None
    variables: dict[str, Variable] = {}
    buttons: dict[str | int, Variable | Link] = {}
    coupons: Coupons | None = None
    expires: timedelta = timedelta(hours=24)
    frequency_cap: FrequencyCap | Literal["ignore"] | None = None


class TextMessage(Model):
    """Free text, inside the 24 h customer service window only. `text` has {name} placeholders that `variables` (and
    the campaign's shared ones) fill; `{{` and `}}` are literal braces."""

    kind: Literal["text"] = "text"
    text: str
    variables: dict[str, Variable] = {}
    expires: timedelta = timedelta(hours=24)


# -- steps -----------------------------------------------------------------------------------------------------------


class OnRead(Model):
    """Waits up to `within` for a read. `undelivered` None: those go where `not_read` goes.

    With `full_wait` those who read it move at the deadline too.
    """

    within: timedelta
    read: str
    not_read: str
    undelivered: str | None = None
    full_wait: bool = False


class OnReply(Model):
    """Waits up to `within` for an answer. `answers` by what is compared (`journey.answers`); `other` for any other
    answer, `silence` for none. With `full_wait` those who answered move at the deadline too."""

    within: timedelta
    answers: dict[str, str] = {}
    other: str = END
    silence: str = END
    full_wait: bool = False


class MessageStep(Model):
    """Sends a message. At most one of `next`, `on_read`, `on_reply`; none means `end`. `on_skip` always has `else`."""

    kind: Literal["message"] = "message"
    message: Annotated[TemplateMessage | TextMessage, Field(discriminator="kind")]
    next: str | None = None
    on_read: OnRead | None = None
    on_reply: OnReply | None = None
    on_skip: dict[str, str] = {ELSE: END}
    on_failure: str = END

    def ways(self) -> Iterator[Way]:
        """Every way out."""
        if self.on_read is not None:
            yield ("on_read", "read"), Branch.read, self.on_read.read, True
            yield ("on_read", "not_read"), Branch.not_read, self.on_read.not_read, True
            if self.on_read.undelivered is not None:
                yield ("on_read", "undelivered"), Branch.undelivered, self.on_read.undelivered, True
        elif self.on_reply is not None:
            for answer, target in self.on_reply.answers.items():
                yield ("on_reply", "answers", answer), answer, target, True
            yield ("on_reply", "other"), Branch.other, self.on_reply.other, True
            yield ("on_reply", "silence"), Branch.silence, self.on_reply.silence, True
        else:
            yield ("next",), Branch.next, self.next or END, False
        for reason, target in self.on_skip.items():
            yield ("on_skip", reason), Branch.on_skip, target, False
        yield ("on_failure",), Branch.on_failure, self.on_failure, False


class Until(Model):
    """A moment: exactly one of the four forms is set.

    `clock` (with `weekday` 0 = Monday, or on any day): the next such civil time of the contact, strictly later than the
    arrival. `at`: a date and time as written (without a zone: the contact's). `event`, `user`: a property that holds a
    date or a time.
    """

    clock: time | None = None
    weekday: int | None = None
    at: str | None = None
    event: str | None = None
    user: str | None = None


class DelayStep(Model):
    """Waits for so long (`length`), or until a moment, `shift` (may be negative) away from it.

    Where the moment was over on arrival: `continue` goes on at once while the date itself (without the shift) is ahead,
    else the passage ends (`date_past`); `end` ends it. A missing or unreadable date ends it (`no_date`).
    """

    kind: Literal["delay"] = "delay"
    length: timedelta | None = None
    until: Until | None = None
    shift: timedelta = timedelta(0)
    if_past: Literal["continue", "end"] = "continue"
    next: str = END

    def ways(self) -> Iterator[Way]:
        """Every way out. In the days between a shifted date and the date itself nobody waits."""
        dated = self.until is not None and self.until.clock is None
        restless = dated and self.if_past == "continue" and self.shift < timedelta(0)
        yield ("next",), Branch.next, self.next, not restless


class WaitBranch(Model):
    """One thing that is waited for. `kind` event: `match`. reply: an answer to the message of `step`, one of `answers`
    (empty: any). read: that message is read. click: a counted link of it is tapped, that of `button` (label, position
    from 0, or None: any)."""

    kind: Literal["event", "reply", "read", "click"]
    match: EventMatch | None = None
    step: str | None = None
    answers: tuple[str, ...] = ()
    button: str | int | None = None
    next: str


class WaitForStep(Model):
    """Waits up to `within` from arrival for the earliest of its branches; `otherwise` (`else` in the file) at the
    deadline. With `full_wait` everyone moves at the deadline."""

    kind: Literal["wait_for"] = "wait_for"
    within: timedelta
    branches: tuple[WaitBranch, ...]
    otherwise: str = END
    full_wait: bool = False

    def ways(self) -> Iterator[Way]:
        """Every way out; branches are named by their number from 1."""
        for number, branch in enumerate(self.branches, 1):
            waits = True if self.full_wait or branch.step is None else branch.step
            yield ("wait_for", "branches", number - 1, "next"), str(number), branch.next, waits
        yield ("wait_for", "else"), Branch.otherwise, self.otherwise, True


class SplitBranch(Model):
    """One question: `segment`, or conditions on the contact's properties (`user`), or on what brought the contact in
    (`event`)."""

    segment: str | None = None
    user: Mapping[str, Condition] | None = None
    event: Mapping[str, Condition] | None = None
    next: str


class SplitStep(Model):
    """The first branch that matches; `otherwise` (`else` in the file) where none does."""

    kind: Literal["split"] = "split"
    branches: tuple[SplitBranch, ...]
    otherwise: str = END

    def ways(self) -> Iterator[Way]:
        """Every way out; branches are named by their number from 1."""
        for number, branch in enumerate(self.branches, 1):
            yield ("split", "branches", number - 1, "next"), str(number), branch.next, False
        yield ("split", "else"), Branch.otherwise, self.otherwise, False


class Arm(Model):
    """One arm of an experiment; shares are by weight."""

    weight: float
    next: str


class ExperimentStep(Model):
    """Draws an arm, stable by (campaign, step, contact)."""

    kind: Literal["experiment"] = "experiment"
    arms: dict[str, Arm]

    def ways(self) -> Iterator[Way]:
        """Every way out, by the arm's name."""
        for name, arm in self.arms.items():
            yield ("experiment", name, "next"), name, arm.next, False


class UpdateStep(Model):
    """Writes to the contact: `set` properties (None clears), then `remove_tags`, then `add_tags`."""

    kind: Literal["update"] = "update"
    set: dict[str, Scalar | None] = {}
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    next: str = END

    def ways(self) -> Iterator[Way]:
        """Every way out."""
        yield ("next",), Branch.next, self.next, False


Step = Annotated[
    MessageStep | DelayStep | WaitForStep | SplitStep | ExperimentStep | UpdateStep, Field(discriminator="kind")
]
