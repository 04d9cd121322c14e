"""Sensors and the schedule: when a pass, or a dispatch, is asked for.

What belongs here: decisions as pure functions, and decorators around them. Sensors keep no cursor of their own: they
compare the landing zone with the ledger's cursors. They ask for a pass and never for anything in it; what is due is
found out by the pass itself, so an extra pass does no harm and a missing one only waits for the next.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass

import dagster as dg

from journey.clock import to_us
from pipelines.dead_runs import end_dead_runs
from pipelines.dispatch import RUN_SECONDS
from pipelines.holding import wait_is_over
from resources.claim import backlog
from resources.definitions import HomeResource
from resources.home import Home
from resources.lease_names import PASS
from resources.ledger import US
from resources.present import asks

LINGER = 120.0
"""Seconds (wall) that a daemon's pass goes on looking, a turn a second, after the last work: a trigger within that time
reaches the wire without the seconds that starting a run takes."""

WATCH = 4.0
"""Seconds that one evaluation goes on looking. Dagster begins one every five (a constant of its own), so a file that
came just after the last would wait for five; like this it waits for a quarter of one, or for one at worst."""

LOOK = 0.25
"""Seconds between two looks of an evaluation."""

BACKLOG = 10.0
"""Seconds of backlog above which a sender is left to the job `dispatch`."""

HANDOVER = 45.0
"""Seconds before the end of a dispatch at which its successor is asked for: a run takes some ten to come up."""

PASS_CONFIG = {"resources": {"passing": {"config": {"linger": LINGER, "backlog": BACKLOG}}}}

ACTIVE = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]


@dataclass(frozen=True, slots=True)
class Due:
    """What there is to do: files to read, people or messages whose time has come, occurrences, things to publish."""

    files: int = 0
    people: int = 0
    messages: int = 0
    occurrences: int = 0

    @property
    def anything(self) -> bool:
        return bool(self.files or self.people or self.messages or self.occurrences)

    def __str__(self) -> str:
        numbers = (self.files, self.people, self.messages, self.occurrences)
        words = (("file", "files"), ("person", "people"), ("message", "messages"), ("entry", "entries"))
        counted = zip(numbers, words, strict=True)
        return (
            ", ".join(f"{number} {one if number == 1 else more}" for number, (one, more) in counted if number)
            or "nothing"
        )


def wants_pass(due: Due, *, lease_held: bool, waiting_runs: int) -> str | None:
    """Why no pass is asked for; None where one is."""
    if waiting_runs:
        return "a pass is on its way"
    if lease_held:
        return "a pass is at work, and takes this along"
    if not due.anything:
        return "nothing is due"
    return None


def wants_dispatch(
    waiting: dict[str, int], paces: dict[str, float], held: Collection[str], runs: int, ending: int
) -> str | None:
    """Why no dispatch is asked for; None where one is. `held`: the names of leases in force; `runs`: dispatches on
    their way or at work; `ending`: those of them whose time is nearly over, and whose leases a successor waits for."""
    if runs > ending:
        return "a dispatch is at work or on its way"
    senders = [name for name, messages in waiting.items() if messages > BACKLOG * paces.get(name, 1.0)]
    free = [name for name in senders if ending or not any(lease.startswith(f"send:{name}:") for lease in held)]
    return None if free else "no sender has more to send than a pass does by itself"


def look(home: Home) -> Due:
    """What is due in a home now: stats and a few small queries, well under 50 ms."""
    now = to_us(home.clock())
    with home.ledger.read() as tx:
        people = tx.exec_driver_sql(
            "SELECT count(*) FROM (SELECT 1 FROM campaign c CROSS JOIN participant p ON p.campaign = c.name"
            " WHERE c.live AND p.left_at IS NULL AND p.wake_at <= ? LIMIT 1)",
            (now,),
        ).scalar_one()
        # One that has not been evaluated, because its segment fails, waits for the next minute.
        occurrences = tx.exec_driver_sql(
            "SELECT count(*) FROM occurrence o JOIN campaign c ON c.name = o.campaign"
            " WHERE c.stopped_at IS NULL AND c.live AND o.done_at IS NULL AND o.next_at <= ?",
            (now,),
        ).scalar_one()
        over = tx.exec_driver_sql("SELECT count(*) FROM waiting_entry WHERE until <= ?", (now,)).scalar_one()
        wait = int(wait_is_over(tx, now, int(home.wall() * US)))
        senders = tx.exec_driver_sql("SELECT name FROM sender").scalars().all()
    held = [lease.name for lease in home.ledger.leases()]
    free = [name for name in senders if not any(lease.startswith(f"send:{name}:") for lease in held)]
    messages = wait + sum(backlog(home.ledger, now, int(home.wall() * US), free).values())
    files = home.landing.pending(home.wall())
    return Due(len(files), int(people), messages, int(occurrences) + int(over))


@dg.sensor(
    job_name="one_pass",
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for a pass when files came in, or the time of people, messages or schedules has come.",
)
def something_due(context: dg.SensorEvaluationContext, home: HomeResource) -> dg.SensorResult | dg.SkipReason:
    """A pass as soon as anything is due."""
    deadline = time.monotonic() + WATCH
    opened = home.open()
    asks(opened.paths.data)
    try:
        while True:
            held = pass_held(opened)
            found = Due() if held else look(opened)
            runs = _runs(context.instance, "one_pass", ACTIVE) if found.anything else 0  # it costs as much as the look
            why_not = wants_pass(found, lease_held=held, waiting_runs=runs)
            if why_not is None or time.monotonic() + LOOK > deadline:
                break
            time.sleep(LOOK)
    finally:
        opened.close()
    if why_not is not None:
        return dg.SkipReason(why_not)
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_config=PASS_CONFIG, tags={"estafette/why": str(found)[:200]})]
    )


@dg.sensor(
    job_name="dispatch",
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for lanes of their own when a sender has more to send than some seconds' worth.",
)
def much_to_send(context: dg.SensorEvaluationContext, home: HomeResource) -> dg.SensorResult | dg.SkipReason:
    """A dispatch when a sender's backlog is more than a pass sends by itself."""
    opened = home.open()
    try:
        waiting = backlog(opened.ledger, to_us(opened.clock()), int(opened.wall() * US))
        with opened.ledger.read() as tx:
            paces: dict[str, float] = dict(tx.exec_driver_sql("SELECT name, ceiling FROM sender").all())
        held = [lease.name for lease in opened.ledger.leases()]
        end_dead_runs(opened.ledger, context.instance)
    finally:
        opened.close()
    if not waiting:  # nearly always: Dagster need not be asked
        return dg.SkipReason("nothing waits to be sent")
    started = context.instance.get_run_records(
        dg.RunsFilter(job_name="dispatch", statuses=[dg.DagsterRunStatus.STARTED])
    )
    ending = sum(time.time() - (run.start_time or 0.0) > RUN_SECONDS - HANDOVER for run in started)
    runs = len(started) + _runs(context.instance, "dispatch", ACTIVE)
    why_not = wants_dispatch(waiting, paces, held, runs, ending)
    return dg.SkipReason(why_not) if why_not is not None else dg.SensorResult(run_requests=[dg.RunRequest()])


def held_and_waiting(home: Home, instance: dg.DagsterInstance) -> tuple[bool, int]:
    """Whether a pass is at work (whoever runs it), and how many runs of it are on their way."""
    return pass_held(home), _runs(instance, "one_pass", ACTIVE)


def pass_held(home: Home) -> bool:
    """Whether a pass is at work, whoever runs it."""
    home.ledger.cut_leases()
    return any(lease.name == PASS for lease in home.ledger.leases())


def _runs(instance: dg.DagsterInstance, job: str, statuses: list[dg.DagsterRunStatus]) -> int:
    return instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=statuses))
