"""A campaign as the rest of the house knows it: who comes in, by which rules.

What belongs here: the models of entries, settings and the campaign, whole and without a word of YAML in them. Steps and
messages are `steps`; how a file spells all of it is `language`, the way from a file's text to it `campaign_reading`;
whether a campaign can run is `check`.
"""

from collections.abc import Mapping
from datetime import time, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from journey.conditions import Condition
from journey.steps import EventMatch, FrequencyCap, MessageStep, Model, Step, TemplateMessage
from journey.variables import Variable


class When(Model):
    """A schedule: exactly one of `at` (once) and `cron` (again and again), as written; `check` has read both.

    `timezone` is an IANA name, `contact` (each contact's own), or None (the settings'). `fallback` is the zone of
    contacts without one. Times without a zone in `at` and `not_after` are in `timezone`.
    """

    at: str | None = None
    cron: str | None = None
    timezone: str | None = None
    fallback: str | None = None
    if_past: Literal["skip", "now", "next_day"] = "skip"
    late: timedelta = timedelta(hours=2)
    not_after: str | None = None


class AudienceEntry(Model):
    """Enters everyone whom a segment names; without `when` only by `estafette run`."""

    kind: Literal["audience"] = "audience"
    segment: str
    when: When | None = None


class TriggerEntry(Model):
    """An event that matches enters its actor; with `contacts` the people named in that property instead.

    `key`: the property that tells passages of one contact apart. `active_from`, `active_to`: as written, a date
    (`active_to` includes its day) or a date and time, in the settings' zone where none is written. `max_age`: the
    oldest that an event may be when it is taken in.
    """

    kind: Literal["trigger"] = "trigger"
    event: str
    where: Mapping[str, Condition] = {}
    key: str | None = None
    active_from: str | None = None
    active_to: str | None = None
    max_age: timedelta = timedelta(hours=24)
    contacts: str | None = None


class ApiEntry(Model):
    """A request enters the people it names. It must bring exactly these attributes."""

    kind: Literal["api"] = "api"
    attributes: tuple[str, ...] = ()


Entry = Annotated[AudienceEntry | TriggerEntry | ApiEntry, Field(discriminator="kind")]


class ReEntry(Model):
    """At most `times` passages within any `per`, counted from entering."""

    times: int
    per: timedelta


class WhenUnknown(Model):
    """What a message that may or may not have gone out is taken for, and after how long."""

    after: timedelta = timedelta(hours=24)
    then: Literal["assume_sent", "resend", "fail"] = "assume_sent"


class SilentHours(Model):
    """No message goes out from `start` until `end` (civil time; over midnight where `end` is earlier; None both: no
    such hours), nor on `days_off` (0 = Monday, whole local days). `timezone`: an IANA name, or None for the contact's
    own (else the settings')."""

    start: time | None = None
    end: time | None = None
    days_off: frozenset[int] = frozenset()
    timezone: str | None = None


class Goal(EventMatch):
    """An event that counts as success, `within` so long from entering, also after leaving. `name` is unique in the
    campaign: the event's name, numbered from the second on (`purchase`, `purchase 2`)."""

    name: str
    within: timedelta = timedelta(days=30)
    ends_journey: bool = False


class StopIf(Model):
    """What stops the campaign by itself. `audience_grows`: so many times the median of the last audiences, None: never;
    `failures_above` is a share of the attempts (0.05), looked at from 200 on; `cost_above` is (amount, ISO 4217
    currency)."""

    audience_above: int | None = None
    audience_grows: float | None = 10.0
    failures_above: float | None = None
    cost_above: tuple[Decimal, str] | None = None


class CampaignSettings(Model):
    """`re_entry` is None where nothing is written: each entry then has its own default (`entry.re_entry_rule`).
    `silent_hours` and `frequency_cap` None: the settings' of the project. `control_group` is a share (0.05)."""

    re_entry: Literal["once", "always"] | ReEntry | None = None
    silent_hours: SilentHours | Literal["none"] | None = None
    frequency_cap: FrequencyCap | Literal["ignore"] | None = None
    goals: tuple[Goal, ...] = ()
    exit_on: tuple[EventMatch, ...] = ()
    control_group: float = 0.0
    stop_if: StopIf = StopIf()
    when_unknown: WhenUnknown = WhenUnknown()


class Campaign(Model):
    """One campaign file. `version` is 12 hex digits of the file's SHA-256; `file` its path within the project home.
    What a person sends by hand stands under a campaign without a name.

    `steps` keeps the file's order: the first is where everyone starts.
    """

    name: str
    description: str = ""
    sender: str
    draft: bool = False
    entries: tuple[Entry, ...]
    variables: dict[str, Variable] = Field({})
    settings: CampaignSettings = CampaignSettings()
    steps: dict[str, Step]
    version: str
    file: str

    @property
    def first_step(self) -> str:
        """Where everyone starts."""
        return next(iter(self.steps))

    def audiences(self) -> list[tuple[int, AudienceEntry]]:
        """The audience entries, each with its place among the entries, from 0."""
        return [(place, one) for place, one in enumerate(self.entries) if isinstance(one, AudienceEntry)]

    def triggers(self) -> list[tuple[int, TriggerEntry]]:
        """The trigger entries, each with its place among the entries, from 0."""
        return [(place, one) for place, one in enumerate(self.entries) if isinstance(one, TriggerEntry)]

    @property
    def by_hand(self) -> bool:
        """Whether its messages are a person's own, sent from the inbox."""
        return not self.name

    def message_steps(self) -> dict[str, MessageStep]:
        """The steps that send something."""
        return {name: one for name, one in self.steps.items() if isinstance(one, MessageStep)}

    def pools(self) -> list[str]:
        """The coupon pools that its messages take codes from, each once."""
        sent = [step.message for step in self.message_steps().values()]
        found = [one.coupons.pool for one in sent if isinstance(one, TemplateMessage) and one.coupons is not None]
        return list(dict.fromkeys(found))
