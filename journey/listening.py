"""Listening: what people inside, or who were inside, wait for among the events that come in.

What belongs here: the rules of campaigns that events meet (`exit_on`, goals, the event branches of `wait_for`) and what
follows from events that meet them, frame in, frame out. Which events meet a rule's conditions is `resources.matching`;
reading and writing is `pipelines.signals`.

The rules (spec §3.4) as they are read here:

- `exit_on` counts from `since` (the triggering event's own time, else entering), goals from entering, `wait_for` from
  the arrival at its step; ends included. The event that brought a passage in never counts for it.
- Goals count for the control group and after leaving too; one a passage and goal, the earliest event.
- A passage with a key is met only by events that carry the same property with the same text.
- Of an `exit_on` and a goal that ends the journey the earlier event says why a passage ended; one event that is both,
  the goal. Who leaves is met by nothing.
"""

from collections.abc import Iterable
from datetime import timedelta

import polars as pl

from journey.campaign import Campaign
from journey.conditions import Condition
from journey.steps import EventMatch, WaitForStep
from journey.words import LeaveReason, ParticipantState

EXIT, GOAL, MET = "exit_on", "goal", "wait_for"

RULES = {
    "rule": pl.Int64,  # its place in the list of rules
    "campaign": pl.String,
    "kind": pl.String,  # EXIT, GOAL, MET
    "within": pl.Int64,  # microseconds; null: without end
    "ends": pl.Boolean,  # whether it ends the passage
    "goal": pl.String,
    "rule_step": pl.String,  # of a wait_for
    "branch": pl.Int64,  # of a wait_for, from 1
}
MATCHES = {"rule": pl.Int64, "event_id": pl.String, "contact_id": pl.String, "happened_at": pl.Int64}
"""Events that meet a rule's conditions. `happened_at`: in microseconds, never after it was taken in."""

PEOPLE = {
    "participant_id": pl.Int64,
    "campaign": pl.String,
    "contact_id": pl.String,
    "key_name": pl.String,
    "key": pl.String,
    "occurrence": pl.String,
    "entered_at": pl.Int64,
    "since": pl.Int64,
    "arrived_at": pl.Int64,
    "step": pl.String,
    "visit": pl.Int64,
    "state": pl.String,
    "left": pl.Boolean,
}
"""Passages of the contacts concerned, those that are over too."""

KEYS = {"event_id": pl.String, "key_name": pl.String, "key": pl.String}
"""The text that an event carries in a property."""


class Rules:
    """The rules of some campaigns: `frame` (RULES), and what each of them asks of an event. `waits`: those of
    `wait_for` only."""

    def __init__(self, campaigns: Iterable[Campaign], *, waits: bool = False) -> None:
        found: list[tuple[EventMatch, tuple[object, ...]]] = []
        for campaign in campaigns:
            name, settings = campaign.name, campaign.settings
            if not waits:
                found += [(one, (name, EXIT, None, True, None, None, None)) for one in settings.exit_on]
                found += [
                    (one, (name, GOAL, _us(one.within), one.ends_journey, one.name, None, None))
                    for one in settings.goals
                ]
            for at, step in campaign.steps.items():
                if isinstance(step, WaitForStep):
                    found += [
                        (branch.match, (name, MET, _us(step.within), False, None, at, number))
                        for number, branch in enumerate(step.branches, 1)
                        if branch.match is not None
                    ]
        self.matches = [match for match, _ in found]
        self.frame = pl.DataFrame([(place, *row) for place, (_, row) in enumerate(found)], schema=RULES, orient="row")

    @property
    def longest(self) -> int:
        """The longest time in which a goal counts, in microseconds; 0 without goals."""
        longest = self.frame.filter(kind=GOAL).get_column("within").max()
        return longest if isinstance(longest, int) else 0

    def names(self) -> set[str]:
        """The names of the events that any rule asks for."""
        return {match.event for match in self.matches}

    def of_event(self, name: str) -> dict[int, dict[str, Condition]]:
        """The rules that ask for an event: each rule's place, and its conditions."""
        return {place: dict(match.where) for place, match in enumerate(self.matches) if match.event == name}


def meet(rules: pl.DataFrame, matches: pl.DataFrame, people: pl.DataFrame) -> pl.DataFrame:
    """Which events concern which passages by time and place (RULES, MATCHES, PEOPLE → their columns); the key of a
    passage is still to be compared (`of_same_key`)."""
    start = pl.when(kind=EXIT).then("since").when(kind=GOAL).then("entered_at").otherwise("arrived_at")
    in_time = (pl.col("happened_at") >= start) & (pl.col("happened_at") <= start + pl.col("within")).fill_null(True)
    there = (pl.col("kind") != MET) | (pl.col("step") == pl.col("rule_step"))
    return (
        matches.join(rules, on="rule")
        .join(people, on=["campaign", "contact_id"])
        .filter(
            in_time,
            there.fill_null(True),
            pl.col("event_id") != pl.col("occurrence"),
            ~pl.col("left") | (pl.col("kind") == GOAL),
        )
    )


def of_same_key(met: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """Rows of `meet` whose passage has no key, or whose event carries the same (KEYS)."""
    keyed = pl.col("key_name").is_not_null()
    return pl.concat(
        [
            met.filter(~keyed),
            met.filter(keyed).join(keys, on=["event_id", "key_name", "key"], how="semi"),
        ]
    )


def leaving(met: pl.DataFrame) -> pl.DataFrame:
    """Who leaves, and why: `participant_id`, `reason`."""
    return (
        met.filter(pl.col("ends"), ~pl.col("left"))
        .sort("happened_at", "event_id", pl.col("kind") == EXIT)
        .unique("participant_id", keep="first", maintain_order=True)
        .select(
            "participant_id",
            reason=pl.when(kind=EXIT).then(pl.lit(LeaveReason.exit_on.value)).otherwise(pl.lit(LeaveReason.goal.value)),
        )
    )


def reached(met: pl.DataFrame) -> pl.DataFrame:
    """Goals reached: `campaign`, `goal`, `participant_id`, `contact_id`, `arm`, `event_id`, `happened_at`."""
    control = pl.col("state") == ParticipantState.control.value
    return _earliest(met.filter(kind=GOAL), "participant_id", "goal").select(
        "campaign",
        "goal",
        "participant_id",
        "contact_id",
        arm=pl.when(control).then(pl.lit("control")).otherwise(pl.lit("treated")),
        event_id="event_id",
        happened_at="happened_at",
    )


def branches_met(met: pl.DataFrame) -> pl.DataFrame:
    """Branches of `wait_for` that are met, by who stays: `participant_id`, `step`, `visit`, `branch`, `event_id`,
    `happened_at`."""
    staying = met.filter(kind=MET).join(leaving(met), on="participant_id", how="anti")
    found = _earliest(staying, "participant_id", "branch")
    return found.select("participant_id", "step", "visit", "branch", "event_id", "happened_at")


def _earliest(met: pl.DataFrame, *by: str) -> pl.DataFrame:
    return met.sort("happened_at", "event_id").unique(by, keep="first", maintain_order=True)


def _us(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
