"""Standing: who is due at which step, and what a decision must know of them.

What belongs here: reading, as one frame a step, the people due and the facts that their step's kind asks for
(`journey.cohort.facts`). What follows from them is `journey.cohort`; writing it is `moving`.

A statement reads the people of one step only, by the index of who is due; pages bound the memory of a pass over many.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import polars as pl

from journey.campaign import Campaign
from journey.clock import from_us
from journey.cohort import PEOPLE, facts
from journey.cohort_delay import moments, needs_zone
from journey.cohort_split import first_match
from journey.cohort_wait_for import first_met
from journey.conditions import Clock
from journey.steps import DelayStep, MessageStep, SplitBranch, SplitStep, WaitForStep
from pipelines.happened import happened
from resources.home import Home
from resources.ledger import US
from resources.matching import key_texts, matching_each, meeting

UNKNOWN_WALL = 60
"""Seconds (wall) that a message stays unknown at least, however the clock is turned: its status may be on the way."""

_AT_STEP = "p.left_at IS NULL AND p.campaign = :campaign AND p.wake_at <= :now AND p.step = :step"
# By their ids, and by no index on campaigns: that has everyone else who is due there too.
DUE = (
    "p.id IN (SELECT value FROM json_each(:people)) AND p.left_at IS NULL"
    " AND +p.campaign = :campaign AND +p.wake_at <= :now AND p.step = :step"
)
_STEPS_SQL = (
    "SELECT step FROM participant WHERE left_at IS NULL AND campaign = :campaign AND wake_at <= :now GROUP BY 1"
)
_IDS_SQL = f"SELECT p.id FROM participant p WHERE {_AT_STEP} ORDER BY 1"
_PEOPLE_SQL = f"SELECT p.id, p.contact_id, p.visit, p.arrived_at FROM participant p WHERE {DUE}"
_ATTRIBUTES_SQL = f"SELECT p.id, p.contact_id, p.visit, p.arrived_at, p.attributes FROM participant p WHERE {DUE}"

#: Of the copies of a message that stayed unknown the one that is known to have arrived counts, else the newest that was
#: not taken back.
COPY = """SELECT {column} FROM message c WHERE c.participant_id = {p}.id AND c.step = {p}.step AND c.visit = {p}.visit
  ORDER BY c.state IN ('accepted', 'sent', 'delivered', 'read') DESC, c.state = 'cancelled', c.copy DESC
  LIMIT 1"""
_OF_COPIES = """(SELECT {value} FROM message c
  WHERE c.participant_id = p.id AND c.step = p.step AND c.visit = p.visit)"""
_NO_ANSWER = "NULL, NULL, NULL"
_ANSWER_SQL = """LEFT JOIN reply r ON r.id = (
  SELECT a.id FROM message c JOIN reply a ON a.message_id = c.id AND a.kind <> 'reaction'
  WHERE c.participant_id = p.id AND c.step = p.step AND c.visit = p.visit ORDER BY a.replied_at, a.id LIMIT 1)"""
# What was taken as sent after a restore is as if Meta had accepted it, whatever the campaign makes of unknown messages.
_MESSAGES_SQL = f"""
SELECT p.id, p.contact_id, p.visit, p.arrived_at,
  CASE WHEN m.state = 'unknown' AND m.held_why = 'restored' THEN 'accepted' ELSE m.state END,
  COALESCE(m.attempted_wall <= :wall, 1), s.reason,
  CASE WHEN m.copy > 1 THEN {_OF_COPIES.format(value="max(c.attempted_at)")} ELSE m.attempted_at END,
  m.accepted_at, m.delivered_at, m.read_at, m.failed_at, {{answer}}
FROM participant p
LEFT JOIN message m ON m.id = ({COPY.format(column="c.id", p="p")})
LEFT JOIN skip s ON s.participant_id = p.id AND s.step = p.step AND s.visit = p.visit
{{join}}
WHERE {DUE} AND (m.id IS NOT NULL OR s.id IS NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class Due:
    """Some of the people due at one step of a campaign. `now` in microseconds since 1970; `people`: their ids, as a
    JSON list."""

    campaign: Campaign
    step: str
    now: int
    people: str

    def params(self) -> dict[str, Any]:
        """What DUE asks for."""
        return {"campaign": self.campaign.name, "step": self.step, "now": self.now, "people": self.people}


def due(
    home: Home, campaign: Campaign, now: int, only: Container[str] | None = None, *, together: int
) -> Iterator[Due]:
    """Everyone due in a campaign (at some steps `only`), step by step, so many people `together`. Whoever moves
    meanwhile comes up once more where their new step is still to come."""
    asked = {"campaign": campaign.name, "now": now}
    steps = home.ledger.frame(_STEPS_SQL, {"step": pl.String}, asked).to_series().to_list()
    for step in steps:
        if only is not None and step not in only:
            continue
        ids = home.ledger.frame(_IDS_SQL, {"id": pl.Int64}, {**asked, "step": step}).to_series()
        for start in range(0, ids.len(), together):
            page = ids[start : start + together]
            yield Due(campaign, step, now, msgspec.json.encode(page.to_list()).decode())


def standing(home: Home, one: Due) -> pl.DataFrame:
    """The people due, with what their decision needs (`cohort.facts`). SegmentError: a split's segment fails."""
    step = one.campaign.steps.get(one.step)
    match step:
        case MessageStep():
            return _at_message(home, one, step)
        case DelayStep():
            return _at_delay(home, one, step)
        case WaitForStep():
            return first_met(_people(home, one), happened(home, one.campaign, step, DUE, one.params()))
        case SplitStep():
            return _at_split(home, one, step)
        case _:
            return _people(home, one)


def _at_message(home: Home, one: Due, step: MessageStep) -> pl.DataFrame:
    query = _MESSAGES_SQL.format(answer=_NO_ANSWER, join="")
    if step.on_reply is not None:
        query = _MESSAGES_SQL.format(answer="r.replied_at, r.payload, r.text", join=_ANSWER_SQL)
    wall = int((home.ledger.wall() - UNKNOWN_WALL) * US)
    return home.ledger.frame(query, facts(step), {**one.params(), "wall": wall})


def _at_delay(home: Home, one: Due, step: DelayStep) -> pl.DataFrame:
    until = step.until
    people = _with_attributes(home, one) if until is not None and until.event is not None else _people(home, one)
    columns = {"timezone"} if needs_zone(until) else set()
    own = _own(home, until.user) if until is not None and until.user is not None else None
    if own is not None:
        columns.add(own)
    if columns:
        people = _with_contacts(home, people, columns)
    if until is not None and until.event is not None:
        people = people.with_columns(key_texts(people.rename({"attributes": "properties"}), until.event).alias("value"))
    elif until is not None and until.user is not None:
        people = people.with_columns(
            pl.lit(None, pl.String).alias("value") if own is None else pl.col(own).alias("value")
        )
    return moments(step, people, home.project.settings.timezone).select(list(facts(step)))


def _at_split(home: Home, one: Due, step: SplitStep) -> pl.DataFrame:
    people = _with_attributes(home, one)
    names = {name for branch in step.branches for name in branch.user or ()}
    kinds = home.contacts.kinds()
    columns = {own for name in names if (own := _own(home, name)) is not None and own in kinds}
    contacts = _with_contacts(home, people.select("contact_id"), columns - {"contact_id"}) if columns else people
    if "opted_in" in contacts.columns:
        default = home.project.settings.consent.default == "opted_in"
        contacts = contacts.with_columns(pl.col("opted_in").fill_null(default))
    clock = Clock(from_us(one.now), ZoneInfo(home.project.settings.timezone))
    events = people.select(properties="attributes")
    answers = [
        _answer(home, branch, people, contacts, events, {own: kinds[own] for own in columns}, clock)
        for branch in step.branches
    ]
    return first_match(people.drop("attributes"), answers)


def _answer(
    home: Home,
    branch: SplitBranch,
    people: pl.DataFrame,
    contacts: pl.DataFrame,
    events: pl.DataFrame,
    kinds: dict[str, Any],
    clock: Clock,
) -> pl.Series:
    if branch.segment is not None:
        return people.get_column("contact_id").is_in(home.members(branch.segment, clock.now).implode())
    if branch.user is not None:
        return meeting(contacts, branch.user, kinds, clock)
    return matching_each(events, [branch.event or {}], clock)[0]


def _own(home: Home, name: str) -> str | None:
    """A column of contacts as it is spelled there; None where there is no such."""
    return next((own for own in home.contacts.columns() if own.casefold() == name.casefold()), None)


def _with_contacts(home: Home, people: pl.DataFrame, columns: set[str]) -> pl.DataFrame:
    """`people` with columns of their contacts; null for who is no contact any more."""
    wanted = [name for name in sorted(columns) if name != "contact_id"]
    contacts = home.contacts.frame(["contact_id", *wanted], people.get_column("contact_id"))
    return people.join(contacts, on="contact_id", how="left", maintain_order="left")


def _people(home: Home, one: Due) -> pl.DataFrame:
    return home.ledger.frame(_PEOPLE_SQL, PEOPLE, one.params())


def _with_attributes(home: Home, one: Due) -> pl.DataFrame:
    return home.ledger.frame(_ATTRIBUTES_SQL, {**PEOPLE, "attributes": pl.String}, one.params())
