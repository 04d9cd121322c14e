"""Segments that fail while somebody waits for them.

What belongs here: finding them, for `status`, `tick` and `doctor`. A pass leaves alone what a failing segment holds up,
and the next one looks again; without a word here the audience would just not come. A segment that nobody waits for is
not evaluated: over a million contacts that takes time, and `check` looks at its columns.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from journey.campaign import Campaign
from journey.clock import to_us
from journey.problems import SegmentError
from journey.steps import SplitStep
from resources.doing import evaluated_now
from resources.home import Home
from resources.tables import occurrence, participant, request

MOST_SECONDS = 20.0
"""So long a segment is evaluated here; a pass gives it 300, for which nobody who looks would wait."""


def failing(home: Home, campaign: Campaign) -> list[dict[str, Any]]:
    """The campaign's failing segments: {segment, message (with file:line), mend, held_up (what waits, in words)}."""
    held_up: dict[str, list[str]] = {}
    at_work = evaluated_now(home.ledger.leases())
    for segment, what in _wanted(home, campaign):
        held_up.setdefault(segment, []).append(what)
    found = []
    for segment, waits in held_up.items():
        if at_work is not None and at_work.segment == segment:
            continue  # a pass is at it, and nobody knows yet
        error = _error(home, segment)
        if error is not None:
            message = f"{error.where}: {error.message}" if error.where else error.message
            mend = error.mend or "Correct the query"
            found.append({"segment": segment, "message": message, "mend": mend, "held_up": ", ".join(waits)})
    return found


def told(one: Mapping[str, Any]) -> str:
    """A failing segment as a sentence."""
    return f"{one['held_up']} held up: {one['message']}. {one['mend']}."


def _wanted(home: Home, campaign: Campaign) -> Iterator[tuple[str, str]]:
    """(segment, what waits for it): audiences and requests that are due and not evaluated, people at a split."""
    audiences = dict(campaign.audiences())
    splits = {name: step for name, step in campaign.steps.items() if isinstance(step, SplitStep)}
    with home.ledger.read() as tx:
        due = tx.execute(
            sa.select(occurrence.c.entry, occurrence.c.name).where(
                occurrence.c.campaign == campaign.name,
                occurrence.c.done_at.is_(None),
                occurrence.c.audience_file.is_(None),
                occurrence.c.evaluate_at <= to_us(home.clock()),
            )
        ).all()
        asked = tx.execute(
            sa.select(request.c.uuid, request.c.people).where(
                request.c.campaign == campaign.name,
                request.c.kind == "segment",
                request.c.done_at.is_(None),
                request.c.audience_file.is_(None),
            )
        ).all()
        standing: list[tuple[str, int]] = []
        if splits:
            rows = tx.execute(
                sa.select(participant.c.step, sa.func.count())
                .where(
                    participant.c.campaign == campaign.name,
                    participant.c.left_at.is_(None),
                    participant.c.step.in_(list(splits)),
                )
                .group_by(participant.c.step)
            ).all()
            standing = [(str(row[0]), int(row[1])) for row in rows]
    for row in due:
        if row.entry in audiences:
            yield audiences[row.entry].segment, f"the audience of {row.name}"
    for row in asked:
        yield msgspec.json.decode(row.people)[0], f"the request {row.uuid}"
    for step, people in standing:
        text = f"{people:,} {'person' if people == 1 else 'people'} at the split {step}"
        for segment in dict.fromkeys(one.segment for one in splits[step].branches if one.segment is not None):
            yield segment, text


def _error(home: Home, segment: str) -> SegmentError | None:
    if segment not in home.project.segments:  # what asks for it is refused by the next pass
        return None
    try:
        home.segment(segment, home.clock(), MOST_SECONDS)
    except SegmentError as error:
        return error
    return None
