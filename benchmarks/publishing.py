"""Publishing for analysts: nothing changed, a part changed, and everything anew.

Ten million messages with their bodies lie in the ledger and the lake, and are published once, which writes everything.
Then nothing has changed; then statuses have come for a million messages that follow each other. All of it is one
`publish` of the product each time.
"""

import sys
import tempfile
import time
from pathlib import Path

from benchmarks.bulk_home import fill, fill_messages, make_home, take_lease
from benchmarks.harness import Benchmark, Meter, Way, cpu_seconds, exponent, program
from pipelines.publish import publish
from resources.home import Home
from resources.ledger import Lease, mark_dirty

SIZES = (100_000, 1_000_000, 10_000_000)
CHANGED = 1_000_000
_READ = """UPDATE message SET state = 'read', sent_at = accepted_at, delivered_at = accepted_at, read_at = accepted_at
  WHERE id BETWEEN ? AND ?"""


def main() -> int:
    given = program("publishing", __doc__)
    bench = Benchmark("publishing", "Publishing for analysts", quick=given.quick)
    sizes = SIZES[:1] if given.quick else SIZES
    rows = [
        bench.compare(f"{n:,} messages", [Way("everything", whole, {"messages": n})], repeats=1, unit="messages")
        for n in sizes
    ]
    each = [row["everything"] for row in rows]
    nothing, changed = each[-1].figure("nothing changed s"), each[-1].figure("changed s")
    most = f"{sizes[-1]:,} messages"
    full = not given.quick
    bench.goal(f"publish, nothing of {most} changed", "≤ 0.3 s" if full else "", f"{nothing:.2f} s",
               nothing <= 0.3 if full else None)  # fmt: skip
    told = f"{changed:.1f} s; everything takes {each[-1].wall_median:.0f} s"
    bench.goal(f"publish, {min(CHANGED, sizes[-1] // 2):,} of {most} changed", "≤ 5 s" if full else "", told,
               changed <= 5 if full else None)  # fmt: skip
    if full:
        for what in ("nothing changed s", "changed s"):
            growth = exponent(SIZES, [one.figure(what) for one in each])
            told = f"exponent {growth:.2f} from {SIZES[0]:,} to {SIZES[-1]:,} messages"
            bench.goal(f"publish, {what.removesuffix(' s')}, cost as work grows", "", told)
        growth = exponent(SIZES, [one.wall_median for one in each])
        bench.goal("publish everything, cost as work grows", "", f"exponent {growth:.2f}")
    bench.save()
    return 0


def whole(meter: Meter, messages: int) -> None:
    with tempfile.TemporaryDirectory(prefix="estafette-publishing-") as folder:
        home = make_home(Path(folder) / "home", audience=1)
        lease = take_lease(home)
        fill(home, 1_000, 0)
        fill_messages(home, messages, bodies=True)
        with meter(messages):
            publish(home, lease)
        meter.figures["nothing changed s"], _, written = _publish(home, lease)
        assert written == 0
        some = min(CHANGED, messages // 2)
        with home.ledger.write() as tx:
            tx.exec_driver_sql(_READ, (1, some))
            mark_dirty(tx, "message", [*range(1, some, 50_000), some])
        meter.figures["changed"] = some
        meter.figures["changed s"], meter.figures["changed CPU s"], written = _publish(home, lease)
        assert written > 0
        home.close()


def _publish(home: Home, lease: Lease) -> tuple[float, float, int]:
    began, cpu = time.perf_counter(), cpu_seconds()
    published = publish(home, lease)
    return time.perf_counter() - began, cpu_seconds() - cpu, published.written


if __name__ == "__main__":
    sys.exit(main())
