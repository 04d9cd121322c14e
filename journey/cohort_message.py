"""Who moves on from a message step: skips, failures, waits for a read or an answer.

What belongs here: the rules of spec §3.4 for one message, as expressions over everyone who stands at its step.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import polars as pl

from journey.answers import answer_keys
from journey.campaign import Campaign
from journey.steps import ELSE, MessageStep, OnRead, OnReply
from journey.words import END, Branch, LeaveReason, MessageState

MESSAGED: Mapping[str, Any] = {
    "message_state": pl.String,  # null: no message yet at this step and visit
    "settled": pl.Boolean,  # an unknown message: whether its status has had time to come (wall)
    "skip_reason": pl.String,  # null: not skipped
    "attempted_at": pl.Int64,
    "accepted_at": pl.Int64,
    "delivered_at": pl.Int64,
    "read_at": pl.Int64,
    "failed_at": pl.Int64,
    "answered_at": pl.Int64,  # the first answer to it by time; reactions are none
    "answer_payload": pl.String,
    "answer_text": pl.String,
}
"""What is to be known of the message of everyone who is due, at this step and visit."""

_PERHAPS = [MessageState.attempted, MessageState.unknown]
_THROUGH = [MessageState.accepted, MessageState.sent, MessageState.delivered, MessageState.read]


class Way(NamedTuple):
    """One way out: who takes it, its branch, where it leads, why they leave if that is the end, whether there is a
    wait on it."""

    taken: pl.Expr
    branch: pl.Expr
    to: pl.Expr
    reason: LeaveReason = LeaveReason.end
    waited: bool = False


class Message:
    """What is so of each message. `deadline`: of the step's wait; `late`: it failed after that, so after the move."""

    def __init__(self, campaign: Campaign, step: MessageStep, now: int) -> None:
        wait, state = step.on_read or step.on_reply, pl.col("message_state")
        since = pl.coalesce("accepted_at", "attempted_at")
        self.deadline = since + _us(wait.within) if wait is not None else pl.lit(None, pl.Int64)
        self.over = _sure(self.deadline <= now)
        late = _sure(pl.col("accepted_at").is_not_null() & (pl.col("failed_at") > self.deadline))
        self.failed = _sure(state == MessageState.failed) & ~late
        through = _sure(state.is_in(_THROUGH)) | (_sure(state == MessageState.failed) & late)
        unknown = campaign.settings.when_unknown
        unsettled = _sure(state == MessageState.unknown)
        self.unknown_over = pl.col("attempted_at") + _us(unknown.after)
        if unknown.then == "assume_sent":
            through = through | (unsettled & _sure(pl.col("settled") & (self.unknown_over <= now)))
        if step.on_reply is not None:  # who answers has got it, also too late
            through = through | (_sure(state.is_in(_PERHAPS)) & pl.col("answered_at").is_not_null())
        self.through, self.unsettled = through, unsettled & ~through


def message(campaign: Campaign, step: MessageStep, now: int) -> list[pl.Expr]:
    """branch (null: stays), to_step, reason (if that is the end), waited, wake_at; and `stands`: whose message is to be
    planned first.

    Order: a skip; an answer, which proves that its message arrived, unless it failed before; a refusal or failure; what
    time decides. Time runs from the moment Meta accepted the message, or from the attempt where that stayed unknown;
    the deadline itself still counts. A failure after the deadline comes after the move, however late that is made.
    """
    one = Message(campaign, step, now)
    ways = [_skip(step), *_ways(step, one)]
    # Looked at again when it is over; then each time until a minute (wall) has passed, or its rule has settled it.
    waiting = one.through if step.on_reply is None else one.through | _answered(one)
    wake = pl.when(waiting & ~one.over).then(one.deadline).when(one.unsettled).then(one.unknown_over)
    return [
        pl.coalesce(pl.when(way.taken).then(way.branch) for way in ways).alias("branch"),
        pl.coalesce(pl.when(way.taken).then(way.to) for way in ways).alias("to_step"),
        pl.coalesce(pl.when(way.taken).then(pl.lit(way.reason.value)) for way in ways).alias("reason"),
        pl.coalesce(pl.when(way.taken).then(way.waited) for way in ways).fill_null(False).alias("waited"),
        wake.otherwise(None).alias("wake_at"),
        (pl.col("message_state").is_null() & pl.col("skip_reason").is_null()).alias("stands"),
    ]


def _ways(step: MessageStep, one: Message) -> Iterator[Way]:
    failure = Way(one.failed, _name(Branch.on_failure), pl.lit(step.on_failure), LeaveReason.failed)
    if step.on_reply is not None:
        yield from _reply(step.on_reply, one, failure)
    elif step.on_read is not None:
        yield failure
        yield from _read(step.on_read, one)
    else:
        yield failure
        yield Way(one.through, _name(Branch.next), pl.lit(step.next or END))


def _skip(step: MessageStep) -> Way:
    to = pl.col("skip_reason").replace_strict(
        {reason: target for reason, target in step.on_skip.items() if reason != ELSE},
        default=step.on_skip[ELSE],
        return_dtype=pl.String,
    )
    return Way(pl.col("skip_reason").is_not_null(), _name(Branch.on_skip), to, LeaveReason.skipped)


def _read(wait: OnRead, one: Message) -> Iterator[Way]:
    read = one.through & _sure(pl.col("read_at") <= one.deadline)
    yield Way(read & one.over if wait.full_wait else read, _name(Branch.read), pl.lit(wait.read), waited=True)
    if wait.undelivered is not None:
        reached = _sure(pl.min_horizontal("delivered_at", "read_at") <= one.deadline)
        lost = one.through & one.over & ~reached
        yield Way(lost, _name(Branch.undelivered), pl.lit(wait.undelivered), waited=True)
    yield Way(one.through & one.over, _name(Branch.not_read), pl.lit(wait.not_read), waited=True)


def _reply(wait: OnReply, one: Message, failure: Way) -> Iterator[Way]:
    answered = _answered(one) & one.over if wait.full_wait else _answered(one)
    keys = pl.map_batches(
        ["answer_payload", "answer_text"],
        lambda said: answer_keys(said[0], said[1], wait.answers),
        return_dtype=pl.String,
    )
    target = keys.replace_strict(wait.answers, default=None, return_dtype=pl.String)
    if wait.full_wait:  # who waits on is still there when it fails
        yield failure
    else:
        sooner = _sure(pl.col("answered_at") < pl.col("failed_at"))
        yield failure._replace(taken=failure.taken & ~(answered & sooner))
    yield Way(answered, pl.coalesce(keys, _name(Branch.other)), pl.coalesce(target, pl.lit(wait.other)), waited=True)
    yield Way(one.through & one.over, _name(Branch.silence), pl.lit(wait.silence), waited=True)


def _answered(one: Message) -> pl.Expr:
    return _sure(pl.col("answered_at") <= one.deadline)


def _name(branch: Branch) -> pl.Expr:
    return pl.lit(branch.value)


def _sure(condition: pl.Expr) -> pl.Expr:
    return condition.fill_null(False)


def _us(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
