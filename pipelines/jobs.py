"""The job `one_pass`: take in → enter → advance → plan → send → publish, in one run.

What belongs here: the ops, thin, and what they show in Dagster's pages. The verbs are functions of their own rooms. The
run holds the lease `pass` from its first op to its last; it executes in one process, and is never retried: whatever it
did not do, the next pass does.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import dagster as dg

from assets.metadata import contacts_event, deliveries_event, events_event, published_event, segment_event
from pipelines.advance import advance, settle_unknown
from pipelines.enter import enter
from pipelines.plan import hold_and_expire
from pipelines.publish import publish
from pipelines.sending import Sending
from pipelines.take_in import take_in
from pipelines.turn import Turn, move, turn
from resources.definitions import PassResource

PUBLISH_SECONDS = 30.0
"""While a pass lives it publishes this often (wall), so that analysts are never more than a minute behind."""

DONE = dg.In(dg.Nothing)
OUT = dg.Out(dg.Nothing)


@dg.op(out=OUT)
def take_in_op(context: dg.OpExecutionContext, passing: PassResource) -> None:
    """Contacts, events and webhooks from the landing zone."""
    taken = take_in(passing.home, passing.lease, passing.home.clock(), final=not passing.linger)
    if taken.contacts:  # what contacts are known to have decides whether a campaign has a hole
        passing.home.reload()
    for one in [*taken.contacts, *taken.events]:
        context.log.info(f"{one.kind}/{one.name}: {one.rows} rows, {one.quarantined} quarantined")
    if taken.contacts:
        context.log_event(contacts_event(passing.home))
    if taken.events:
        context.log_event(events_event(passing.home))
    if taken.webhooks.lines:
        context.log.info(f"webhooks: {taken.webhooks}")


@dg.op(ins={"taken": DONE}, out=OUT)
def enter_op(context: dg.OpExecutionContext, passing: PassResource) -> None:
    """Whoever an entry lets in now."""
    entered = enter(passing.home, passing.lease, passing.home.clock())
    for name, audience in entered.segments.items():
        context.log_event(segment_event(name, audience))
    for name, why in entered.failed.items():
        context.log.error(f"segment {name}: {why}")
    context.log.info(f"{entered.entered} entered, {entered.refused} refused")


@dg.op(ins={"entered": DONE}, out=OUT)
def advance_op(context: dg.OpExecutionContext, passing: PassResource) -> None:
    """Who is due moves along their branch."""
    now = passing.home.clock()
    settle_unknown(passing.home, passing.lease, now)
    hold_and_expire(passing.home, passing.lease, now)
    context.log.info(f"{advance(passing.home, passing.lease, now)} moved")


@dg.op(ins={"advanced": DONE}, out=OUT)
def plan_op(context: dg.OpExecutionContext, passing: PassResource) -> None:
    """Whoever stands at a message step gets a message or a skip; skips move on, until nobody does."""
    moved, planned = move(passing.home, passing.lease, passing.home.clock())
    context.log.info(f"{planned} planned, {moved} moved")


@dg.op(ins={"planned": DONE}, out=OUT)
def send_op(context: dg.OpExecutionContext, passing: PassResource) -> None:
    """Send what is planned, and go on with whatever comes up meanwhile."""
    stop = threading.Event()
    with signals(stop) as stopped, Sending(passing.home, stop) as sending:
        follow(context, passing, sending, stop)
    context.log_event(deliveries_event(passing.home, sending.reports))
    for report in sending.reports:
        context.log.info(
            f"{report.sender}: {report.posted} posted, {report.accepted} accepted, {report.refused} refused,"
            f" {report.unknown} unknown, {report.skipped} skipped; ended: {report.ended}"
        )
    for sender in sending.elsewhere:
        context.log.info(f"{sender}: another process sends for it")
    if stopped.is_set():
        raise dg.DagsterExecutionInterruptedError


@dg.op(ins={"sent": DONE}, out=OUT)
def publish_op(context: dg.OpExecutionContext, passing: PassResource) -> None:
    """What happened, for the analysts."""
    published = publish(passing.home, passing.lease)
    context.log_event(published_event(published))


@dg.job(
    name="one_pass",
    executor_def=dg.in_process_executor,
    tags={"estafette/job": "one_pass", "dagster/max_retries": "0"},
    description="Take in, enter, advance, plan, send, publish: everything that is due.",
)
def one_pass() -> None:
    publish_op(send_op(plan_op(advance_op(enter_op(take_in_op())))))


def follow(context: dg.OpExecutionContext, passing: PassResource, sending: Sending, stop: threading.Event) -> None:
    """Keep lanes going, and make a turn a second, until nothing is due (and `linger` is over) or `stop` is set."""
    home = passing.home
    worked = published = time.monotonic()
    most = passing.backlog or None
    while not stop.is_set():
        started = sending.start(most)
        made = turn(home, passing.lease, final=not passing.linger)
        _show(context, passing, made)
        began = time.monotonic()
        if made.anything or started:
            worked = began
        elif not sending.busy() and began - worked >= passing.linger:
            return
        if began - published > PUBLISH_SECONDS:
            publish(home, passing.lease)
            published = began
        pause = 1.0 if passing.linger else 0.05
        while time.monotonic() - began < pause and not stop.is_set():
            time.sleep(0.02)
        if passing.linger:
            home.reload()


def _show(context: dg.OpExecutionContext, passing: PassResource, made: Turn) -> None:
    for name, audience in made.entered.segments.items():
        context.log_event(segment_event(name, audience))
    for name, why in made.entered.failed.items():
        context.log.error(f"segment {name}: {why}")
    if made.taken.contacts:
        context.log_event(contacts_event(passing.home))
    if made.taken.events:
        context.log_event(events_event(passing.home))


@contextmanager
def signals(stop: threading.Event) -> Iterator[threading.Event]:
    """Own SIGINT and SIGTERM while messages go out: they set `stop`. Gives the event that says whether one came.

    Left to Dagster, the interrupt lands in one random message, and sending goes on for seconds (measured). Outside the
    main thread there are no signals to own.
    """
    came = threading.Event()

    def handler(_number: int, _frame: FrameType | None) -> None:
        came.set()
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, old in before.items():
            signal.signal(number, old)
