"""Stop: from the moment at which a campaign is stopped, or the run is terminated, to the last POST.

The job `dispatch` sends at 1,000 messages a second with 200 ms latency when, at some moment, the campaign is stopped by
what `estafette stop` and the page do, or Dagster's run is told to end (SIGTERM). The server's stamps say when the last
POST came. Afterwards no message may be unknown, and none stamped without an answer.
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import cloud, homes
from benchmarks.harness import Benchmark, Meter, Way, program
from journey.clock import to_us
from resources.home import Home
from resources.stopping import stop_campaign

PACE = 1000


def main() -> int:
    given = program("stop", __doc__)
    bench = Benchmark("stop", "From stop to the last POST", quick=given.quick)
    how_many = 1 if given.quick else 2
    ways = [Way(how, stop, {"how": how}) for how in ("estafette stop", "terminate the run")[:how_many]]
    found = bench.compare("at 1,000 messages a second", ways, repeats=1 if given.quick else 5, unit="messages")
    for how, measured in found.items():
        worst = max(float(one) for one in measured.figures["last POST after s"])
        unknown = sum(float(one) for one in measured.figures["unknown"])
        told = f"at most {worst:.2f} s, {unknown:.0f} unknown"
        bench.goal(f"{how} → last POST", "≤ 1 s, 0 unknown", told, worst <= 1.0 and unknown == 0)
    bench.save()
    return 0


def stop(meter: Meter, how: str) -> None:
    with tempfile.TemporaryDirectory(prefix="estafette-stop-") as folder, cloud.running(Path(folder)) as server:
        home = homes.write_home(Path(folder) / "home", server.url, people=PACE * 20, pace=PACE)
        homes.plan_all(home)
        job = homes.started(home, *homes.job("dispatch"), certificate=server.certificate)
        with job as run, meter(0):
            homes.until(lambda: server.count() >= PACE, 90, while_runs=run)
            time.sleep(random.uniform(0.5, 2.0))
            opened = Home(home)
            opened.reload()
            pressed = time.monotonic_ns()
            if how == "estafette stop":
                stop_campaign(opened.ledger, opened.project, "offer_0", "benchmark", to_us(opened.clock()))
            else:
                os.kill(run.pid, signal.SIGTERM)
            opened.close()
            run.wait(60)
        found, states = server.stamps(), homes.states(home)
        assert states.get("accepted", 0) == len(found.all), (states, len(found.all))
        assert found.copies == 1
        meter.items = len(found.all)
        meter.figures["last POST after s"] = max(0.0, (found.all[-1] - pressed) / 1e9)
        meter.figures["unknown"] = states.get("unknown", 0) + states.get("attempted", 0)


if __name__ == "__main__":
    sys.exit(main())
