"""Processes that died or were held up, and whose work others went on with: what can be told of them for a day.

What belongs here: writing one down where its lease passes on, or where what it had stamped becomes unknown, in that
very transaction; and what became of those messages since. It heals by itself, so nothing but a person reads it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from resources.lease_names import LANES, PASS
from resources.tables import lease, meta

TAKEN_OVER = "taken_over"  # in `meta`: those of the last day, by lease and token; JSON, wall
GIVEN_BACK = "given back"  # the note of a lease that its holder gave back, although it lasts for a moment more
DAY = 86_400 * 1_000_000  # microseconds
MOST, MOST_MESSAGES = 50, 2_000  # processes, and messages of each, that are kept

PATIENCE = 30_000_000  # microseconds after which somebody should have gone on: a pass looks each second
_ON_THE_WIRE = """SELECT lane, count(*) AS number FROM message INDEXED BY message_in_flight
  WHERE state IN ('attempted', 'unknown') AND state = 'attempted' AND lane IS NOT NULL GROUP BY 1"""


@dataclass(frozen=True, slots=True)
class Gone:
    """One process: `lease` and `holder` are who it was, `at` (microseconds, wall) when others went on, `messages` those
    that were on the wire."""

    lease: str
    holder: str
    at: int
    messages: list[int] = field(default_factory=list)

    @property
    def sender(self) -> str | None:
        """Whom it sent for; None: it made a pass."""
        return self.lease.removeprefix(LANES).rpartition(":")[0] if self.lease.startswith(LANES) else None


def note_taken(tx: sa.Connection, row: Any, wall: int) -> None:
    """A lease (its row as it was) is taken by somebody else: its holder is gone where it did not give it back."""
    works = row.name == PASS or row.name.startswith(LANES)
    if works and row.until > 0 and row.note != GIVEN_BACK:
        _note(tx, [(f"{row.name}#{row.token}", Gone(row.name, row.holder, wall))], wall)


def note_lost(tx: sa.Connection, lost: Iterable[tuple[int, str | None]], wall: int) -> None:
    """Messages (id, the lane that had stamped them) became unknown, because their lane is gone."""
    by_lane: dict[str, list[int]] = {}
    for number, lane in lost:
        if lane is not None:
            by_lane.setdefault(lane, []).append(number)
    if not by_lane:
        return
    holders = {f"{row.name}#{row.token}": row.holder for row in tx.execute(sa.select(lease)).all()}
    found = [
        (lane, Gone(lane.rpartition("#")[0], holders.get(lane, ""), wall, ids[:MOST_MESSAGES]))
        for lane, ids in by_lane.items()
    ]
    _note(tx, found, wall)


def gone(tx: sa.Connection, wall: int) -> list[Gone]:
    """Those of the last day, in the order in which others went on."""
    return sorted(_known(tx, wall).values(), key=lambda one: one.at)


def dropped(tx: sa.Connection, wall: int) -> tuple[Gone, int] | None:
    """A process that gave its lease back to nobody, `at` when that ran out, with whose work nobody has gone on since;
    and how many messages are on the wire under leases that ran out. None: there is none."""
    over = tx.execute(
        sa.select(lease)
        .where(lease.c.until > 0, lease.c.until < wall - PATIENCE, sa.func.coalesce(lease.c.note, "") != GIVEN_BACK)
        .order_by(lease.c.until)
    ).all()
    lanes = {f"{row.name}#{row.token}": row for row in over if row.name.startswith(LANES)}
    on_the_wire = {str(row.lane): int(row.number) for row in tx.exec_driver_sql(_ON_THE_WIRE).all()} if lanes else {}
    found = [row for row in over if row.name == PASS or f"{row.name}#{row.token}" in on_the_wire]
    if not found:
        return None
    number = sum(number for lane, number in on_the_wire.items() if lane in lanes)
    return Gone(found[0].name, found[0].holder, int(found[0].until)), number


def became(tx: sa.Connection, ids: Sequence[int]) -> tuple[int, int]:
    """Of messages that were on the wire: how many are known by now, and how many are still unknown."""
    query = (
        "SELECT state IN ('attempted', 'unknown') AS open, count(*) FROM message"
        " WHERE id IN (SELECT value FROM json_each(?)) GROUP BY 1"
    )
    found = {bool(row[0]): int(row[1]) for row in tx.exec_driver_sql(query, (json.dumps(list(ids)),)).all()}
    return found.get(False, 0), found.get(True, 0)


def _note(tx: sa.Connection, found: Iterable[tuple[str, Gone]], wall: int) -> None:
    known = _known(tx, wall)
    for name, one in found:
        before = known.get(name)
        known[name] = (
            one if before is None
            else Gone(before.lease, before.holder, before.at, [*before.messages, *one.messages][:MOST_MESSAGES])
        )  # fmt: skip
    kept = sorted(known.items(), key=lambda item: item[1].at)[-MOST:]
    value = json.dumps({name: asdict(one) for name, one in kept})
    statement = insert(meta).values(name=TAKEN_OVER, value=value)
    tx.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


def _known(tx: sa.Connection, wall: int) -> dict[str, Gone]:
    value = tx.execute(sa.select(meta.c.value).where(meta.c.name == TAKEN_OVER)).scalar()
    known = msgspec.json.decode(value, type=dict[str, Gone]) if value is not None else {}
    return {name: one for name, one in known.items() if abs(wall - one.at) < DAY}
