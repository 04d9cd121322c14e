"""A large campaign: from `estafette run` to the first POST, and until everyone is planned for.

Contacts and events lie in the lake as an intake leaves them. The audience is an SQL segment over both (who bought in
180 days and not in the last 30), its message a template with a header, four variables and a URL button. `estafette run`
is the process that a person starts: it evaluates the segment, lets people in, plans and sends at 80 messages a second,
the default of a number, to a server on this machine; it is stopped once everyone is planned for. Beside it stands the
same query in DuckDB alone, over the same files: an audience, of which nobody has been written to yet.
"""

import os
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from benchmarks import cloud, homes
from benchmarks.bulk_home import SEGMENT, fill, make_home, open_home, take_lease
from benchmarks.harness import Benchmark, Meter, Way, exponent, program
from benchmarks.processes import Session
from pipelines.publish import publish

SIZES = ((10_000, 50_000, 1_000), (100_000, 500_000, 10_000), (1_000_000, 5_000_000, 100_000))
WHOLE = (10_000_000, 50_000_000, 1_000_000)
PATIENCE = 1800.0


def main() -> int:
    given = program("campaign", __doc__)
    bench = Benchmark("campaign", "A large audience: start → first POST, start → all planned", quick=given.quick)
    costs: list[float] = []
    sizes = SIZES[:1] if given.quick else (*SIZES, WHOLE)
    for contacts, events, audience in sizes:
        size = {"contacts": contacts, "events": events, "audience": audience}
        ways = [Way("Estafette, all of it", run, size), Way("DuckDB, the audience alone", query, size)]
        what = f"{audience:,} people out of {contacts:,} contacts and {events:,} events"
        found = bench.compare(what, ways, repeats=1, unit="people")["Estafette, all of it"]
        costs.append(found.figure("all planned after s"))
    posted, planned = found.figure("first POST after s"), found.figure("all planned after s")
    peak = found.figure("peak MB of the pass")
    whole = not given.quick
    bench.goal("start → first POST", "≤ 15 s" if whole else "", f"{posted:.1f} s", posted <= 15 if whole else None)
    bench.goal("start → all planned", "≤ 60 s" if whole else "", f"{planned:.1f} s", planned <= 60 if whole else None)
    bench.goal("peak memory", "≤ 2 GB" if whole else "", f"{peak:,.0f} MB", peak <= 2_000 if whole else None)
    if whole:
        audiences = [audience for _, _, audience in sizes]
        growth = exponent(audiences[1:], costs[1:])
        told = f"exponent {growth:.2f} from {audiences[1]:,} to {audiences[-1]:,} people"
        bench.goal("a campaign, cost as work grows", "", told)
    bench.save()
    return 0


def run(meter: Meter, contacts: int, events: int, audience: int) -> None:
    with tempfile.TemporaryDirectory(prefix="estafette-campaign-") as folder, cloud.running(Path(folder)) as server:
        home = Path(folder) / "home"
        prepared(home, contacts, events, audience, server.url)
        opened = open_home(home)
        began = time.monotonic()
        with homes.started(home, "estafette", "run", "offer", certificate=server.certificate) as process:
            with meter(audience), Session(process.pid, 0.2) as session:
                homes.until(lambda: server.count() > 0, PATIENCE, while_runs=process)
                meter.figures["first POST after s"] = time.monotonic() - began
                query = "SELECT COALESCE((SELECT max(id) FROM message), 0) + COALESCE((SELECT max(id) FROM skip), 0)"

                def planned() -> bool:
                    with opened.ledger.read() as tx:
                        return int(tx.exec_driver_sql(query).scalar_one()) >= audience

                homes.until(planned, PATIENCE, while_runs=process)
                meter.figures["all planned after s"] = time.monotonic() - began
                used = session.cpu()
                meter.figures["peak MB of the pass"] = session.peak / 1e6
            os.kill(process.pid, signal.SIGTERM)
            process.wait(60)
            opened.close()
        meter.cpu = used  # of the pass until then; this process only looked on
        found = server.stamps()
        meter.figures["sent meanwhile"] = len(found.all)
        assert found.copies == 1


def query(meter: Meter, contacts: int, events: int, audience: int) -> None:
    with tempfile.TemporaryDirectory(prefix="estafette-campaign-") as folder:
        home = Path(folder) / "home"
        prepared(home, contacts, events, audience, "http://127.0.0.1:9")
        opened = open_home(home)
        people, happened = (list(map(str, opened.lake.files(name))) for name in ("contacts", "events"))
        opened.close()
        with meter(audience), duckdb.connect(":memory:", config={"memory_limit": "2GB"}) as con:
            con.execute("SET TimeZone = 'UTC'")
            con.execute(f"CREATE VIEW contacts AS FROM read_parquet({people})")
            con.execute(f"CREATE VIEW events AS FROM read_parquet({happened})")
            found = con.sql(SEGMENT.format(audience=audience)).to_arrow_table()
        assert found.num_rows == audience


def prepared(path: Path, contacts: int, events: int, audience: int, url: str) -> None:
    """A home with so many people, published once, as after every intake."""
    home = make_home(path, audience=audience, api_url=url)
    fill(home, contacts, events, until=datetime.now(UTC))
    publish(home, take_lease(home))
    with home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE lease SET until = 0")
    home.close()


if __name__ == "__main__":
    sys.exit(main())
