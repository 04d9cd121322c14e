"""From an event file to the POST: how long a trigger takes, cold, with a pass at work, and during a bulk send.

Dagster runs as `make dev` starts it, beside the sandbox. A round drops one event file at a random moment and waits for
its message at the sandbox. Cold: the passes of this daemon hardly linger, and each round finds it idle. Live: they
linger as they do in production, and all rounds but the first find one at work. Bulk: a campaign to everybody goes out
meanwhile from the same number, in lanes of the job `dispatch`.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import dagster as dg

from benchmarks import homes
from benchmarks.harness import ROOT, Benchmark, Measured, program, say
from benchmarks.render import TEMPLATE
from estafette import dev
from pipelines.run import prepare
from resources.home import Home
from sandbox import Config
from sandbox.testing import Box, running

READY, PATIENCE = 120.0, 60.0
PACE = 80
Round = tuple[float, float | None, float | None]
"""Seconds from the file to the POST, to the run's request and to its start (None: a pass was at work already)."""


def main() -> int:
    given = program(
        "trigger_latency",
        __doc__,
        lambda made: made.add_argument("--rounds", type=int),
        lambda made: made.add_argument("--contacts", type=int),
        lambda made: made.add_argument("--only", choices=["cold", "live", "bulk"]),
    )
    rounds = given.rounds or (2 if given.quick else 30)
    contacts = given.contacts or (5_000 if given.quick else 50_000)
    bench = Benchmark("trigger_latency", "From an event file to the POST", quick=given.quick)
    goals = {"cold": (6.0, 8.0), "live": (None, 2.0), "bulk": (None, 2.0)}
    modes = [given.only] if given.only else ["bulk"] if given.quick else list(goals)
    for mode in modes:
        found = measured(mode, rounds, contacts)
        times = sorted(whole for whole, _, _ in found)
        p50, p95 = statistics.median(times), statistics.quantiles(times, n=20, method="inclusive")[-1]
        figures = {"p50 s": (p50,), "p95 s": (p95,), "most s": (times[-1],)} | _parts(found)
        row = Measured(mode, len(times), tuple(times), (0.0,), (0,), figures)
        bench.keep(f"{mode}, {contacts:,} contacts", "triggers", [row])
        most50, most95 = goals[mode]
        goal = (f"p50 ≤ {most50:g} s, " if most50 else "") + f"p95 ≤ {most95:g} s"
        met = p95 <= most95 and (most50 is None or p50 <= most50)
        bench.goal(f"event → POST, {mode}", goal, f"p50 {p50:.1f} s, p95 {p95:.1f} s", met)
    bench.save()
    return 0


def measured(mode: str, rounds: int, contacts: int) -> list[Round]:
    with tempfile.TemporaryDirectory(prefix="estafette-latency-") as folder, contextlib.ExitStack() as stack:
        box = stack.enter_context(running(Config(mode="silent", rate=0, port=0)))
        box.put_templates(TEMPLATE, homes.PICKUP)
        path = homes.write_home(Path(folder), box.url, people=contacts, pace=PACE, triggers=True)
        # Made before the daemon starts: two processes that make Dagster's storage at once spoil it.
        instance = dg.DagsterInstance.from_config(str(prepare(path)))
        if mode == "bulk":
            homes.plan_all(path)
        stack.enter_context(daemon(path, live=mode != "cold"))
        if mode == "bulk":  # until the job `dispatch` is what sends
            _until(lambda: _at_work(instance, "dispatch") and len(box.accepted(bodies=False)) > PACE, READY)
        found = rounds_of(path, instance, box, rounds, mode)
        if mode == "bulk":
            assert _at_work(instance, "dispatch"), "the bulk was over too soon: give more contacts"
        return found


@contextlib.contextmanager
def daemon(path: Path, *, live: bool) -> Iterator[None]:
    """Dagster's pages and daemon, as `make dev` starts them."""
    given = argparse.Namespace(ui_port=homes.free_port(), port=homes.free_port(), sandbox_port=0)
    environment = dev.environment_of(path, os.environ, 0) | {"DAGSTER_HOME": str(prepare(path))}
    environment["PYTHONPATH"] = str(ROOT)
    command = dev.commands_of(given, environment)["dagster"]
    if not live:
        command[command.index("pipelines.definitions")] = "benchmarks.short_linger"
    log = (path / "dagster.log").open("wb")
    child = subprocess.Popen(command, cwd=path, env=environment, start_new_session=True, stdout=log, stderr=log)
    try:
        yield
    except TimeoutError:
        say((path / "dagster.log").read_text(errors="replace")[-3000:])
        raise
    finally:
        dev.end([child])
        log.close()


def rounds_of(path: Path, instance: dg.DagsterInstance, box: Box, rounds: int, mode: str) -> list[Round]:
    home = Home(path)
    found: list[Round] = []
    _until(home.contacts.loaded, READY)
    for number in range(rounds):
        if mode == "cold":
            _until(lambda: not home.ledger.leases() and not instance.get_runs(_UNFINISHED), READY)
        time.sleep(random.uniform(0.5, 6.0))
        dropped = _drop(path, number)
        _until(partial(_arrived, box, number + 1), PATIENCE)
        whole = time.time() - dropped
        run = instance.get_run_records(dg.RunsFilter(job_name="one_pass"), limit=1)[0]
        requested, started = run.create_timestamp.replace(tzinfo=UTC).timestamp(), run.start_time
        if requested > dropped and started is not None:
            found.append((whole, requested - dropped, started - dropped))
        else:  # a pass was at work already
            found.append((whole, None, None))
        say(f"    {mode} {number + 1}: " + ", ".join("-" if one is None else f"{one:.2f}" for one in found[-1]))
    home.close()
    return found


def _parts(found: list[Round]) -> dict[str, tuple[float | str, ...]]:
    """The medians up to the run's request and its start, where rounds had a run of their own."""
    parts: dict[str, tuple[float | str, ...]] = {}
    for name, column in (("to the request s", 1), ("to its start s", 2)):
        times = [one[column] for one in found if one[column] is not None]
        if times:
            parts[name] = (statistics.median(time for time in times if time is not None),)
    return parts


def _at_work(instance: dg.DagsterInstance, job: str) -> bool:
    return bool(instance.get_runs(dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.STARTED]), limit=1))


_UNFINISHED = dg.RunsFilter(
    statuses=[dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
)


def _drop(path: Path, number: int) -> float:
    """One event in a file of its own; gives when it lay there."""
    event = {
        "event": "order_status_changed",
        "contact_id": f"c{number}",
        "occurred_at": datetime.now(UTC).isoformat(),
        "properties": {"status": "Ready for pickup", "order_number": f"A{number}"},
    }
    hidden = path / f"landing/events/.{number}.ndjson"
    hidden.write_text(json.dumps(event) + "\n")
    hidden.rename(hidden.with_name(f"{number}.ndjson"))
    return time.time()


def _arrived(box: Box, messages: int) -> bool:
    return len(box.accepted(template="pickup", bodies=False)) >= messages


def _until(what: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
