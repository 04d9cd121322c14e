"""Cohorts: who moves from which step along which branch, decided for everyone due at once.

What belongs here: one function a kind of step, frame in, frame out. What does not: reading and writing the ledger
(`pipelines.advance`), which people are looked at (their `wake_at`).
"""

from datetime import timedelta

import polars as pl

from journey.campaign import Campaign
from journey.steps import MessageStep
from journey.words import END, Branch, LeaveReason, MessageState

STANDING = {
    "participant_id": pl.Int64,
    "contact_id": pl.String,
    "step": pl.String,
    "visit": pl.Int64,
    "message_state": pl.String,  # null: no message yet at this step and visit
    "settled": pl.Boolean,  # an unknown message: whether its status has had time to come (wall)
    "skip_reason": pl.String,  # null: not skipped
    "attempted_at": pl.Int64,
    "accepted_at": pl.Int64,
    "delivered_at": pl.Int64,
    "read_at": pl.Int64,
}
"""Where the people due stand. Times in microseconds since 1970 UTC."""

MOVES = {
    "participant_id": pl.Int64,
    "contact_id": pl.String,
    "from_step": pl.String,
    "branch": pl.String,
    "to_step": pl.String,  # `end` for who leaves
    "reason": pl.String,  # why they leave; null for who goes on
}
"""Who moves. One row a participant at most."""

WAITS = {"participant_id": pl.Int64, "wake_at": pl.Int64, "message_state": pl.String}
"""Who stays, and when to look again; null: when something from outside happens. `message_state`: what they wait with.
"""

_THROUGH = [MessageState.accepted, MessageState.sent, MessageState.delivered, MessageState.read]


def decide(campaign: Campaign, standing: pl.DataFrame, now: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Who moves and who waits, among people of one campaign (`STANDING` → `MOVES`, `WAITS`).

    People at a message step without message and skip are in neither: their message is to be planned first. A step that
    the campaign no longer has ends the passage (`step_removed`).
    """
    moves, waits = [], []
    for (name,), group in standing.partition_by("step", as_dict=True, maintain_order=True).items():
        step = campaign.steps.get(str(name))
        if step is None:
            moves.append(_to(group, Branch.next, END, LeaveReason.step_removed))
            continue
        if not isinstance(step, MessageStep):
            continue
        decided = group.with_columns(_message_step(campaign, step, now))
        gone = decided.filter(pl.col("branch").is_not_null())
        moves.append(
            gone.with_columns(
                pl.when(pl.col("to_step") == END).then(pl.col("reason")).otherwise(None).alias("reason"),
                from_step=pl.col("step"),
            ).select(list(MOVES))
        )
        stay = decided.filter(pl.col("branch").is_null(), pl.col("message_state").is_not_null())
        waits.append(stay.select("participant_id", pl.col("wake_at").cast(pl.Int64), "message_state"))
    return (
        pl.concat(moves) if moves else pl.DataFrame(schema=MOVES),
        pl.concat(waits) if waits else pl.DataFrame(schema=WAITS),
    )


def _message_step(campaign: Campaign, step: MessageStep, now: int) -> list[pl.Expr]:
    """branch, to_step, reason (if that is the end) and wake_at of a message step; a null branch stays.

    Order: a skip, then a refusal or failure, then the read wait. Time runs from the moment Meta accepted the message,
    or from the attempt where that stayed unknown; the deadline itself still counts.
    """
    state, skip = pl.col("message_state"), pl.col("skip_reason")
    unknown = campaign.settings.when_unknown
    unknown_over = pl.col("attempted_at") + _us(unknown.after)
    unsettled = state == MessageState.unknown
    through = state.is_in(_THROUGH)
    if unknown.then == "assume_sent":
        through = through | (unsettled & pl.col("settled") & (unknown_over <= now))
    skip_to = pl.col("skip_reason").replace_strict(
        {reason: to for reason, to in step.on_skip.items() if reason != "else"},
        default=step.on_skip["else"],
        return_dtype=pl.String,
    )
    skipped = pl.when(skip.is_not_null()).then(pl.lit(Branch.on_skip))
    branch = skipped.when(state == MessageState.failed).then(pl.lit(Branch.on_failure))
    # Looked at again when it is over; then each time until a minute (wall) has passed, or its rule has settled it.
    wake = pl.when(unsettled & ~through).then(unknown_over).when(False).then(None)
    targets: dict[str, str] = {Branch.on_failure: step.on_failure}
    if step.on_read is None:
        branch = branch.when(through).then(pl.lit(Branch.next))
        targets[Branch.next] = step.next or END
    else:
        wait = step.on_read
        deadline = pl.coalesce("accepted_at", "attempted_at") + _us(wait.within)
        is_read = pl.col("read_at").is_not_null() & (pl.col("read_at") <= deadline)
        over = deadline <= now
        targets |= {Branch.read: wait.read, Branch.not_read: wait.not_read}
        branch = branch.when(through & is_read & (over if wait.full_wait else True)).then(pl.lit(Branch.read))
        if wait.undelivered is not None:
            targets[Branch.undelivered] = wait.undelivered
            reached = pl.min_horizontal("delivered_at", "read_at") <= deadline
            branch = branch.when(through & over & ~reached.fill_null(False)).then(pl.lit(Branch.undelivered))
        branch = branch.when(through & over).then(pl.lit(Branch.not_read))
        wake = wake.when(through & ~over).then(deadline)
    chosen = branch.otherwise(None)
    reason = (
        pl.when(chosen == Branch.on_skip)
        .then(pl.lit(LeaveReason.skipped))
        .when(chosen == Branch.on_failure)
        .then(pl.lit(LeaveReason.failed))
        .otherwise(pl.lit(LeaveReason.end))
    )
    to_step = (
        pl.when(chosen == Branch.on_skip)
        .then(skip_to)
        .otherwise(chosen.replace_strict(targets, default=None, return_dtype=pl.String))
    )
    return [
        chosen.cast(pl.String).alias("branch"),
        to_step.alias("to_step"),
        reason.cast(pl.String).alias("reason"),
        wake.otherwise(None).alias("wake_at"),
    ]


def _to(group: pl.DataFrame, branch: Branch, to_step: str, reason: LeaveReason) -> pl.DataFrame:
    return group.select(
        "participant_id",
        "contact_id",
        pl.col("step").alias("from_step"),
        pl.lit(str(branch)).alias("branch"),
        pl.lit(to_step).alias("to_step"),
        pl.lit(str(reason)).alias("reason"),
    )


def _us(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
