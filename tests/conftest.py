"""Fixtures for all tests: `make_home` writes a project home and gives a `Stage`, `sandbox` is Meta's stand-in.

What belongs here also: what keeps the whole suite short. Which tests go to which worker stands in `tests.workers`.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from sandbox import Config
from sandbox.testing import Box, running
from tests import workers
from tests.stage import NOON, Stage, write_home

# No test has a time to keep: machines that build are busy.
settings.register_profile("estafette", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("estafette")

# Processes that tests start find what Python has compiled for those before them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""Bytes that a disk in memory must have free to be used for homes; those of tests that passed are deleted at once."""

if "PYTEST_DEBUG_TEMPROOT" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM:
    # Thousands of homes sync what they write, and no test can see that a disk really did: `faults.power` watches it.
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes on a quiet machine may take long on one with other things to do; what takes longest begins
    first, where several work."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: workers.turn(item.nodeid))
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3_600))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Tests that wait for processes and pauses leave a core idle: half as many workers again as there are cores."""
    cores = os.cpu_count() or 1
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else cores + (cores + 1) // 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return workers.scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def _compiled_once() -> Iterator[None]:
    """All ledgers of a process share what SQLAlchemy makes of a statement; else each of thousands has its own."""
    shared: LRUCache[Any, Any] = LRUCache(5_000)

    def connected(connection: sa.Connection) -> None:
        connection.execution_options(compiled_cache=shared)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SQLiteDialect_pysqlite, "__hash__", lambda one: hash(type(one)))
        patch.setattr(SQLiteDialect_pysqlite, "__eq__", lambda one, other: type(one) is type(other))
        sa.event.listen(sa.Engine, "engine_connect", connected)
        yield
        sa.event.remove(sa.Engine, "engine_connect", connected)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the secrets, the home or the clock of whoever runs it."""
    for name in list(os.environ):
        if name.startswith(("WHATSAPP_", "ESTAFETTE_", "DAGSTER_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bulk writes leave no pauses where nobody else waits."""
    monkeypatch.setattr("resources.ledger.chunks.__defaults__", (5_000, 0.0))


@pytest.fixture
def make_home(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """A home with a campaign `offer` (one message, template `hello`) to three people, unless said otherwise; `now` is
    noon UTC, 1 December 2026. Keywords as `write_home`."""
    made: list[Stage] = []

    def make(now: datetime | str = NOON, folder: str = "home", **files: Any) -> Stage:
        moment = datetime.fromisoformat(now) if isinstance(now, str) else now
        stage = Stage(write_home(tmp_path / folder, **files), moment)
        made.append(stage)
        return stage

    yield make
    for stage in made:
        stage.home.close()


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Box]:
    """Meta's stand-in, standing still at noon; nobody acts by themselves; webhooks go to `tmp_path`/webhooks.ndjson."""
    log = tmp_path / "webhooks.ndjson"
    with running(Config(now="2026-12-01T12:00:00Z", mode="manual", rate=0, webhook_log=log)) as box:
        yield box
