"""What happened to one contact, in the order of time, each thing as a line that says why.

What belongs here: reading it from the ledger and the lake, which are fresh; the analysts' file may be a minute old. The
command that shows it is `estafette.why`.

Many things happen at one moment (a pass has one `now`). Those of one passage are put into the order in which they were
caused: a step's message or skip, what became of it, the move to the next step.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa

from journey import reasons
from journey.clock import from_us
from journey.codes import explain
from journey.words import EntryOutcome, LeaveReason, SkipReason
from resources.home import Home
from resources.tables import (
    answer,
    click,
    consent_history,
    coupon,
    goal,
    message,
    participant,
    reply,
    skip,
    waiting_entry,
)

FIRST, LAST = -1, 1_000_000  # places before a passage's first step, and after its last
_RANKS = ("consent", "entry", "message", "reply", "click", "goal", "skip", "move", "leave", "waiting")


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that happened. `what` is its kind (`consent`, `entry`, `message`, …); `data` are its plain values."""

    at: datetime
    what: str
    text: str
    campaign: str | None = None
    participant_id: int | None = None
    step: str | None = None
    mend: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    place: tuple[int, int] = (FIRST, 0)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a step's visit comes in its passage, from 0."""

    order: Mapping[tuple[int, str, int], int]

    def of(self, participant_id: int | None, step: str | None, visit: int | None) -> int:
        if participant_id is None or step is None:
            return FIRST
        return self.order.get((participant_id, step, visit or 1), 0)


def life(home: Home, contact_id: str, campaign: str | None) -> list[Item]:
    """Everything that is known to have happened to a contact, oldest first; with `campaign`, only what belongs to it
    and their consent."""
    with home.ledger.read() as tx:
        people = _rows(tx, participant, contact_id, campaign)
        entries = _lake(home, "entries", contact_id, campaign, tx)
        moves = chained(_lake(home, "participant_steps", contact_id, campaign, tx))
        places = _places(people, moves)
        found = [
            *_consent(_rows(tx, consent_history, contact_id, None)),
            *_entries(entries, {row.id: row.key for row in people if row.key}),
            *_messages(tx, _rows(tx, message, contact_id, campaign), places),
            *_skips(tx, _rows(tx, skip, contact_id, campaign), places),
            *_replies(tx, _rows(tx, reply, contact_id, campaign), places),
            *_clicks(_rows(tx, click, contact_id, campaign), places),
            *_goals(_rows(tx, goal, contact_id, campaign)),
            *_moves(moves, places),
            *_ends(people),
            *_unknown(_rows(tx, waiting_entry, contact_id, campaign)),
        ]
    return sorted(found, key=lambda one: (one.at, one.participant_id or 0, *one.place))


def _rows(tx: sa.Connection, table: sa.Table, contact_id: str, campaign: str | None) -> Sequence[sa.Row[Any]]:
    query = sa.select(table).where(table.c.contact_id == contact_id).order_by(table.c.id)
    return tx.execute(query if campaign is None else query.where(table.c.campaign == campaign)).all()


def _lake(home: Home, name: str, contact_id: str, campaign: str | None, tx: sa.Connection) -> list[dict[str, Any]]:
    files = home.lake.files(name, tx)
    if not files:
        return []
    found = pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore", glob=False)
    found = found.filter(pl.col("contact_id") == contact_id)
    return (found if campaign is None else found.filter(pl.col("campaign") == campaign)).collect().to_dicts()


def chained(moves: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Moves in the order in which they were made: by time, and where a passage made several at one moment, each from
    where the one before led to (files that were merged have lost the order of writing)."""
    found: list[dict[str, Any]] = []
    for number in dict.fromkeys(row["participant_id"] for row in moves):
        waiting = sorted((row for row in moves if row["participant_id"] == number), key=lambda row: row["moved_at"])
        stands: str | None = None
        while waiting:
            same = [row for row in waiting if row["moved_at"] == waiting[0]["moved_at"]]
            targets = {
                row["to_step"] for row in same if (row["visit"] or 1) == 1
            }  # a loop leads back to a second visit
            first = [row for row in same if row["from_step"] == stands]
            first += [row for row in same if stands is None and row["from_step"] not in targets]
            one = (first or same)[0]
            waiting.remove(one)
            found.append(one)
            stands = one["to_step"]
    return found


def _places(people: Sequence[sa.Row[Any]], moves: Sequence[dict[str, Any]]) -> _Place:
    """A passage's steps in the order of its moves (`chained`)."""
    order: dict[tuple[int, str, int], int] = {}
    length: dict[int, int] = {}
    for row in moves:
        number = row["participant_id"]
        if number not in length:
            order[number, row["from_step"], 1] = 0
        length[number] = length.get(number, 0) + 1
        order.setdefault((number, row["to_step"], row["visit"] or 1), length[number])
    for person in people:
        order.setdefault((person.id, person.step, person.visit), length.get(person.id, 0))
    return _Place(order)


def _rank(what: str, number: int = 0) -> int:
    return _RANKS.index(what) * 100 + number


# -- coming in and leaving -------------------------------------------------------------------------------------------


def _consent(rows: Sequence[sa.Row[Any]]) -> Iterator[Item]:
    for row in rows:
        text = "opted in" if row.change == "opted_in" else f"opted out of {_scope(row.scope)}"
        yield Item(
            from_us(row.changed_at), "consent", f"{text} ({row.cause})",
            data={"change": row.change, "scope": row.scope, "cause": row.cause, "source": row.source},
        )  # fmt: skip


def _scope(scope: str) -> str:
    return {"all": "everything", "marketing": "marketing"}.get(scope, f"messages ({scope})")


def _entries(rows: Sequence[dict[str, Any]], keys_of: Mapping[int, str]) -> Iterator[Item]:
    """`keys_of`: the keys of passages that have one, which tell two of them apart."""
    for row in rows:
        outcome = row["outcome"]
        known = reasons.OUTCOMES[EntryOutcome(outcome)] if outcome in set(EntryOutcome) else reasons.Reason(outcome)
        by = f"by {row['entry']} ({row['occurrence']})"
        if outcome == EntryOutcome.entered:
            key = keys_of.get(row["participant_id"])
            text = f"entered {by}" + (f", for {key}" if key is not None else "")
        elif outcome == EntryOutcome.control:
            text = f"met {by}: {known.what}"
        else:
            detail = f" ({row['detail']})" if row["detail"] else ""
            text = f"did not enter {by}: {outcome}, {known.what}{detail}"
        keys = ("entry", "occurrence", "event_id", "request_uuid", "outcome", "detail")
        yield Item(
            row["met_at"], "entry", text, row["campaign"], row["participant_id"], None, known.mend,
            {key: row.get(key) for key in keys}, (FIRST, _rank("entry")),
        )  # fmt: skip


def _moves(rows: Sequence[dict[str, Any]], places: _Place) -> Iterator[Item]:
    reached: dict[tuple[int, str], int] = {}
    for row in rows:
        number, start, target = row["participant_id"], row["from_step"], row["to_step"]
        visit = reached.get((number, start), 1)
        reached[number, target] = row["visit"] or 1
        way = f"{start} ({row['branch']}) → {target}"
        yield Item(
            row["moved_at"], "move", way, row["campaign"], number, start, "",
            {"from_step": start, "branch": row["branch"], "to_step": target, "visit": row["visit"]},
            (places.of(number, start, visit), _rank("move")),
        )  # fmt: skip


def _ends(rows: Sequence[sa.Row[Any]]) -> Iterator[Item]:
    for row in rows:
        if row.left_at is None or row.reason == LeaveReason.control:
            continue
        known = reasons.ENDS[LeaveReason(row.reason)] if row.reason in set(LeaveReason) else None
        what = f": {known.what}" if known is not None else ""
        text = f"left at {row.step}: {row.reason}{what}"
        data = {"reason": row.reason, "state": row.state}
        yield Item(from_us(row.left_at), "leave", text, row.campaign, row.id, row.step, "", data, (LAST, 0))


def _unknown(rows: Sequence[sa.Row[Any]]) -> Iterator[Item]:
    for row in rows:
        yield Item(
            from_us(row.since), "waiting",
            f"was to enter by {row.kind} ({row.occurrence}) and is no known contact; the contact is waited for",
            row.campaign, None, None, "Import the contact.", {"until": from_us(row.until), "event_id": row.event_id},
        )  # fmt: skip


# -- messages and what people did with them --------------------------------------------------------------------------


def _messages(tx: sa.Connection, rows: Sequence[sa.Row[Any]], places: _Place) -> Iterator[Item]:
    claimed = coupon.c.id.in_([row.coupon_id for row in rows if row.coupon_id is not None])
    codes = {one.id: f"{one.pool} {one.code}" for one in tx.execute(sa.select(coupon).where(claimed))}
    for row in rows:
        place = places.of(row.participant_id, row.step, row.visit)
        whose, about = _whose(row, row.author or "")
        told = f"{row.template} ({row.language})" if row.template is not None else "a text"
        data = {"message_id": row.id, "state": row.state, "template": row.template, "language": row.language}
        texts: list[tuple[int | None, str, str]] = [(row.planned_at, _planned(row, told, codes.get(row.coupon_id)), "")]
        texts += [
            (row.attempted_at, "handed to Meta", ""),
            (row.accepted_at, "accepted by Meta", ""),
            (row.sent_at, "sent", ""),
            (row.delivered_at, "delivered", ""),
            (row.read_at, "read", ""),
        ]
        error = f"{row.error_code} " if row.error_code is not None else ""
        known = explain(row.error_code).sentence if row.error_code is not None else ""
        texts.append((row.failed_at, f"failed: {error}{row.error_title or 'no reason given'}", known))
        if row.state == "unknown":
            texts.append((row.attempted_at, "unknown: nobody can say whether Meta has it", ""))
        if row.state == "cancelled":
            ended = _ended(tx, row.participant_id)
            texts.append((ended or row.planned_at, "cancelled: the passage was over before it went out", ""))
        for number, (at, text, mend) in enumerate(texts):
            if at is not None:
                yield Item(
                    from_us(at), "message", f"{whose}: {text}", *about, mend, data, (place, _rank("message", number)),
                )  # fmt: skip


def _planned(row: sa.Row[Any], told: str, code: str | None) -> str:
    text = f"{told} planned" + (f" with the coupon {code}" if code is not None else "")
    if row.visit > 1:
        text += f", visit {row.visit}"
    if row.copy > 1:
        text += f", sent again as copy {row.copy}"
    return text


def _ended(tx: sa.Connection, participant_id: int) -> int | None:
    return tx.execute(sa.select(participant.c.left_at).where(participant.c.id == participant_id)).scalar()


def _whose(row: sa.Row[Any], author: str) -> tuple[str, tuple[str | None, int | None, str | None]]:
    """Whose message it is: that of a step, with (campaign, participant, step), or a person's in the inbox, of none."""
    if row.campaign:
        return row.step, (row.campaign, row.participant_id, row.step)
    return f"{author or 'somebody'} in the inbox", (None, None, None)


def _skips(tx: sa.Connection, rows: Sequence[sa.Row[Any]], places: _Place) -> Iterator[Item]:
    by_hand = sa.select(answer.c.uuid, answer.c.author).where(
        answer.c.uuid.in_([r.step for r in rows if not r.campaign])
    )
    authors = {one.uuid: one.author for one in tx.execute(by_hand)}
    for row in rows:
        known = reasons.SKIPS[SkipReason(row.reason)] if row.reason in set(SkipReason) else reasons.Reason(row.reason)
        detail = f" ({row.detail})" if row.detail else ""
        place = (places.of(row.participant_id, row.step, row.visit), _rank("skip"))
        whose, about = _whose(row, authors.get(row.step, ""))
        yield Item(
            from_us(row.skipped_at), "skip", f"{whose}: skipped, {row.reason}: {known.what}{detail}", *about,
            known.mend, {"reason": row.reason, "detail": row.detail}, place,
        )  # fmt: skip


def _replies(tx: sa.Connection, rows: Sequence[sa.Row[Any]], places: _Place) -> Iterator[Item]:
    answered = message.c.id.in_([row.message_id for row in rows])
    visits = {one.id: one.visit for one in tx.execute(sa.select(message.c.id, message.c.visit).where(answered))}
    for row in rows:
        said = row.text if row.text is not None else row.payload
        verb = "reacted with" if row.kind == "reaction" else "tapped" if row.kind in ("button", "list") else "wrote"
        text = f"{verb} “{said}”" if said is not None else f"sent {row.kind}"
        if row.step is not None:
            text += f" to {row.step}"
        if row.late:
            text += ", late: it moved no one"
        place = (places.of(row.participant_id, row.step, visits.get(row.message_id)), _rank("reply"))
        yield Item(
            from_us(row.replied_at), "reply", text, row.campaign, row.participant_id, row.step, "",
            {"kind": row.kind, "text": row.text, "payload": row.payload, "late": bool(row.late)}, place,
        )  # fmt: skip


def _clicks(rows: Sequence[sa.Row[Any]], places: _Place) -> Iterator[Item]:
    for row in rows:
        yield Item(
            from_us(row.clicked_at), "click", f"tapped on the link {row.button} of {row.step}", row.campaign,
            row.participant_id, row.step, "", {"button": row.button, "event_id": row.event_id},
            (places.of(row.participant_id, row.step, None), _rank("click")),
        )  # fmt: skip


def _goals(rows: Sequence[sa.Row[Any]]) -> Iterator[Item]:
    for row in rows:
        worth = f", worth {row.value:g}" if row.value is not None else ""
        group = " (in the control group)" if row.arm == "control" else ""
        yield Item(
            from_us(row.reached_at), "goal", f"reached the goal {row.goal}{worth}{group}", row.campaign,
            row.participant_id, None, "",
            {"goal": row.goal, "arm": row.arm, "value": row.value, "event_id": row.event_id}, (LAST, -1),
        )  # fmt: skip
