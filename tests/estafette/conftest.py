"""A home as `estafette init` makes it, a real sandbox, and the command line as a person uses it."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from estafette import population, scaffold
from estafette.cli import main
from sandbox.config import Config
from sandbox.testing import Box, running

NOW = "2026-10-05T08:00:00Z"
START = datetime(2026, 10, 5, 8, tzinfo=UTC)
TOKEN = "EAAG-a-token-nobody-may-see"
VARIABLES = (
    "ESTAFETTE_HOME", "ESTAFETTE_NOW", "ESTAFETTE_LEDGER_URL", "ESTAFETTE_DEBUG", "WHATSAPP_API_URL", "WHATSAPP_TOKEN",
    "WHATSAPP_APP_SECRET", "WHATSAPP_VERIFY_TOKEN", "WHATSAPP_API_VERSION",
)  # fmt: skip


@dataclass
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, which must be one JSON document and nothing else."""
        return json.loads(self.out)


Cli = Callable[..., Result]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A new home whose secrets are in .env; nobody listens at its address. Its path is one that tools trip over."""
    made = tmp_path / "l'été [home] *"
    scaffold.make(made)
    write_env(made, "http://127.0.0.1:9")
    return made


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """One command on the home, at NOW unless told otherwise."""

    def run(*arguments: str, now: str | None = NOW) -> Result:
        capsys.readouterr()
        turned = ["--now", now] if now else []
        code = main([*arguments, "--home", str(home), *turned] if "--" not in arguments else list(arguments))
        said = capsys.readouterr()
        assert "Traceback" not in said.err + said.out
        assert TOKEN not in said.err + said.out
        return Result(code, said.out, said.err)

    return run


@pytest.fixture
def box(home: Path) -> Iterator[Box]:
    """A sandbox that the home talks to, its clock standing at NOW."""
    with running(Config(port=0, token=TOKEN, now=NOW, rate=0)) as made:
        write_env(home, made.url)
        yield made


@pytest.fixture
def people(tmp_path: Path) -> tuple[Path, Path]:
    """Files of fifty people and their purchases."""
    made = population.make(50, START)
    contacts, purchases = tmp_path / "people.csv", tmp_path / "purchases.ndjson"
    contacts.write_text(made.contacts, encoding="utf-8")
    purchases.write_text(made.events, encoding="utf-8")
    return contacts, purchases


def write_env(home: Path, url: str) -> None:
    lines = {
        "WHATSAPP_API_URL": url,
        "WHATSAPP_TOKEN": TOKEN,
        "WHATSAPP_APP_SECRET": "a-secret",
        "WHATSAPP_VERIFY_TOKEN": "a-verify-token",
    }
    (home / ".env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
