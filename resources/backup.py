"""A backup: the ledger, the lake's files that it lists, the landing zone and the project's files, in one folder.

What belongs here: making one while everything runs, and looking whether one is whole. Putting one back is `restore`.

The ledger comes first, by SQLite's own backup; then what it lists. A file of the lake never changes, and one that is
replaced meanwhile stays for a day; landing files only grow or are replaced whole. So nothing that the ledger's copy
lists or has read is missing. The folder is made under another name and renamed: one of its name is whole. Secrets
(`.env`) are never in it.
"""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from journey.problems import EstafetteError, UsageError
from resources.home import Home
from resources.lake import check_of, wrong
from resources.landing import KINDS, NDJSON
from resources.ledger_files import copied_damage, facts_of, listed_files
from resources.on_disk import sync
from resources.tables import SCHEMA_VERSION

MANIFEST = "manifest.json"
FORMAT = 1
LEDGER = "data/ledger.sqlite"
LAKE = "data/lake"
PROJECT = ("campaigns", "segments", "templates", "rates")
SETTINGS = ("estafette.yaml", "dagster.yaml")
DERIVED = "export/"
"""Files of the lake that a publish makes again: one that is gone is no loss."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup. `files`: path in the folder → bytes. `lost`: files of the lake that the ledger lists and that were gone
    or damaged when it was made. `made_at` is real time, `clock` the campaign's. `checks`: path → check sum (backups of
    before there were any have none)."""

    path: Path
    installation: str
    epoch: int
    schema: int
    version: str
    made_at: datetime
    clock: datetime
    files: dict[str, int]
    lost: tuple[str, ...] = ()
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(self.files.values())


def make_backup(home: Home, target: Path) -> Backup:
    """Copy the home into `target`, a folder that is empty or not there yet. EstafetteError: it can't be, and nothing is
    left of it."""
    target = target.resolve()
    _admit(home, target)
    hidden = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        hidden.mkdir(parents=True)
        made = _fill(home, hidden, target)
        problems = damages(made, hidden)
        if problems:
            raise EstafetteError(
                f"the copy is not whole: {problems[0]}", mend="Run it again; `estafette doctor` says what is damaged"
            )
        (hidden / MANIFEST).write_text(_manifest(made), encoding="utf-8")
        os.sync()
        if target.exists():
            target.rmdir()
        hidden.rename(target)
        sync(target.parent)
    except OSError as error:
        raise EstafetteError(
            f"the backup can't be written: {error.strerror or error}",
            where=str(error.filename or target),
            mend="Make room, or choose another folder; nothing is left of this one",
        ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return made


def open_backup(path: Path) -> Backup:
    """The backup in a folder. EstafetteError: there is none, it is damaged, or it is of a newer Estafette."""
    path = path.resolve()
    try:
        read: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        found = Backup(
            path, read["installation"], int(read["epoch"]), int(read["schema"]), str(read["version"]),
            datetime.fromisoformat(read["made_at"]), datetime.fromisoformat(read["clock"]),
            {str(name): int(size) for name, size in read["files"].items()}, tuple(read["lost"]),
            {str(name): str(check) for name, check in read.get("checks", {}).items()},
        )  # fmt: skip
        newer = int(read["format"]) > FORMAT or found.schema > SCHEMA_VERSION
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EstafetteError(
            "there is no backup here", where=str(path), mend="Name a folder of `estafette backup`"
        ) from error
    if newer:
        raise EstafetteError(
            f"this backup is of Estafette {found.version}, which is newer", where=str(path), mend="Install that one"
        )
    problems = damages(found, path)
    if problems:
        raise EstafetteError(
            f"the backup is damaged: {problems[0]}" + (f", and {len(problems) - 1} more" if len(problems) > 1 else ""),
            where=str(path),
            mend="Take another one; nothing was changed",
        )
    return found


def damages(backup: Backup, folder: Path) -> list[str]:
    """What is wrong with a backup's files."""
    found = []
    for name, size in backup.files.items():
        try:
            there = (folder / name).stat().st_size
        except OSError:
            found.append(f"{name} is not there")
            continue
        if there != size:
            found.append(f"{name} has {there:,} bytes and should have {size:,}")
        elif backup.checks.get(name) not in (None, check_of(folder / name)):
            found.append(f"the bytes of {name} are not those that were written")
    return found or [f"{LEDGER}: {one}" for one in copied_damage(folder / LEDGER)]


def damaged_files(root: Path, listed: list[tuple[str, int, bool]]) -> list[tuple[str, str]]:
    """The files among those `listed` (`ledger_files.listed_files`) that count and are gone or damaged, each with what
    is wrong; every byte is looked at. `root` is the lake's. What a publish makes again is no loss."""
    looked_at = [  # below 0: known to be lost
        (name, wrong(root, name, size, read=True))
        for name, size, counts in listed
        if counts and size >= 0 and not name.startswith(DERIVED)
    ]
    return [(name, what) for name, what in looked_at if what is not None]


def _admit(home: Home, target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError("the folder is not empty", where=str(target), mend="Name a folder that is not there yet")
    for kept in (home.paths.data, home.paths.landing):
        if target.is_relative_to(kept):
            raise UsageError(f"a backup can't lie in {kept.name}/", where=str(target), mend="Choose another folder")
    if not home.has_ledger():
        raise EstafetteError("there is nothing to back up yet", where=str(home.path))


def _fill(home: Home, folder: Path, target: Path) -> Backup:
    """Copy everything; the ledger first."""
    clock = home.clock()
    ledger = folder / LEDGER
    ledger.parent.mkdir(parents=True)
    home.ledger.copy(ledger)
    facts, listed = facts_of(ledger), listed_files(ledger)
    files = {LEDGER: ledger.stat().st_size}
    lost = {name for name, _ in damaged_files(home.paths.lake, listed)}
    for name, size, _ in listed:
        if name not in lost and _copy(home.paths.lake / name, folder / LAKE / name) == size:
            files[f"{LAKE}/{name}"] = size
    lost |= {
        name for name, _, counts in listed if counts and f"{LAKE}/{name}" not in files and not name.startswith(DERIVED)
    }
    for source, name in _sources(home):
        taken = _copy(source, folder / name)
        if taken is not None:
            files[name] = taken
    checks = {name: check_of(folder / name) for name in files}
    return Backup(
        target, facts["installation"], int(facts["epoch"]), int(facts["schema_version"]), version("estafette"),
        datetime.fromtimestamp(home.wall(), UTC), clock, files, tuple(sorted(lost)), checks,
    )  # fmt: skip


def _sources(home: Home) -> Iterator[tuple[Path, str]]:
    """The landing zone and the project's files, with their names in a backup. What is hidden is nobody's."""
    for kind in KINDS:
        for one in home.landing.files([kind]):
            yield one.path, f"landing/{one.shown}"
    for name in SETTINGS:
        yield home.path / name, f"project/{name}"
    for room in PROJECT:
        for path in sorted((home.path / room).rglob("*")):
            relative = path.relative_to(home.path)
            if path.is_file() and not any(part.startswith(".") for part in relative.parts):
                yield path, f"project/{relative.as_posix()}"


def _copy(source: Path, target: Path) -> int | None:
    """Copy one file with its times. Gives its size; None where it is gone. Of lines that are being written, whole ones
    only."""
    try:
        before = source.stat()
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    except FileNotFoundError:
        return None
    with contextlib.suppress(FileNotFoundError):
        after = source.stat()
        grew = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
        if grew and source.suffix.lower() in NDJSON:
            os.truncate(target, _last_line(target))
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    return target.stat().st_size


def _last_line(path: Path) -> int:
    """Where the last whole line of a file ends."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - (1 << 16))
            file.seek(start)
            place = file.read(end - start).rfind(b"\n")
            if place >= 0:
                return start + place + 1
            end = start
    return 0


def _manifest(made: Backup) -> str:
    return json.dumps(
        {
            "format": FORMAT,
            "version": made.version,
            "schema": made.schema,
            "installation": made.installation,
            "epoch": made.epoch,
            "made_at": made.made_at.isoformat(),
            "clock": made.clock.isoformat(),
            "lost": list(made.lost),
            "files": made.files,
            "checks": made.checks,
        },
        indent=1,
    )
