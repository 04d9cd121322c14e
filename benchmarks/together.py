"""Sender and receiver at once, on one machine: 1,000 messages a second out, 3,000 statuses a second in.

Everything runs as in production: the job `dispatch`, a live pass that takes in the webhook log each second and
publishes each half minute, and the gateway. The server that plays Meta stamps what comes and posts sent, delivered and
read of each message in small signed deliveries; it runs on the same cores. At the end every message must have all three
times in the ledger, and the lake one row a status.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

from benchmarks import cloud, homes
from benchmarks.harness import Benchmark, Meter, Way, program
from benchmarks.processes import Session
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
    way = Way("all of it", together, {"pace": given.pace, "seconds": seconds})
    what = f"{given.pace:,} messages a second out and {3 * given.pace:,} statuses in, {seconds:g} s"
    found = bench.compare(what, [way], repeats=1, unit="messages")["all of it"]
    share, most = found.figure("mean a second") / given.pace, found.figure("busiest second")
    bench.goal("both at once, pace", "≥ 97 %", f"{share:.1%}", share >= 0.97)
    bench.goal("both at once, busiest sliding second", f"≤ {given.pace:,}", f"{most:,.0f}", most <= given.pace)
    lost = found.figure("lost")
    told = f"{lost:.0f} of {found.items * 3:,.0f} statuses, {found.figure('folded after s'):.0f} s after the last"
    bench.goal("both at once, lost", "none", told, lost == 0)
    bench.save()
    return 0


def together(meter: Meter, pace: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="estafette-together-") as folder:
        home = homes.write_home(Path(folder) / "home", "http://127.0.0.1:9", people=int(pace * seconds), pace=pace)
        planned = homes.plan_all(home)
        # Made before the two jobs start: processes that make Dagster's storage at once trip over each other.
        dg.DagsterInstance.from_config(str(prepare(home))).dispose()
        config = home / "pass.json"
        config.write_text(json.dumps(PASS_CONFIG))
        with homes.started(home, "benchmarks.receiver", "--serve", str(home), "group commit") as gateway:
            homes.until((home / "address").exists, COMING_UP, while_runs=gateway)
            with cloud.running(Path(folder), statuses=(home / "address").read_text()) as server:
                (home / ".env").write_text(f"WHATSAPP_API_URL={server.url}\nWHATSAPP_TOKEN=sandbox-token\n")
                _run(meter, home, server, gateway.pid, config, planned, seconds, pace)


def _run(
    meter: Meter,
    home: Path,
    server: cloud.Cloud,
    gateway: int,
    config: Path,
    planned: int,
    seconds: float,
    pace: int,
) -> None:
    live = homes.started(home, *homes.job("one_pass"), "-c", str(config), certificate=server.certificate)
    job = homes.started(home, *homes.job("dispatch"), certificate=server.certificate)
    with live as passing, job as run:
        parts = {"dispatch": run.pid, "pass": passing.pid, "gateway": gateway, "Meta": server.process.pid}
        sessions = {name: Session(pid, alone=name == "Meta") for name, pid in parts.items()}
        homes.until(lambda: server.count() > pace, COMING_UP, while_runs=run)
        before, began = {name: session.cpu() for name, session in sessions.items()}, time.monotonic()
        homes.until(lambda: server.count() >= planned - pace, seconds * 4 + COMING_UP, while_runs=run)
        lasted = time.monotonic() - began
        cores = {name: (session.cpu() - before[name]) / lasted for name, session in sessions.items()}
        memory = sum(session.memory() for name, session in sessions.items() if name != "Meta")
        run.wait(COMING_UP)
        homes.until(lambda: server.statuses()["waiting"] == 0, SETTLING, while_runs=passing)
        posted = time.monotonic()
        homes.until(lambda: _missing(home, planned) == 0, SETTLING, while_runs=passing)
        folded = time.monotonic() - posted
    found = server.stamps()
    opened = Home(home)
    rows = opened.lake.scan("message_events").collect().height
    opened.close()
    assert found.copies == 1
    meter.items, meter.wall, meter.rss = planned, (found.all[-1] - found.all[0]) / 1e9, memory
    meter.cpu = sum(cores[name] for name in ("dispatch", "pass", "gateway")) * meter.wall
    meter.figures["mean a second"] = cloud.mean_rate(found.all, seconds - 1)
    meter.figures["busiest second"] = cloud.most_in_a_second(found.all)
    meter.figures |= {f"cores {name}": value for name, value in cores.items()}
    meter.figures["lost"] = 3 * planned - rows
    meter.figures["refused and posted again"] = found.statuses["refused"]
    meter.figures["folded after s"] = folded


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
