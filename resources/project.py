"""A project home read from disk: settings, campaigns, segments, templates, and everything that is wrong with them.

What belongs here: which files there are, reading them, and which campaigns are live. What a file must say is settled by
`journey` and `settings`; nothing here writes. One bad file never stops the others: it becomes a finding, and a campaign
that depends on it has a hole.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from journey.audience import Segment, check_segments, load_segment, references
from journey.audience import properties as properties_of
from journey.audience_schema import segment_schema
from journey.campaign import Campaign
from journey.campaign_reading import read_campaign
from journey.check import CheckContext, find
from journey.check_values import FILTERED_COLUMNS, OF_EVERY_CONTACT
from journey.editor_schema import editor_schema
from journey.language import CampaignFile
from journey.pricing import RateCard
from journey.problems import Level, Problem, ProjectError
from journey.properties import PropertyType
from journey.source import Source, dotted, parse_source
from journey.spelling import suggest
from journey.steps import UpdateStep
from journey.template import Template, parse_library
from resources.containing import reaches_further, unforeseen
from resources.rates import load_rates
from resources.segment_guard import check_query
from resources.settings import FILE, Settings, load_settings

LARGEST_FILE = 4_000_000  # bytes; a template definition or a query is a few thousand


@dataclass(frozen=True, slots=True)
class Paths:
    """Where things are in a project home."""

    home: Path

    @property
    def landing(self) -> Path:
        """What comes in."""
        return self.home / "landing"

    @property
    def data(self) -> Path:
        """What Estafette keeps."""
        return self.home / "data"

    @property
    def ledger(self) -> Path:
        """The ledger's file, where no other ledger is configured."""
        return self.data / "ledger.sqlite"

    @property
    def lake(self) -> Path:
        """The folder of immutable Parquet files."""
        return self.data / "lake"

    @property
    def dagster(self) -> Path:
        """Dagster's own storage (`DAGSTER_HOME`)."""
        return self.data / "dagster"

    @property
    def analytics(self) -> Path:
        """The database for analysts."""
        return self.data / "analytics.duckdb"

    @property
    def tallies(self) -> Path:
        """What the files behind that database come to, counted once (`resources.tallies`)."""
        return self.data / "tallies.parquet"


@dataclass(frozen=True, kw_only=True)
class Project:
    """What a project home says.

    `campaigns`, by the file's stem: all that can be read, also drafts and those with holes. `holes`: for each campaign
    that has any (also those that cannot be read), the errors that keep it from being live. `problems`: every finding of
    every file, warnings too, file by file. `sources`: the campaigns' files with their lines. `segments` by name,
    `templates` by (name, language): those that can be used. `rates`: the rate card.
    """

    paths: Paths
    settings_or_none: Settings | None
    campaigns: Mapping[str, Campaign]
    holes: Mapping[str, list[Problem]]
    problems: tuple[Problem, ...]
    sources: Mapping[str, Source]
    segments: Mapping[str, Segment]
    templates: Mapping[tuple[str, str], Template]
    rates: RateCard = field(default_factory=RateCard)

    @property
    def settings(self) -> Settings:
        """The settings. Raises ProjectError with its findings where `estafette.yaml` is missing or cannot be used."""
        if self.settings_or_none is None:
            raise ProjectError([problem for problem in self.problems if problem.file == FILE])
        return self.settings_or_none

    def live_campaigns(self) -> dict[str, Campaign]:
        """The campaigns that enter and send: without holes and not drafts. None without usable settings.

        A template that is not approved does not stop a campaign: it holds the messages concerned.
        """
        if self.settings_or_none is None:
            return {}
        return {name: one for name, one in self.campaigns.items() if name not in self.holes and not one.draft}

    @classmethod
    def load(
        cls,
        home: Path,
        *,
        properties: Collection[str] | Mapping[str, PropertyType] | None = None,
        contacts_loaded: bool = True,
        returned: Mapping[str, tuple[str, ...]] | None = None,
        pools: Mapping[str, int] | None = None,
        people: Mapping[str, int] | None = None,
        now: datetime | None = None,
    ) -> "Project":
        """Reads a project home. Never raises for what its files hold.

        `properties`: the names of known contact properties, or their types by name (those that the settings state, and
        those that campaigns write, are added); None where they are not known here. `contacts_loaded`: an unknown
        property is an error then, else a warning. `returned`: the further columns of SQL segments, `people`: how many
        segments name, `pools`: the free codes of coupon pools, where they were looked at. `now` (UTC): finds times that
        are over.
        """
        problems: list[Problem] = []
        settings = _settings(home, problems)
        segments, broken = _segments(home, problems)
        templates = _templates(home, problems)
        rates, found_in_rates = load_rates(home)
        problems += found_in_rates
        campaigns: dict[str, Campaign] = {}
        holes: dict[str, list[Problem]] = {}
        sources: dict[str, Source] = {}
        unread: list[Problem] = []
        read: dict[str, list[Problem]] = {}
        for path, text in _texts(home, "campaigns", ".yaml", unread, holes):
            try:
                campaign, source, found = read_campaign(text, _relative(home, path))
            except Exception as error:
                campaign, source, found = None, None, [_failed_on(_relative(home, path), error)]
            if campaign is not None and source is not None:
                campaigns[path.stem], sources[path.stem] = campaign, source
            read[path.stem] = found
        stated = settings.properties if settings is not None else {}
        types = {**(properties if isinstance(properties, Mapping) else {}), **stated}
        if properties is not None:
            properties = {*properties, *stated, *_written(campaigns.values())}
        context = CheckContext(
            timezone=settings.timezone if settings is not None else None,
            senders=set(settings.senders) if settings is not None else None,
            templates=templates,
            segments=set(segments),
            broken_segments=broken,
            columns={**(returned or {}), **{name: () for name, one in segments.items() if one.kind == "yaml"}},
            properties=properties,
            types=types,
            stated=stated,
            contacts_loaded=contacts_loaded,
            base_url=settings.links.base_url if settings is not None else None,
            stop_words=settings.stop_words.all if settings is not None else (),
            pools=pools,
            people=people or {},
            rates=rates,
            region=settings.region if settings is not None else None,
            now=now,
        )
        problems += _segment_properties(segments, context)
        problems += unread
        for name, found in read.items():
            errors = list(found)
            if name in campaigns:
                try:
                    findings = find(campaigns[name], sources[name], context)
                except Exception as error:
                    errors.append(_failed_on(f"campaigns/{name}.yaml", error))
                    found = [*found, errors[-1]]
                else:
                    found = sorted([*found, *findings.all()], key=lambda one: (one.line, one.field))
                    errors += findings.holes
            if errors:
                holes[name] = errors
            problems += found
        return cls(
            paths=Paths(home),
            settings_or_none=settings,
            campaigns=campaigns,
            holes=holes,
            problems=tuple(problems),
            sources=sources,
            segments=segments,
            templates=templates,
            rates=rates,
        )


def _failed_on(file: str, error: Exception) -> Problem:
    """A hole: Estafette itself failed on a file, and the others go on. What reaches further is raised again."""
    if reaches_further(error):
        raise error
    return Problem(file, 0, "", unforeseen(error), "Leave out what it has that others have not, and report the fault.")


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schemas by kind of file (campaign, segment, settings), for editors that complete and check them."""
    return {
        "campaign": editor_schema(CampaignFile),
        "segment": segment_schema(),
        "settings": editor_schema(Settings),
    }


def _settings(home: Path, problems: list[Problem]) -> Settings | None:
    path = home / FILE
    if not path.exists():
        mend = "Make a project home with `estafette init DIR`, or name yours with --home or ESTAFETTE_HOME."
        problems.append(Problem(FILE, 0, "", f"there is no {FILE} in {home}", mend))
        return None
    text = _text(home, path, problems)
    if text is None:
        return None
    settings, found = load_settings(text, FILE)
    problems += found
    return settings


def _segments(home: Path, problems: list[Problem]) -> tuple[dict[str, Segment], set[str]]:
    """The usable segments, and the names of those that are not."""
    segments: dict[str, Segment] = {}
    unread: dict[str, list[Problem]] = {}
    for ending in (".sql", ".yaml"):
        for path, text in _texts(home, "segments", ending, problems, unread):
            name, file = path.stem, _relative(home, path)
            segment, found = load_segment(text, file)
            if name in segments:
                what = f"{segments[name].file} has the same name"
                found = [Problem(file, 1, "", what, "Rename or remove one of the two.")]
            elif segment is not None:
                segments[name] = segment
            if found:
                unread.setdefault(name, []).extend(found)
                problems += found
    between = [*check_segments(segments, set(unread)), *_refused(segments)]
    problems += between
    wrong = {problem.file for problem in between}
    broken = set(unread) | {name for name, one in segments.items() if one.file in wrong}
    while more := {name for name, one in segments.items() if name not in broken and _needs(one) & broken}:
        broken |= more
    return {name: one for name, one in segments.items() if name not in broken}, broken


def _refused(segments: Mapping[str, Segment]) -> list[Problem]:
    """SQL segments that are no single SELECT over contacts and events."""
    return [problem for one in segments.values() if one.kind == "sql" for problem in check_query(one)]


def _needs(segment: Segment) -> set[str]:
    return {name for _, name in references(segment)}


def _written(campaigns: Iterable[Campaign]) -> set[str]:
    """The properties that campaigns write: nobody may have one of them yet."""
    steps = [step for campaign in campaigns for step in campaign.steps.values()]
    return {name for step in steps if isinstance(step, UpdateStep) for name in step.set}


def _segment_properties(segments: Mapping[str, Segment], context: CheckContext) -> list[Problem]:
    """Properties in filters that nobody has. No hole: what a filter does with a missing property is defined."""
    problems: list[Problem] = []
    if context.properties is None:
        return problems
    known = {*context.properties, *OF_EVERY_CONTACT, *FILTERED_COLUMNS}
    for segment in segments.values():
        source, _ = parse_source(segment.text, segment.file) if segment.kind == "yaml" else (None, [])
        for path, name in properties_of(segment):
            if source is not None and name not in known and name.partition(".")[0] not in known:
                what, mend = f"no known contact has the property `{name}`", suggest(name, known, none="")
                level: Level = "error" if context.contacts_loaded else "warning"
                problems.append(Problem(segment.file, source.line(path), dotted(path), what, mend, level))
    return problems


def _templates(home: Path, problems: list[Problem]) -> dict[tuple[str, str], Template]:
    definitions: dict[str, object] = {}
    for path, text in _texts(home, "templates", ".json", problems, {}):
        file, again = _relative(home, path), "Run `estafette templates pull` to fetch it again."
        try:
            definitions[file] = json.loads(text)
        except json.JSONDecodeError as error:
            problems.append(Problem(file, error.lineno, "", f"not JSON: {error.msg}", again))
        except (ValueError, RecursionError):  # a number of 5,000 digits, a thousand brackets
            problems.append(Problem(file, 1, "", "not JSON that can be read", again))
    templates, found = parse_library(definitions)
    problems += found
    return templates


def _texts(
    home: Path, folder: str, ending: str, problems: list[Problem], unread: dict[str, list[Problem]]
) -> Iterator[tuple[Path, str]]:
    """The readable files of a folder by name, with their texts; `unread` gets the stems of the others."""
    directory = home / folder
    try:
        paths = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        return
    except OSError as error:
        problems.append(Problem(folder, 0, "", f"the folder cannot be read: {error.strerror}", "See its permissions."))
        return
    for path in paths:
        if ending == ".yaml" and path.suffix.lower() in (".yml", ".yaml") and path.suffix != ".yaml":
            what, mend = "files with this ending are not read", f"Rename it to {path.stem}.yaml."
            problems.append(Problem(_relative(home, path), 0, "", what, mend, "warning"))
        if path.suffix != ending or path.is_dir():
            continue
        text = _text(home, path, problems)
        if text is None:
            unread.setdefault(path.stem, []).append(problems[-1])
        else:
            yield path, text


def _text(home: Path, path: Path, problems: list[Problem]) -> str | None:
    """A file's text, byte for byte (line ends and BOM stay), or None and a finding."""
    file = _relative(home, path)
    try:
        folder = path.parent.resolve()
        if path.is_symlink() and path.exists() and folder not in path.resolve().parents:
            what, mend = "it is a link to a file elsewhere", "Put the file itself here: findings show what it says."
            problems.append(Problem(file, 0, "", what, mend))
            return None
        if not path.is_file() and path.exists():  # to read a pipe is to wait for ever
            problems.append(Problem(file, 0, "", "it is no ordinary file", "Put a file here, or rename it."))
            return None
        if path.stat().st_size > LARGEST_FILE:
            what = f"the file has {path.stat().st_size:,} bytes; the most that is read is {LARGEST_FILE:,}"
            problems.append(Problem(file, 0, "", what, "Is it in the right folder?"))
            return None
        data = path.read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        problems.append(Problem(file, 0, "", f"the file cannot be read: {error.strerror}", "See its permissions."))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.append(Problem(file, line, "", "the file is not UTF-8 text", "Save it as UTF-8."))
    return None


def _relative(home: Path, path: Path) -> str:
    return path.relative_to(home).as_posix()
