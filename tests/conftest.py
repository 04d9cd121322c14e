"""Fixtures for all tests: `make_home` writes a project home and gives a `Stage`, `sandbox` is Meta's stand-in."""

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from sandbox import Config
from sandbox.testing import Box, running
from tests.stage import NOON, Stage, write_home

# No test has a time to keep: machines that build are busy.
settings.register_profile("estafette", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("estafette")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes on a quiet machine may take long on one with other things to do."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3_600))


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
