"""Leaving from outside: passages that end by a rule or a hand, not along a branch of their step.

What belongs here: ending passages (`exit_on`, goals, opt-outs, `estafette drop`) and taking back what was planned for
them. Who leaves is decided by the callers; who leaves along a branch is `pipelines.advance`.

Such an end is no move along a branch, so `participant_steps` gets no row: the participant keeps the step they stood
at, and says with `left_at` and `reason` when and why they left.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from journey.words import LeaveReason, ParticipantState
from resources.coupons import give_back
from resources.ledger import mark_dirty, select_in

_STATES = {
    LeaveReason.dropped_by_hand: ParticipantState.dropped,
    LeaveReason.control: ParticipantState.control,
}


def leave(tx: sa.Connection, participant_ids: Sequence[int], reason: LeaveReason, now: int) -> list[int]:
    """End these passages at `now` (microseconds since 1970) and cancel what was planned or held for them.

    One transaction's worth (at most `BULK`). Who has left already is passed over. Gives the ids of who left.
    """
    left = select_in(
        tx,
        "UPDATE participant SET state = :state, left_at = :now, reason = :reason, wake_at = NULL"
        " WHERE left_at IS NULL AND id IN :ids RETURNING id",
        participant_ids,
        state=_STATES.get(reason, ParticipantState.ended).value,
        reason=reason.value,
        now=now,
    )
    ids = [int(row.id) for row in left]
    mark_dirty(tx, "participant", ids)
    _cancel(tx, "participant_id IN :ids", ids)
    return ids


def cancel_of_left(tx: sa.Connection, message_ids: Sequence[int]) -> None:
    """Cancel those of these messages, just planned or back from a lane unsent, whose participant has left meanwhile.

    Who opted out is left to the claim, which skips them with that reason.
    """
    _cancel(
        tx,
        "id IN :ids AND EXISTS (SELECT 1 FROM participant p WHERE p.id = message.participant_id"
        " AND p.left_at IS NOT NULL AND p.reason IN ('goal', 'exit_on', 'dropped_by_hand', 'step_removed'))",
        message_ids,
    )


def cancel(tx: sa.Connection, message_ids: Sequence[int]) -> None:
    """Take back those of these messages that are planned or held."""
    _cancel(tx, "id IN :ids", message_ids)


def _cancel(tx: sa.Connection, which: str, ids: Sequence[int]) -> None:
    cancelled = select_in(
        tx,
        "UPDATE message SET state = 'cancelled', held_why = NULL"
        f" WHERE state IN ('planned', 'held') AND {which} RETURNING id",
        ids,
    )
    gone = [int(row.id) for row in cancelled]
    mark_dirty(tx, "message", gone)
    give_back(tx, gone)
