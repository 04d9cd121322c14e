"""Taking in: webhook logs of statuses, contacts and events, from a file in the landing zone to ledger and lake.

The log has sent, delivered and read of each message, one to three statuses a line, as the gateway writes it, and a few
lines that are no JSON. Beside the take-in stands a pydantic model a line, which only reads: nothing is matched, folded
or written. Contacts and events come as Parquet files.
"""

import sys
import tempfile
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel

from benchmarks.bulk_home import NOON, drop_contacts, drop_events, drop_statuses, fill_messages, make_home, take_lease
from benchmarks.harness import Benchmark, Meter, Way, exponent, program
from pipelines.take_in import take_in_files
from resources.deliveries import take_in_webhooks
from resources.home import Clock
from resources.unswept import unswept

MESSAGES = (3_000, 30_000, 100_000, 1_000_000)
ROWS = (10_000, 100_000, 1_000_000)
BAD = 500


def main() -> int:
    given = program("intake", __doc__)
    bench = Benchmark("intake", "Taking in statuses, contacts and events", quick=given.quick)
    costs: list[float] = []
    sizes = list(MESSAGES[:1] if given.quick else MESSAGES)
    for messages in sizes:
        ways = [Way("Estafette", statuses, {"messages": messages})]
        if messages == sizes[-1]:
            ways.append(Way("a pydantic model a line, reading alone", models, {"messages": min(messages, 100_000)}))
        repeats = 1 if given.quick else 3 if messages < MESSAGES[-1] else 2  # the last takes a minute a run
        found = bench.compare(f"{3 * messages:,} statuses of a log", ways, repeats=repeats, unit="statuses")
        costs.append(found["Estafette"].wall_median)
    mine, theirs = found["Estafette"], found["a pydantic model a line, reading alone"]
    rate, full = mine.items / mine.wall_median, not given.quick
    told = f"{rate:,.0f}/s, {mine.cpu_an_item * 1e6:.1f} µs of CPU each; the models {theirs.cpu_an_item * 1e6:.1f} µs"
    bench.goal("take in a webhook log", "≥ 80,000 statuses a second" if full else "", told,
               rate >= 80_000 if full else None)  # fmt: skip
    if full:
        growth = exponent(sizes[1:], costs[1:])
        bench.goal(
            "statuses, cost as work grows", "", f"exponent {growth:.2f} from {3 * sizes[1]:,} to {3 * sizes[-1]:,}"
        )
    for what, work in (("contacts", contacts), ("events", events)):
        counts = ROWS[:1] if given.quick else ROWS
        rows = [
            bench.compare(f"{n:,} {what}", [Way(f"{n:,}", work, {"rows": n})], repeats=1, unit=what) for n in counts
        ]
        if full:
            growth = exponent(counts, [one.wall_median for row in rows for one in row.values()])
            bench.goal(f"{what}, cost as work grows", "", f"exponent {growth:.2f} from {counts[0]:,} to {counts[-1]:,}")
    bench.save()
    return 0


def statuses(meter: Meter, messages: int) -> None:
    with tempfile.TemporaryDirectory(prefix="estafette-intake-") as folder:
        home = make_home(Path(folder) / "home", audience=1)
        lease = take_lease(home)
        fill_messages(home, messages)
        lines, told = drop_statuses(home, messages, BAD)
        home.clock = Clock(NOON + timedelta(hours=6))
        with unswept(), meter(told):  # as a pass is
            taken = take_in_webhooks(home, lease, home.clock(), final=True)
        assert (taken.lines, taken.statuses, taken.quarantined) == (lines, told, BAD)
        with home.ledger.read() as tx:
            read = tx.exec_driver_sql("SELECT count(*) FROM message WHERE state = 'read'").scalar_one()
        assert read == messages
        meter.figures["lines"] = lines
        home.close()


def contacts(meter: Meter, rows: int) -> None:
    with tempfile.TemporaryDirectory(prefix="estafette-intake-") as folder:
        home = make_home(Path(folder) / "home", audience=1)
        lease = take_lease(home)
        drop_contacts(home.path, 0, rows)
        with unswept(), meter(rows):
            take_in_files(home, lease, home.clock(), final=True)
        assert home.contacts.count() == rows
        home.close()


def events(meter: Meter, rows: int) -> None:
    with tempfile.TemporaryDirectory(prefix="estafette-intake-") as folder:
        home = make_home(Path(folder) / "home", audience=1)
        lease = take_lease(home)
        drop_events(home.path, 0, rows, rows)
        with unswept(), meter(rows):
            taken = take_in_files(home, lease, home.clock(), final=True)
        assert sum(one.new for one in taken.events) == rows
        home.close()


# -- the plain alternative: what a line holds as models ----------------------------------------------------------------


class Origin(BaseModel):
    type: str | None = None


class Conversation(BaseModel):
    id: str | None = None
    origin: Origin | None = None


class Pricing(BaseModel):
    billable: bool | None = None
    pricing_model: str | None = None
    type: str | None = None
    category: str | None = None


class Status(BaseModel):
    id: str
    status: str
    timestamp: str
    recipient_id: str | None = None
    biz_opaque_callback_data: str | None = None
    conversation: Conversation | None = None
    pricing: Pricing | None = None


class Value(BaseModel):
    messaging_product: str
    statuses: list[Status] = []


class Change(BaseModel):
    field: str
    value: Value


class Entry(BaseModel):
    id: str
    changes: list[Change]


class Delivery(BaseModel):
    object: str
    entry: list[Entry]


class Line(BaseModel):
    received_at: str
    body: str


def models(meter: Meter, messages: int) -> None:
    with tempfile.TemporaryDirectory(prefix="estafette-intake-") as folder:
        home = make_home(Path(folder) / "home", audience=1)
        fill_messages(home, messages)
        _, told = drop_statuses(home, messages)
        found = 0
        with meter(told), next((home.path / "landing/webhooks").glob("*.ndjson")).open("rb") as log:
            for line in log:
                delivery = Delivery.model_validate_json(Line.model_validate_json(line).body)
                found += sum(len(change.value.statuses) for entry in delivery.entry for change in entry.changes)
        assert found == told
        home.close()


if __name__ == "__main__":
    sys.exit(main())
