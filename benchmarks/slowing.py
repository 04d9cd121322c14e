"""Slowing down: the pace over time where Meta says that it is too fast (130429), and one person at a time (131056).

Both run real lanes against the sandbox, which enforces the limits. In the first a sender is configured for 100 messages
a second and the sandbox takes 60: the pace is halved at a refusal and comes back by a twentieth each five seconds, and
nothing is lost. In the second each person has three messages at once, and the sandbox takes one per person and six
seconds: the others wait for that person only.
"""

import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

from benchmarks import homes
from benchmarks.harness import Benchmark, program, say
from benchmarks.render import TEMPLATE
from journey.pacing import faster
from pipelines.sending import Sending
from resources.home import Home
from sandbox import Config
from sandbox.testing import Box, running

PACE, TAKEN = 100, 60
PEOPLE, SENDERS = 20, 3


def main() -> int:
    given = program("slowing", __doc__)
    bench = Benchmark("slowing", "Where Meta asks for less", quick=given.quick)
    too_fast(bench, 5 if given.quick else 90)
    if not given.quick:
        one_by_one(bench)
    bench.save()
    return 0


def too_fast(bench: Benchmark, seconds: int) -> None:
    """130429: prints the pace in force and what came through, over time."""
    box_config = Config(rate=TAKEN, mode="silent", port=0, keep_bodies=False)
    with tempfile.TemporaryDirectory(prefix="estafette-slowing-") as folder, running(box_config) as box:
        home = homes.write_home(Path(folder) / "home", box.url, people=TAKEN * seconds, pace=PACE)
        box.put_templates(TEMPLATE)
        planned = homes.plan_all(home)
        opened = Home(home)
        opened.reload()
        say(f"  130429: configured {PACE} a second, the sandbox takes {TAKEN}")
        say("    second  pace in force  accepted a second  refused a second")
        began, paces, every = time.monotonic(), list[float](), 1.0 if seconds < 30 else 5.0
        with Sending(opened, threading.Event()) as sending:
            sending.start()
            before: Counter[str] = Counter()
            while sending.busy() and time.monotonic() - began < seconds * 4:
                time.sleep(every)
                report, second = sending.reports[0], time.monotonic() - began
                counts = Counter({"accepted": report.accepted, "refused": report.refused})
                rates = {name: (counts[name] - before[name]) / every for name in counts}
                before = counts
                paces.append(pace_of(opened))
                bar = "#" * round(paces[-1] / 2)
                rest = f"{rates['accepted']:>17.1f}  {rates['refused']:>16.1f}  {bar}"
                say(f"    {second:>6.0f}  {paces[-1]:>13.1f}  {rest}")
        lasted = time.monotonic() - began
        opened.close()
        states, summary = homes.states(home), box.summary()
        assert states == {"accepted": planned}, states
        assert summary["max_copies"]["per_person_and_template"] == 1
        told = f"{planned / lasted:.0f} a second; pace between {min(paces):.0f} and {max(paces):.0f}, none lost"
        bench.goal(f"130429: {PACE} configured, {TAKEN} taken", "nothing lost", told, True)


def pace_of(home: Home) -> float:
    with home.ledger.read() as tx:
        row = tx.exec_driver_sql("SELECT pace, ceiling, slowed_at FROM sender WHERE name = 's0'").one()
    since = (home.wall() * 1_000_000 - row.slowed_at) / 1e6 if row.slowed_at is not None else 1e9
    return faster(row.pace, row.ceiling, since) if row.slowed_at is not None else float(row.ceiling)


def one_by_one(bench: Benchmark) -> None:
    """131056: three campaigns write to the same people at once, from one number."""
    box_config = Config(rate=0, pair_rate=True, pair_burst=1, mode="silent", port=0)
    with tempfile.TemporaryDirectory(prefix="estafette-slowing-") as folder, running(box_config) as box:
        home = homes.write_home(Path(folder) / "home", box.url, people=PEOPLE, pace=80)
        first = (home / "campaigns/offer_0.yaml").read_text()
        for n in range(1, SENDERS):
            (home / f"campaigns/offer_0_{n}.yaml").write_text(first.replace("offer_0", f"offer_0_{n}", 1))
        box.put_templates(TEMPLATE)
        planned = homes.plan_all(home)
        opened = Home(home)
        opened.reload()
        began = time.monotonic()
        with Sending(opened, threading.Event()) as sending:
            while homes.states(home).get("accepted", 0) < planned and time.monotonic() - began < 300:
                sending.start()  # a lane waits a minute for messages that are to be tried again; the next goes on
                time.sleep(1.0)
        opened.close()
        told = told_of(box, time.monotonic() - began)
        say(f"  131056: {planned} messages to {PEOPLE} people at once; {told}")
        assert homes.states(home) == {"accepted": planned}, homes.states(home)
        bench.goal(f"131056: {SENDERS} messages at once to each of {PEOPLE}", "nothing lost", told, True)


def told_of(box: Box, seconds: float) -> str:
    """How far apart one person's messages came, and how often the sandbox refused."""
    stamps = defaultdict(list)
    for row in box.accepted(bodies=False):
        stamps[row["to"]].append(row["mono_ns"] / 1e9)
    gaps = [b - a for times in stamps.values() for a, b in zip(sorted(times), sorted(times)[1:], strict=False)]
    refused = len(box.messages(bodies=False)) - len(box.accepted(bodies=False))
    return f"all out in {seconds:.0f} s, {min(gaps):.1f} s apart at least for one person, {refused} refusals, none lost"


if __name__ == "__main__":
    sys.exit(main())
