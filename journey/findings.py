"""Where checks put what they find, and what they know while they look.

What belongs here: the collector of findings of one file and the context of a check. The checks themselves are
`check` and the rooms named after it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from journey.pricing import RateCard
from journey.problems import Level, Problem
from journey.properties import PropertyType
from journey.source import Path, Source, dotted
from journey.template import Template


@dataclass(frozen=True, kw_only=True)
class CheckContext:
    """What a campaign is checked against.

    `timezone` and `senders` are the settings' (None: the settings cannot be read; what depends on them is not checked).
    `templates` by (name, language). `segments`: the usable ones; `broken_segments`: those that have a finding of their
    own. `columns`: the further columns of a segment, where they are known (a YAML segment has none).
    `properties`: the names of known contact properties; None: nobody knows them here, and nothing is said of them.
    `types` says what they hold, where that is known, `stated` what the settings say of it. `contacts_loaded`: an
    unknown property is then an error, else a warning. `base_url`, `stop_words`: the settings' (of opting out). `pools`:
    the free codes of every coupon pool, and `people`: how many a segment names now, where it was asked. `rates`: the
    rate card, asked for phones of the `region`. `now` (UTC) finds times that are over. None: nobody knows it here, and
    nothing is said.
    """

    timezone: str | None
    senders: Collection[str] | None
    templates: Mapping[tuple[str, str], Template]
    segments: Collection[str]
    broken_segments: Collection[str] = ()
    columns: Mapping[str, Collection[str]] = field(default_factory=dict)
    properties: Collection[str] | None = None
    types: Mapping[str, PropertyType] = field(default_factory=dict)
    stated: Mapping[str, PropertyType] = field(default_factory=dict)
    contacts_loaded: bool = True
    base_url: str | None = None
    stop_words: Collection[str] = ()
    pools: Mapping[str, int] | None = None
    people: Mapping[str, int] = field(default_factory=dict)
    rates: RateCard | None = None
    region: str | None = None
    now: datetime | None = None


@dataclass
class Findings:
    """The findings of one file. A hole keeps the campaign from being live; what is not ready holds its messages."""

    source: Source
    holes: list[Problem] = field(default_factory=list)
    others: list[Problem] = field(default_factory=list)

    def hole(self, path: Path, what: str, mend: str) -> None:
        """An error that keeps the campaign from being live."""
        self._add(self.holes, path, what, mend, "error")

    def not_ready(self, path: Path, what: str, mend: str) -> None:
        """An error for `check`; what is live goes on and holds the messages concerned."""
        self._add(self.others, path, what, mend, "error")

    def warning(self, path: Path, what: str, mend: str) -> None:
        """Something that is probably not meant."""
        self._add(self.others, path, what, mend, "warning")

    def all(self) -> list[Problem]:
        """Every finding, by line."""
        return sorted([*self.holes, *self.others], key=lambda one: (one.line, one.field, one.level))

    def _add(self, found: list[Problem], path: Path, what: str, mend: str, level: Level) -> None:
        problem = Problem(self.source.file, self.source.line(path), dotted(path), what, mend, level)
        if problem not in found:  # the same hole in two languages of a template is one hole
            found.append(problem)
