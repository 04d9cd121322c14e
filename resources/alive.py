"""Alive: which runs of Dagster's still have a process.

What belongs here: keeping a lease from a thread, and the sign of life of a run, which is a lease of its own. Dagster
never learns that a run's process was killed: the run stays STARTED, and keeps its place among those that may be at work
at once for hours. Two such runs, and no pass would begin any more. They are ended by `pipelines.dead_runs`.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from journey.problems import LeaseLost, LedgerError
from resources.doing import Evaluating, noted
from resources.ledger import LEASE_SECONDS, US, Lease, Ledger, holder_name
from resources.tables import lease as leases

RUN = "run:"


@contextmanager
def keep(ledger: Ledger, lease: Lease, doing: Callable[[], Evaluating | None] = lambda: None) -> Iterator[None]:
    """Renew a lease from a thread of its own until the block ends, then give it back. What its holder is `doing` then
    stands in its note, from one renewal to the next."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(LEASE_SECONDS / 3):
            try:
                ledger.renew(lease, note=noted(lease.note, doing()))
            except LeaseLost:
                return  # the next write says so
            except (LedgerError, sa.exc.DBAPIError):
                continue  # busy or out of room: the next time, or the lease runs out

    thread = threading.Thread(name=f"keep {lease.name}", target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        ledger.release(lease)


@contextmanager
def alive(ledger: Ledger, run_id: str, part: str = "") -> Iterator[None]:
    """Within the block a run shows that it has a process; `part` tells those of one run apart."""
    name = f"{RUN}{run_id}:{part}"
    sign = ledger.take(name, holder_name(), note="alive")
    if sign is None:  # somebody shows it already
        yield
        return
    try:
        with keep(ledger, sign):
            yield
    finally:
        with ledger.write() as tx:  # one row a run would be many
            tx.execute(leases.delete().where(leases.c.name == name, leases.c.token == sign.token))


def alive_runs(ledger: Ledger) -> set[str]:
    """The runs that have a process."""
    now = int(ledger.wall() * US)
    with ledger.read() as tx:
        names = tx.execute(
            sa.select(leases.c.name).where(leases.c.name.startswith(RUN), leases.c.until > now)
        ).scalars()
        return {name.split(":")[1] for name in names}


def forget_dead(ledger: Ledger) -> None:
    """Take away the signs of runs that are gone."""
    with ledger.write() as tx:
        tx.execute(leases.delete().where(leases.c.name.startswith(RUN), leases.c.until <= int(ledger.wall() * US)))
