"""The webhook receiver: signed deliveries, each on disk before it is answered; group commit beside a sync each.

Estafette's gateway runs as `estafette serve` runs it. The alternative is the same gateway with a log that writes and
syncs each line by itself before it answers. 64 clients post one delivery after the other; what was answered with 200 is
counted in the log afterwards.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from pydantic import SecretStr

from benchmarks import homes
from benchmarks.deliveries import SECRET, Poster, Status, delivery, signed
from benchmarks.harness import Benchmark, Meter, Way, program
from benchmarks.processes import Session
from gateway import app
from gateway.log import LandingLog

CLIENTS = 64


def main() -> int:
    if len(sys.argv) == 4 and sys.argv[1] == "--serve":
        return serve(Path(sys.argv[2]), sys.argv[3])
    given = program("receiver", __doc__)
    requests = 4_000 if given.quick else 60_000
    bench = Benchmark("receiver", "Webhooks on disk before the answer", quick=given.quick)
    ways = [Way(name, receive, {"kind": name, "requests": requests}) for name in ("group commit", "a sync each")]
    what = f"{requests:,} signed deliveries from {CLIENTS} clients; CPU is the gateway's"
    found = bench.compare(what, ways, unit="deliveries", repeats=1 if given.quick else 5)
    ours, plain = found["group commit"], found["a sync each"]
    ratio = plain.wall_median / ours.wall_median
    told = f"{ratio:.1f}×, {ours.items / ours.wall_median:,.0f} a second"
    bench.goal("receiver, beside a sync each", "≥ 3.5×", told, ratio >= 3.5)
    bench.save()
    return 0


def receive(meter: Meter, kind: str, requests: int) -> None:
    now = int(time.time())
    bodies = [
        signed(delivery([Status(f"wamid.{n}", "delivered", now, f"estafette:bench:1:{n}:{n}")], homes.number(0)))
        for n in range(requests)
    ]
    with tempfile.TemporaryDirectory(prefix="estafette-receiver-") as folder:
        home = homes.write_home(Path(folder), "http://127.0.0.1:9", people=1, pace=80)
        with homes.started(home, "benchmarks.receiver", "--serve", str(home), kind) as run, Session(run.pid) as session:
            address = home / "address"
            homes.until(address.exists, 60, while_runs=run)
            url = address.read_text()
            uvloop.run(_post(url, bodies[:200]))  # warm
            cpu = session.cpu()
            with meter(requests):
                seconds = uvloop.run(_post(url, bodies))
            meter.cpu, meter.rss = session.cpu() - cpu, session.memory()
        lines = sum(file.read_bytes().count(b"\n") for file in (home / "landing/webhooks").glob("*.ndjson"))
        assert lines == requests + min(200, requests), f"{lines} lines of {requests} deliveries"
        meter.figures["p50 ms"] = statistics.median(seconds) * 1000
        meter.figures["p99 ms"] = statistics.quantiles(seconds, n=100)[-1] * 1000


async def _post(url: str, requests: list[bytes]) -> list[float]:
    poster = Poster(url, CLIENTS)
    await poster.open()
    for request in requests:
        poster.waiting.append(request)
    poster.go()
    while not poster.done:
        await asyncio.sleep(0.01)
    assert poster.posted.refused == 0, poster.posted.refused
    return poster.posted.seconds


class SyncEach(LandingLog):
    """The plain log: a line is written and synced where it comes in."""

    async def append(self, line: bytes) -> None:
        self._write(line + b"\n")


def serve(home: Path, kind: str) -> int:
    """The gateway, in a process of its own; says where it is in the file `address`."""
    if kind != "group commit":
        setattr(app, "LandingLog", SyncEach)  # noqa: B010 - the house has no door for it

    def ready(address: str) -> None:
        hidden = home / ".address"
        hidden.write_text(address)
        hidden.replace(home / "address")

    secret = SecretStr(SECRET)
    app.serve(home, port=0, app_secret=secret, verify_token=secret, ready=ready)
    return 0


if __name__ == "__main__":
    sys.exit(main())
