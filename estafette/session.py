"""What every command has in common: the home it works on, its clock, and how it speaks.

What belongs here: the three options of every command (`--home`, `--now`, `--json`) and the one way in which a command
hands over what it found: one JSON document, or a drawing for people, on stdout; remarks and progress on stderr. Heavy
libraries are imported when a command needs them: `estafette --help` must not wait for them.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from journey.problems import EstafetteError

if TYPE_CHECKING:
    from rich.console import Console

    from resources.home import Home

HOME = "ESTAFETTE_HOME"
NOW = "ESTAFETTE_NOW"
SETTINGS = "estafette.yaml"
WIDE = 160  # columns where nobody's terminal sets a limit
_COMMANDS = re.compile("[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal would obey, or what is no character; JSON itself escapes only the first 32."""


@dataclass(frozen=True, slots=True)
class Session:
    """One command at work. `given_home` and `given_now` are the options as they were written."""

    given_home: str | None = None
    given_now: str | None = None
    json: bool = False

    @property
    def home(self) -> Path:
        """The project home: --home, else ESTAFETTE_HOME, else the folder one stands in."""
        return Path(self.given_home or os.environ.get(HOME) or ".").resolve()

    @property
    def now(self) -> datetime | None:
        """The turned clock in UTC, or None for real time. A time without a zone is in the settings' timezone.

        UsageError: it is no time.
        """
        text = self.given_now or os.environ.get(NOW)
        if not text:
            return None
        from resources.settings import read_now

        return read_now(self.home, text)

    def look(self) -> Path:
        """The folder of the home, for what opens it later itself. EstafetteError where it is none."""
        if not (self.home / SETTINGS).is_file():
            raise EstafetteError(
                f"there is no {SETTINGS} in {self.home}",
                mend="Make a project home with `estafette init DIR`, or name yours with --home or ESTAFETTE_HOME",
            )
        return self.home

    @contextmanager
    def open(self, *, settings: bool = True) -> Iterator["Home"]:
        """The home, open. EstafetteError where the folder is none; with `settings`, also where they can't be used."""
        self.look()
        from resources.home import open_home

        now = self.now
        with open_home(self.home, now) as home:
            if settings:
                _ = home.project.settings
            yield home

    def show(self, document: Mapping[str, Any], draw: Callable[["Console"], None]) -> None:
        """Hand over what was found: the document with --json, else what `draw` draws."""
        if self.json:
            print_json(document)
            return
        draw(console())

    def note(self, text: str) -> None:
        """A remark on the way, on stderr: never part of what was found."""
        console(stderr=True).print(text, style="dim")


def console(*, stderr: bool = False) -> "Console":
    """A console that shows every text as it is: what comes from files turns into no markup and commands no terminal."""
    from estafette.terminal import Terminal

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDE
    return Terminal(file=stream, markup=False, highlight=False, emoji=False, width=width)


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on stdout. Times are ISO 8601; what JSON does not know is written as text."""
    text = json.dumps(document, ensure_ascii=False, indent=2, default=_plain)
    sys.stdout.write(_COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")
    sys.stdout.flush()


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
