"""The sender: the job `dispatch` with its ledger against a Cloud API with TLS and 200 ms, beside stock httpx.

Dagster runs the job as it does in production, in processes of its own; the server stamps what it gets. Told are the
busiest sliding second, the mean over the minute from the first message, and the CPU of all of Estafette's processes
while messages flow. `httpx.AsyncClient` is given the same bodies at the same pace, without a ledger.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import httpx

from benchmarks import cloud, homes
from benchmarks.harness import Benchmark, Meter, Way, program
from benchmarks.processes import Session

LATENCY = 0.2
COMING_UP = 60.0
BODY = {"messaging_product": "whatsapp", "to": "+33600000000", "type": "text", "text": {"body": "x" * 400}}
HEADERS = {"Authorization": "Bearer sandbox-token"}


def main() -> int:
    given = program(
        "sender",
        __doc__,
        lambda made: made.add_argument("--pace", type=int, default=1000),
        lambda made: made.add_argument("--seconds", type=float),
        lambda made: made.add_argument("--repeats", type=int),
    )
    seconds = given.seconds or (4.0 if given.quick else 60.0)
    repeats = given.repeats or (1 if given.quick else 3)
    bench = Benchmark("sender", "Sending at the pace of a number, 200 ms, TLS", quick=given.quick)
    given_ways = {"pace": given.pace, "seconds": seconds}
    ways = [
        Way("the job dispatch", dispatch, given_ways),
        Way(
            "stock httpx.AsyncClient",
            stock,
            {**given_ways, "seconds": 2.0 if given.quick else min(seconds, 5.0)},
            repeats=1,
        ),
    ]
    found = bench.compare(f"{given.pace:,} messages a second for {seconds:g} s", ways, repeats=repeats, unit="messages")
    own, plain = found["the job dispatch"], found["stock httpx.AsyncClient"]
    most, rate, cores = max(map(float, own.figures["busiest second"])), own.figure("mean a second"), own.figure("cores")
    bench.goal("sender, busiest sliding second", f"≤ {given.pace:,}", f"{most:,.0f}", most <= given.pace)
    share = rate / given.pace
    told = f"{share:.1%}; stock httpx {plain.figure('mean a second'):.0f} a second"
    bench.goal("sender, mean of the pace", "≥ 97 %", told, share >= 0.97)
    bench.goal("sender, CPU of all its processes", "≤ 1 core", f"{cores:.2f} cores", cores <= 1.0)
    if not given.quick:
        bench.save()
        several(bench, given.pace, min(seconds, 30.0))
    bench.save()
    return 0


def several(bench: Benchmark, pace: int, seconds: float) -> None:
    """One to five senders at once: how many hold their pace, and what is at its end where one does not."""
    cores = os.cpu_count() or 1
    numbers = (1, 2, 3, 5)
    ways = [Way(f"{n} senders", dispatch, {"pace": pace, "seconds": seconds, "senders": n}) for n in numbers]
    found = bench.compare(f"several senders at {pace:,}, {cores} cores", ways, repeats=1, unit="messages")
    held, told = 0, []
    for n, row in zip(numbers, found.values(), strict=True):
        rate, busiest = row.figure("mean a second"), row.figure("busiest process")
        if rate >= 0.97 * n * pace:
            held = n
        else:
            told.append(f"{n}: {rate:,.0f} a second, its busiest process at {busiest:.2f} of a core")
    bench.goal("senders that hold", "as many as do", "; ".join([f"{held} of {numbers[-1]}", *told]))


def dispatch(meter: Meter, pace: int, seconds: float, senders: int = 1) -> None:
    with tempfile.TemporaryDirectory(prefix="estafette-sender-") as folder, cloud.running(Path(folder)) as server:
        home = homes.write_home(
            Path(folder) / "home", server.url, people=int(pace * (seconds + 3)), pace=pace, senders=senders
        )
        planned = homes.plan_all(home)
        job = homes.started(home, *homes.job("dispatch"), certificate=server.certificate)
        with job as run, Session(run.pid, 0.2) as session:
            homes.until(lambda: server.count() > 0, COMING_UP, while_runs=run)
            time.sleep(1.0)
            began, before = time.monotonic(), session.by_process()
            meta = Session(server.process.pid, alone=True)
            server_before = meta.cpu()
            homes.until(lambda: server.count() >= planned - pace * senders, seconds * 4 + COMING_UP, while_runs=run)
            lasted = time.monotonic() - began
            parts = [cpu - before.get(pid, 0.0) for pid, cpu in session.by_process().items()]
            used = sum(parts)
            meter.figures["cores"] = used / lasted
            meter.figures["busiest process"] = max(parts) / lasted
            meter.figures["cores of the server"] = (meta.cpu() - server_before) / lasted
            assert run.wait(COMING_UP) == 0, (home / "dagster.log").read_text(errors="replace")[-3000:]
        found = server.stamps()
        assert found.copies == 1
        assert homes.states(home) == {"accepted": planned}, homes.states(home)
        meter.items, meter.wall, meter.cpu, meter.rss = planned, lasted, used, session.peak
        meter.items = round((planned - 1) / (found.all[-1] - found.all[0]) * 1e9 * lasted)
        meter.figures["mean a second"] = cloud.mean_rate(found.all, seconds)
        worst = max(cloud.most_in_a_second(stamps) for stamps in found.numbers.values())
        meter.figures["busiest second"] = worst


def stock(meter: Meter, pace: int, seconds: float) -> None:
    """Bodies at the pace through one `AsyncClient` of httpx's own transport, with no limit on connections."""
    with tempfile.TemporaryDirectory(prefix="estafette-sender-") as folder, cloud.running(Path(folder)) as server:
        os.environ["SSL_CERT_FILE"] = str(server.certificate)
        with meter(0):
            asyncio.run(_stock(server.url, pace, seconds))
        found = server.stamps()
        meter.items = len(found.all)
        meter.figures["mean a second"] = len(found.all) / seconds
        meter.figures["busiest second"] = cloud.most_in_a_second(found.all)
        meter.figures["cores"] = meter.cpu / meter.wall


async def _stock(url: str, pace: int, seconds: float) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    began = time.monotonic()
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=True) as client:
        tasks: list[asyncio.Task[httpx.Response]] = []
        while (now := time.monotonic()) < began + seconds:
            while len(tasks) < (now - began) * pace and sum(not task.done() for task in tasks[-400:]) < 400:
                post = client.post(f"{url}/v25.0/{homes.number(0)}/messages", json=BODY, headers=HEADERS)
                tasks.append(asyncio.create_task(post))
            await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    sys.exit(main())
