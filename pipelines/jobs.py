"""The job `one_pass`: take in → enter → advance → plan → send → publish, in one run.

What belongs here: the ops, thin, and what they show in Dagster's pages. The verbs are functions of their own rooms. The
run holds the lease `pass` from its first op to its last; it executes in one process, and is never retried: whatever it
did not do, the next pass does.
"""

import threading
import time
from collections.abc import Callable
from functools import wraps

import dagster as dg

from assets.metadata import (
    contacts_event,
    deliveries_event,
    events_event,
    published_event,
    segment_event,
    without_values,
)
from journey.problems import CloudApiError, ProjectError
from pipelines.advance import advance
from pipelines.numbers import ask_numbers
from pipelines.portion import Portion
from pipelines.publish import publish
from pipelines.scrubbing import scrub
from pipelines.sending import Progress, Sending
from pipelines.take_in import take_in
from pipelines.turn import Turn, let_in, move, settle, turn
from resources.containing import FAULTS
from resources.definitions import PassResource
from resources.home import Home
from resources.interrupts import signals
from resources.lease_names import PASS
from resources.ledger import wanted
from resources.vitals import note_failed_pass

PUBLISH_SECONDS = 30.0
"""While a pass lives it publishes this often (wall), so that analysts are never more than a minute behind."""

PUBLISH_BUSY = 120.0
"""So often while turns leave people for the next one: a publish of what a large campaign has changed takes seconds."""

TURN_SECONDS = 1.0
LIVE_SECONDS = 3600.0
"""A live pass makes room for the next one after an hour, so that none grows old and a dead one is told from it."""

MAX_RUNTIME = 7200
"""Seconds after which Dagster ends a run that nobody runs any more: its process, or the whole machine, is gone."""

LANE_LINGER = 10.0
"""Seconds that a lane of a live pass goes on looking: the next trigger reaches the wire within a turn of the outbox."""

DONE = dg.In(dg.Nothing)
OUT = dg.Out(dg.Nothing)


Op = Callable[[dg.OpExecutionContext, PassResource], None]


def noting(op: Op) -> Op:
    """A part of a pass that says where operators look that it failed. Not a hook of Dagster's: those are left out where
    a pass is made by hand."""

    @wraps(op)
    def noted(context: dg.OpExecutionContext, passing: PassResource) -> None:
        try:
            op(context, passing)
        except (Exception, *FAULTS) as error:
            note_failed_pass(passing.home, error)
            raise

    return noted


@dg.op(out=OUT)
@noting
def take_in_op(context: dg.OpExecutionContext, passing: PassResource) -> None:
    """Contacts, events, coupon codes, requests and webhooks from the landing zone."""
    scrub(passing.home, passing.lease)
    ask_numbers(passing.home, passing.lease)
    taken = take_in(passing.home, passing.lease, passing.home.clock(), final=not passing.linger)
    for one in taken.files:
        context.log.info(f"{one.kind}/{one.name}: {one.rows} rows, {one.quarantined} quarantined")
    if taken.contacts:
        context.log_event(contacts_event(passing.home))
    if taken.events:
        context.log_event(events_event(passing.home))
    if taken.webhooks.lines:
        context.log.info(f"webhooks: {taken.webhooks}")


@dg.op(ins={"taken": DONE}, out=OUT)
@noting
def enter_op(context: dg.OpExecutionContext, passing: PassResource) -> None:
    """What new events do to people inside; then whoever an entry lets in now."""
    left, entered = let_in(passing.home, passing.lease, passing.home.clock())
    for name, audience in entered.segments.items():
        context.log_event(segment_event(name, audience))
    for name, why in entered.failed.items():
        context.log.error(f"segment {name}: {without_values(why)}")
    context.log.info(f"{entered.entered} entered, {entered.refused} refused; {left} moved before or met events")


@dg.op(ins={"entered": DONE}, out=OUT)
@noting
def advance_op(context: dg.OpExecutionContext, passing: PassResource) -> None:
    """Who is due moves along their branch."""
    now = passing.home.clock()
    settle(passing.home, passing.lease, now)
    context.log.info(f"{advance(passing.home, passing.lease, now, Portion())} moved")
    _tell(context, passing.home)


@dg.op(ins={"advanced": DONE}, out=OUT)
@noting
def plan_op(context: dg.OpExecutionContext, passing: PassResource) -> None:
    """Whoever stands at a message step gets a message or a skip; skips move on, until nobody does."""
    moved, planned, _ = move(passing.home, passing.lease, passing.home.clock())
    context.log.info(f"{planned} planned, {moved} moved")
    _tell(context, passing.home)


@dg.op(ins={"planned": DONE}, out=OUT)
@noting
def send_op(context: dg.OpExecutionContext, passing: PassResource) -> None:
    """Send what is planned, and go on with whatever comes up meanwhile."""
    stop = threading.Event()
    with signals(stop) as stopped, Sending(passing.home, stop, linger=LANE_LINGER if passing.linger else 0) as sending:
        progress = Progress(sending)
        follow(context, passing, sending, progress, stop)
    for line in progress.lines(final=True):
        context.log.info(line)
    context.log_event(deliveries_event(passing.home, sending.reports))
    if stopped.is_set():
        raise dg.DagsterExecutionInterruptedError
    for why in {report.stopped for report in sending.reports if report.stopped}:
        context.log.error(f"the sender is stopped: {why}")
    try:
        sending.raise_unreached()
    except CloudApiError:
        publish(passing.home, passing.lease)  # the step that publishes will not come
        raise


@dg.op(ins={"sent": DONE}, out=OUT)
@noting
def publish_op(context: dg.OpExecutionContext, passing: PassResource) -> None:
    """What happened, for the analysts."""
    published = publish(passing.home, passing.lease)
    context.log_event(published_event(published))


@dg.job(
    name="one_pass",
    executor_def=dg.in_process_executor,
    tags={"estafette/job": "one_pass", "dagster/max_retries": "0", "dagster/max_runtime": str(MAX_RUNTIME)},
    description="Take in, enter, advance, plan, send, publish: everything that is due.",
)
def one_pass() -> None:
    publish_op(send_op(plan_op(advance_op(enter_op(take_in_op())))))


def follow(
    context: dg.OpExecutionContext, passing: PassResource, sending: Sending, progress: Progress, stop: threading.Event
) -> None:
    """Keep lanes going, and make a turn a second, until nothing is due (and `linger` is over) or `stop` is set."""
    home, live = passing.home, passing.linger > 0
    began = worked = published = time.monotonic()
    told_elsewhere: set[str] = set()
    most = passing.backlog or None
    started = sending.start(most)
    while not stop.is_set():
        ask_numbers(home, passing.lease)
        made = turn(home, passing.lease, final=not live)
        started += sending.start(most)  # what was planned just now does not wait for the next turn
        _show(context, passing, made)
        for line in progress.lines():
            context.log.info(line)
        for sender in sorted(sending.elsewhere - told_elsewhere):
            context.log.info(f"{sender}: another process sends for it")
        told_elsewhere |= sending.elsewhere
        now = time.monotonic()
        # What another process sends is waited for by a pass that somebody waits for. A live one stays as long as
        # lanes of a dispatch are at work: a trigger in the middle of them does not wait for a run to start.
        at_work = sending.working() or sending.others() if live else sending.busy() or bool(sending.elsewhere)
        if made.anything or made.more or started or at_work:
            worked, started = now, 0
        elif now - worked >= passing.linger:
            return
        if live and (now - began > LIVE_SECONDS or wanted(home.ledger, PASS)):
            return
        if now - published > (PUBLISH_BUSY if made.more else PUBLISH_SECONDS):
            publish(home, passing.lease)
            published = time.monotonic()
        if not made.more:
            rests = TURN_SECONDS if live or sending.busy() or sending.elsewhere else 0.05
            _pause(sending, now + rests, live, stop)
        if live:
            _reload(context, home)


def _pause(sending: Sending, until: float, live: bool, stop: threading.Event) -> None:
    """Wait until then, or until there is no reason to: `stop`, or the last lane of a pass that somebody waits for."""
    busy = sending.busy()
    while time.monotonic() < until and not stop.wait(0.02):
        if not live and busy and not sending.busy():
            return


def _reload(context: dg.OpExecutionContext, home: Home) -> None:
    """A live pass follows the project's files; while they are broken it goes on with those it has."""
    try:
        home.reload()
    except ProjectError as error:
        context.log.error(f"the project's files can't be used, the last good ones are: {error}")


def _tell(context: dg.OpExecutionContext, home: Home) -> None:
    """What kept people where they are, or left a contact as it was: once a run."""
    for what in home.said():
        context.log.warning(without_values(what))


def _show(context: dg.OpExecutionContext, passing: PassResource, made: Turn) -> None:
    for name, audience in made.entered.segments.items():
        context.log_event(segment_event(name, audience))
    for name, why in made.entered.failed.items():
        context.log.error(f"segment {name}: {without_values(why)}")
    _tell(context, passing.home)
    if made.anything:
        context.log.info(
            f"{made.entered.entered} entered, {made.entered.refused} refused, {made.planned} planned,"
            f" {made.moved} moved, {made.taken.webhooks.lines} webhooks"
        )
    if made.taken.contacts:
        context.log_event(contacts_event(passing.home))
    if made.taken.events:
        context.log_event(events_event(passing.home))
