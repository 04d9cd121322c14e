"""Sender and receiver at once, on one machine: 1,000 messages a second out, 3,000 statuses a second in.

Everything runs as in production: the job `dispatch`, a live pass that takes in the webhook log each second and
publishes each half minute, and the gateway. The server that plays Meta stamps what comes and posts sent, delivered and
read of each message in small signed deliveries; it runs on the same cores. At the end every message must have all three
times in the ledger, and the lake one row a status.

The same without the statuses, and without the pass, shows what each takes from the pace; how long the sending thread
waited for a core, of each second, shows whether the cores are the wall.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks import cloud, homes
from benchmarks.harness import Benchmark, Meter, Way, program
from benchmarks.processes import Session, threads
from pipelines.run import prepare
from pipelines.sensors import PASS_CONFIG
from resources.home import Home

COMING_UP, SETTLING = 120.0, 120.0


def main() -> int:
    given = program(
        "together",
        __doc__,
        lambda made: made.add_argument("--pace", type=int, default=1000),
        lambda made: made.add_argument("--seconds", type=float),
    )
    seconds = given.seconds or (8.0 if given.quick else 300.0)
    bench = Benchmark("together", "Sender and receiver at once", quick=given.quick)
    whole = Way("all of it", together, {"pace": given.pace, "seconds": seconds})
    part = {"pace": given.pace, "seconds": min(seconds, 60.0)}
    ways = [whole, Way("no pass", together, {**part, "passing": False})]
    ways.append(Way("no statuses", together, {**part, "statuses": False}))
    what = f"{given.pace:,} messages a second out and {3 * given.pace:,} statuses in, {seconds:g} s"
    found = bench.compare(what, ways[:1] if given.quick else ways, repeats=1, unit="messages")["all of it"]
    share, most = found.figure("mean a second") / given.pace, found.figure("busiest second")
    enough = None if given.quick else share >= 0.97  # of some seconds the first one tells too much
    bench.goal("both at once, pace", "" if given.quick else "≥ 97 %", f"{share:.1%}", enough)
    bench.goal("both at once, busiest sliding second", f"≤ {given.pace:,}", f"{most:,.0f}", most <= given.pace)
    lost = found.figure("lost")
    told = f"{lost:.0f} of {found.items * 3:,.0f} statuses, {found.figure('folded after s'):.0f} s after the last"
    bench.goal("both at once, lost", "none", told, lost == 0)
    bench.save()
    return 0


def together(meter: Meter, pace: int, seconds: float, statuses: bool = True, passing: bool = True) -> None:
    """One run; without the statuses, or without the pass, for a part of it."""
    with tempfile.TemporaryDirectory(prefix="estafette-together-") as folder, contextlib.ExitStack() as stack:
        home = homes.write_home(Path(folder) / "home", "http://127.0.0.1:9", people=int(pace * seconds), pace=pace)
        planned = homes.plan_all(home)
        # Made before the two jobs start: processes that make Dagster's storage at once trip over each other.
        dg.DagsterInstance.from_config(str(prepare(home))).dispose()
        config = home / "pass.json"
        config.write_text(json.dumps(PASS_CONFIG))
        receiver = ("benchmarks.receiver", "--serve", str(home), "group commit")
        gateway = stack.enter_context(homes.started(home, *receiver))
        homes.until((home / "address").exists, COMING_UP, while_runs=gateway)
        to = (home / "address").read_text() if statuses else None
        server = stack.enter_context(cloud.running(Path(folder), statuses=to))
        (home / ".env").write_text(f"WHATSAPP_API_URL={server.url}\nWHATSAPP_TOKEN=sandbox-token\n")
        processes: dict[str, subprocess.Popen[Any]] = {"gateway": gateway, "Meta": server.process}
        jobs = {"pass": (*homes.job("one_pass"), "-c", str(config))} if passing else {}
        for name, job in (jobs | {"dispatch": homes.job("dispatch")}).items():
            processes[name] = stack.enter_context(homes.started(home, *job, certificate=server.certificate))
        _send(meter, server, processes, planned, seconds, pace)
        if statuses:
            homes.until(lambda: server.statuses()["waiting"] == 0, SETTLING)
            meter.figures["refused and posted again"] = server.statuses()["refused"]
        if statuses and passing:
            posted = time.monotonic()
            homes.until(lambda: _missing(home, planned) == 0, SETTLING, while_runs=processes["pass"])
            meter.figures["folded after s"] = time.monotonic() - posted
            meter.figures["lost"] = 3 * planned - _rows(home)


def _send(
    meter: Meter, server: cloud.Cloud, processes: Mapping[str, "subprocess.Popen[Any]"], planned: int, seconds: float,
    pace: int,
) -> None:  # fmt: skip
    """Wait until all is sent, and look at what it takes meanwhile."""
    run = processes["dispatch"]
    sessions = {name: Session(one.pid, alone=name == "Meta") for name, one in processes.items()}
    homes.until(lambda: server.count() > pace, COMING_UP, while_runs=run)
    before, began = {name: session.cpu() for name, session in sessions.items()}, time.monotonic()
    at_first = threads(run.pid)
    homes.until(lambda: server.count() >= planned - pace, seconds * 4 + COMING_UP, while_runs=run)
    lasted = time.monotonic() - began
    spent = [
        (ran - at_first[one][0], waited - at_first[one][1])
        for one, (ran, waited) in threads(run.pid).items()
        if one in at_first
    ]
    cores = {name: (session.cpu() - before[name]) / lasted for name, session in sessions.items()}
    memory = sum(session.memory() for name, session in sessions.items() if name != "Meta")
    run.wait(COMING_UP)
    found = server.stamps()
    assert found.copies == 1
    meter.items, meter.wall, meter.rss = planned, (found.all[-1] - found.all[0]) / 1e9, memory
    meter.cpu = sum(used for name, used in cores.items() if name != "Meta") * meter.wall
    meter.figures["mean a second"] = cloud.mean_rate(found.all, seconds - 1)
    meter.figures["busiest second"] = cloud.most_in_a_second(found.all)
    meter.figures |= {f"cores {name}": used for name, used in cores.items()}
    meter.figures["waits for a core"] = max(spent)[1] / lasted


def _rows(home: Path) -> int:
    """How many statuses the lake has."""
    opened = Home(home)
    try:
        return opened.lake.scan("message_events").collect().height
    finally:
        opened.close()


def _missing(home: Path, planned: int) -> int:
    """How many times of messages the ledger still lacks."""
    opened = Home(home)
    try:
        with opened.ledger.read() as tx:
            query = "SELECT count(sent_at) + count(delivered_at) + count(read_at) FROM message"
            return 3 * planned - int(tx.exec_driver_sql(query).scalar_one())
    finally:
        opened.close()


if __name__ == "__main__":
    sys.exit(main())
