"""The stores as Dagster resources: the only module of `resources/` that knows Dagster.

What belongs here: opening a home for a run, and holding the lease `pass` for as long as the run lasts.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from pydantic import Field, PrivateAttr

from journey.problems import LedgerError
from resources.alive import alive, keep
from resources.damage import refuse_damage
from resources.home import HOME, NOW, Clock, Home
from resources.interrupts import signals
from resources.lease_names import PASS
from resources.ledger import Lease, Ledger, holder_name
from resources.settings import read_now
from resources.unswept import unswept
from resources.vitals import note_failed_pass


class HomeResource(dg.ConfigurableResource["HomeResource"]):
    """A project home. Empty fields: ESTAFETTE_HOME (else the working directory) and ESTAFETTE_NOW (else real time)."""

    path: str = Field(default="", description="The project home.")
    now: str = Field(default="", description="A time at which the campaign's clock stands still: tests, replays.")

    def open(self) -> Home:
        """The home, opened; whoever opens it closes it."""
        path = Path(self.path or os.environ.get(HOME) or ".")
        now = self.now or os.environ.get(NOW, "")
        return Home(path, Clock(read_now(path, now) if now else None))


class PassResource(HomeResource):
    """The right to make a pass: an open home, and the lease `pass`, renewed until the run is over."""

    linger: float = Field(default=0.0, description="Seconds to go on looking for work after the last that came.")
    backlog: float = Field(
        default=0.0, description="Senders with more seconds of backlog are left to `dispatch`; 0: none are."
    )
    wait: float = Field(default=600.0, description="Seconds to wait for another pass to end.")

    _home: Home | None = PrivateAttr(default=None)
    _lease: Lease | None = PrivateAttr(default=None)

    @property
    def home(self) -> Home:
        assert self._home is not None, "only within a run"
        return self._home

    @property
    def lease(self) -> Lease:
        assert self._lease is not None, "only within a run"
        return self._lease

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["PassResource"]:
        home = self.open()
        try:
            ledger = home.ledger
            run_id = context.run.run_id if context.run else ""
            with alive(ledger, run_id):
                lease = _wait(ledger, self.wait, f"run {run_id}")
                with keep(ledger, lease, home.doing), unswept():
                    _look_over(home)
                    self._home, self._lease = home, lease
                    yield self
        finally:
            self._home = self._lease = None
            home.close()


def _look_over(home: Home) -> None:
    """Whether a pass can be made at all. EstafetteError: it can't, as is written down for whoever looks."""
    try:
        home.reload()
        home.mark.set()
        refuse_damage(home)
    except Exception as error:
        note_failed_pass(home, error)
        raise


def _wait(ledger: Ledger, seconds: float, note: str) -> Lease:
    """The lease `pass`, as soon as it is free. LedgerError when that takes longer than `seconds`."""
    stop = threading.Event()
    deadline = time.monotonic() + seconds
    with signals(stop) as came:  # Dagster keeps signals back until the first op begins
        while not stop.is_set():
            lease = ledger.take(PASS, holder_name(), note=note)
            if lease is not None:
                return lease
            if time.monotonic() > deadline:
                holder = next((row for row in ledger.leases() if row.name == PASS), None)
                raise LedgerError(
                    f"another pass is at work{f' ({holder.holder}, {holder.note})' if holder else ''}",
                    mend="It takes everything along; run this again when it has ended",
                )
            stop.wait(0.25)
    assert came.is_set()
    raise dg.DagsterExecutionInterruptedError
