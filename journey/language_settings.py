"""How a campaign file spells its settings.

What belongs here: what `settings:` may say. Rules that `estafette.yaml` may set as well are `language_rules`; what they
become is `campaign`.
"""

import re
from collections import Counter
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Discriminator, Field, PlainValidator, Tag, WithJsonSchema, model_validator

from journey.campaign import CampaignSettings, Goal, ReEntry, StopIf, WhenUnknown
from journey.language_basics import EventFile, spelling
from journey.language_rules import CapOrIgnore, Share, SilentHoursRule
from journey.reading import FileModel, SomeTime, example, wrong, wrong_within

_TIMES = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?x")
_MONEY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([A-Z]{3})")


class ReEntryFile(FileModel):
    """At most so many passages within a rolling time."""

    model_config = example({"times": 1, "per": "30d"})

    times: int = Field(ge=1, description="How many passages.")
    per: SomeTime = Field(description="Within what time, counted from entering.")


class WhenUnknownFile(FileModel):
    """What to do when nobody can say whether a message went out (a broken connection, a crash)."""

    model_config = example({"after": "24h", "then": "assume_sent"})

    after: SomeTime = Field("24h", validate_default=True, description="How long to wait for a status that settles it.")
    then: Literal["assume_sent", "resend", "fail"] = Field("assume_sent", description="What to take it for then.")


class GoalFile(EventFile):
    """An event that counts as success."""

    model_config = example({"event": "purchase", "where": {"amount": {"at_least": 20}}, "within": "30d"})

    within: SomeTime = Field(
        "30d", validate_default=True, description="How long after entering it counts, also after leaving."
    )
    ends_journey: bool = Field(False, description="true: whoever reaches it leaves the campaign.")


def _money(value: object) -> tuple[Decimal, str]:
    if isinstance(value, tuple):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise wrong(f"{value} is an amount without a currency", f"Write e.g. {value} EUR.")
    found = _MONEY.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise wrong("an amount of money is wanted here", "Write a number and a currency's three letters: 200 EUR.")
    return Decimal(found[1]), found[2]


Money = Annotated[
    tuple[Decimal, str],
    PlainValidator(_money),
    WithJsonSchema({"type": "string", "pattern": f"^{_MONEY.pattern}$", "examples": ["200 EUR"]}),
]


def _times(value: object) -> float | None:
    """`10x` as 10.0; `none` as None."""
    if value is None or value == "none" or isinstance(value, float):
        return value if isinstance(value, float) else None
    found = _TIMES.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or float(found[1]) <= 1:
        raise wrong("how many times the usual size is wanted here", "Write a number above 1 and an x: 10x; or none.")
    return float(found[1])


Times = Annotated[
    float | None,
    PlainValidator(_times),
    WithJsonSchema({"type": "string", "pattern": f"^({_TIMES.pattern}|none)$", "examples": ["10x", "none"]}),
]


class StopIfFile(FileModel):
    """What stops the campaign by itself, like `estafette stop`, until someone says `estafette resume`."""

    model_config = example({"audience_above": 50000, "failures_above": "5%", "cost_above": "200 EUR"})

    audience_above: int | None = Field(None, ge=1, description="Before anyone of a larger audience enters.")
    audience_grows: Times = Field(
        StopIf().audience_grows,
        description="Before anyone enters of an audience so many times as large as usual (the median of the last"
        " occurrences), and at least 1,000 people larger; none: however large.",
        json_schema_extra={"default": "10x"},
    )
    failures_above: Share | None = Field(None, description="When more of its messages fail, from 200 attempts on: 5%.")
    cost_above: Money | None = Field(None, description="When its messages cost more, by the rate card: 200 EUR.")

    @model_validator(mode="after")
    def _something(self) -> "StopIfFile":
        if not self.model_fields_set:
            mend = "Write `audience_above`, `audience_grows`, `failures_above` or `cost_above`, or remove it."
            raise wrong("this `stop_if` stops nothing", mend)
        if self.cost_above is not None and self.cost_above[0] == 0:
            raise wrong_within((("cost_above",), "the first message would cost more than that", "Write an amount."))
        return self


class SettingsFile(FileModel):
    """How the campaign behaves."""

    model_config = example({"re_entry": {"times": 1, "per": "30d"}, "control_group": "5%"})

    re_entry: (
        Annotated[
            Annotated[Literal["once", "always"], Tag("<text>")] | Annotated[ReEntryFile, Tag("<mapping>")],
            Discriminator(spelling),
        ]
        | None
    ) = Field(None, description="How often a contact may pass: once, always, or {times: 1, per: 30d}.")
    silent_hours: SilentHoursRule | None = Field(
        None, description="When no message goes out, instead of the project's silent hours; none: at any time."
    )
    frequency_cap: CapOrIgnore | None = Field(
        None, description="Instead of the project's: {messages: 2, per: 7d}; ignore: neither capped nor counted."
    )
    goals: list[GoalFile] = Field([], description="Events that count as success, for the control group too.")
    exit_on: list[EventFile] = Field([], description="Events on which a contact leaves at once.")
    control_group: Share = Field(
        0.0,
        description="The share that enters and gets nothing, to compare with: 5%.",
        json_schema_extra={"default": "0%"},
    )
    stop_if: StopIfFile | None = Field(None, description="What stops the campaign by itself.")
    when_unknown: WhenUnknownFile = Field(
        WhenUnknownFile(), description="What to do when nobody can say whether a message went out."
    )

    def settings(self) -> CampaignSettings:
        """What the house knows it as."""
        re_entry = self.re_entry
        return CampaignSettings(
            re_entry=ReEntry(**dict(re_entry)) if isinstance(re_entry, ReEntryFile) else re_entry,
            silent_hours=self.silent_hours,
            frequency_cap=self.frequency_cap,
            goals=_goals(self.goals),
            exit_on=tuple(one.matched() for one in self.exit_on),
            control_group=self.control_group,
            stop_if=StopIf(**dict(self.stop_if)) if self.stop_if is not None else StopIf(),
            when_unknown=WhenUnknown(**dict(self.when_unknown)),
        )


def _goals(read: list[GoalFile]) -> tuple[Goal, ...]:
    """Goals with their names: the event's, numbered from its second goal on."""
    seen: Counter[str] = Counter()
    goals: list[Goal] = []
    for one in read:
        seen[one.event] += 1
        name = one.event if seen[one.event] == 1 else f"{one.event} {seen[one.event]}"
        goals.append(
            Goal(
                name=name,
                event=one.event,
                where=one.where or {},
                within=one.within,
                ends_journey=one.ends_journey,
            )
        )
    return tuple(goals)
