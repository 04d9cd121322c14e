"""People at a split: a campaign's participants move on by whether they have read, all of them due at once.

Everyone stands at a message with `on_read`; a half has read it, and for the others the time is over. `advance` moves
them as sets. Beside it the same code moves them one by one, a transaction each, as engines do that keep a job or a
workflow per person; that is measured on fewer and told per person.
"""

import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from benchmarks.bulk_home import NOON, fill, fill_messages, make_home, take_lease
from benchmarks.harness import Benchmark, Meter, Way, exponent, program
from journey.clock import to_us
from pipelines.advance import advance
from pipelines.campaigns import know_campaigns
from resources.home import Clock, Home
from resources.ledger import Lease

SIZES = (10_000, 100_000, 1_000_000)
_READ = "UPDATE message SET state = 'read', read_at = accepted_at + 1000000 WHERE id % 2 = 0"
_DUE = "UPDATE participant SET wake_at = ? WHERE id BETWEEN ? AND ?"


def main() -> int:
    given = program("split", __doc__)
    bench = Benchmark("split", "Participants through a read split", quick=given.quick)
    sizes = SIZES[:1] if given.quick else SIZES
    costs: list[float] = []
    for people in sizes:
        ways = [Way("Estafette", at_once, {"people": people})]
        if people == sizes[-1]:
            ways.append(Way("one by one", one_by_one, {"people": 100 if given.quick else 10_000}, repeats=1))
        found = bench.compare(f"{people:,} people", ways, repeats=1 if given.quick else 3, unit="people")
        costs.append(found["Estafette"].wall_median)
    mine, theirs = found["Estafette"], found["one by one"]
    ratio, peak = theirs.wall_an_item / mine.wall_an_item, max(mine.rss) / 1e9
    told = f"{mine.wall_median:.1f} s, {peak:.1f} GB; one by one {ratio:.0f} times as long each"
    met = mine.wall_median <= 10 and peak <= 1.5
    bench.goal(f"{sizes[-1]:,} people through a split", "≤ 10 s, ≤ 1.5 GB" if not given.quick else "", told,
               met if not given.quick else None)  # fmt: skip
    if not given.quick:
        growth = exponent(SIZES, costs)
        bench.goal(
            "a split, cost as work grows", "", f"exponent {growth:.2f} from {SIZES[0]:,} to {SIZES[-1]:,} people"
        )
    bench.save()
    return 0


def at_once(meter: Meter, people: int) -> None:
    with tempfile.TemporaryDirectory(prefix="estafette-split-") as folder:
        home, lease = _standing(Path(folder), people)
        _wake(home, 1, people)
        with meter(people):
            moved = advance(home, lease, home.clock())
        assert moved == people
        home.close()


def one_by_one(meter: Meter, people: int) -> None:
    with tempfile.TemporaryDirectory(prefix="estafette-split-") as folder:
        home, lease = _standing(Path(folder), people)
        for i in range(1, people + 1):
            _wake(home, i, i)
            with meter(people):
                moved = advance(home, lease, home.clock())
            assert moved == 1
        home.close()


def _standing(folder: Path, people: int) -> tuple[Home, Lease]:
    home = make_home(folder / "home", audience=1)
    lease = take_lease(home)
    fill(home, 1_000, 0)
    know_campaigns(home, lease, home.clock())
    fill_messages(home, people)
    with home.ledger.write() as tx:
        tx.exec_driver_sql(_READ)
    home.clock = Clock(NOON + timedelta(days=2))
    return home, lease


def _wake(home: Home, low: int, high: int) -> None:
    with home.ledger.write() as tx:
        tx.exec_driver_sql(_DUE, (to_us(NOON + timedelta(days=1)), low, high))


if __name__ == "__main__":
    sys.exit(main())
