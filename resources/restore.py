"""Putting a backup back: the ledger and the lake as they were, beside a landing zone that keeps what it has.

What belongs here: who is still at work, copying, moving what is there aside, telling the ledger where its landing files
are. What the ledger then holds back is `hold`.

Nothing is deleted: `data/` is renamed (`data.replaced-TIME`). The landing zone stays, because it knows more than the
backup; only files that are gone, or shorter than in the backup, come from there. So do the project's files that are
gone; those that are there are Git's matter.
"""

import contextlib
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from journey.clock import to_us
from journey.problems import EstafetteError, LedgerError
from resources.backup import LAKE, LEDGER, Backup
from resources.hold import Restored, begin
from resources.home import Home
from resources.lake import check_of
from resources.landing import hashes, sample
from resources.ledger import Ledger
from resources.ledger_files import SIDES, copy_closed
from resources.on_disk import sync
from resources.openers import Opener, openers
from resources.tables import landing_file

AGAIN = ("landing", "project")
PATIENCE = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class Done:
    """What a restore did. `aside`: where the data that was here lies now (None: there was none); `epoch`: the new one;
    `landing_lost`: the newest webhooks of the backup were gone from the landing zone; `brought`: landing and project
    files that came from the backup."""

    aside: Path | None
    epoch: int
    landing_lost: bool
    brought: int


def at_work(home: Home) -> list[str]:
    """Who works on this home, as far as can be known: leases in force, and processes that have its files open."""
    found = [_opener(one) for one in openers([home.paths.data, home.paths.landing])]
    if home.ledger_path().exists():
        with contextlib.suppress(LedgerError, sa.exc.DatabaseError):  # where it is damaged, it is to be replaced
            found += [f"{row.holder} holds {row.name}" for row in home.ledger.leases()]
    return found


def put_back(home: Home, backup: Backup) -> Done:
    """Put a backup in place of the home's data, with all sends held. EstafetteError: somebody is at work, the backup is
    another installation's, or there is no room; then nothing has changed."""
    busy = at_work(home)
    deadline = time.monotonic() + PATIENCE
    while busy and time.monotonic() < deadline:  # a lane gives its lease back a second late
        time.sleep(0.25)
        busy = at_work(home)
    if busy:
        raise EstafetteError(
            f"somebody is at work: {'; '.join(busy[:3])}" + (f"; and {len(busy) - 3} more" if len(busy) > 3 else ""),
            mend="Stop the gateway, Dagster and every command first, then restore again",
        )
    epoch = _next_epoch(home, backup)
    target = home.ledger_path()
    home.close()
    lost = _landing_is_lost(home, backup)
    staged = home.path / f".restoring-{secrets.token_hex(4)}"
    try:
        brought = _bring(home, backup)
        _stage(home, backup, staged, epoch, lost)
        aside = _swap(home, staged, target)
    except OSError as error:
        raise EstafetteError(
            f"the backup can't be put back: {error.strerror or error}",
            where=str(error.filename or home.path),
            mend="Make room, then restore again; what was here is still here",
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Done(aside, epoch, lost, brought)


def _next_epoch(home: Home, backup: Backup) -> int:
    """An epoch that no callback id has borne. Where the present ledger can't be asked, the seconds since 1970."""
    if not home.ledger_path().exists():
        return backup.epoch + 1
    try:
        installation, epoch = home.ledger.meta("installation"), int(home.ledger.meta("epoch") or 0)
        with home.ledger.read() as tx:
            used = tx.exec_driver_sql("SELECT EXISTS (SELECT 1 FROM message)").scalar_one()
    except (LedgerError, sa.exc.DatabaseError):
        return int(home.wall())
    if installation != backup.installation and used:
        raise EstafetteError(
            f"this backup is of another installation ({backup.installation}, and here is {installation})",
            where=str(backup.path),
            mend="Name a backup of this one, or restore into an empty folder",
        )
    return max(epoch, backup.epoch) + 1


def _landing_is_lost(home: Home, backup: Backup) -> bool:
    """Whether the landing zone was lost with the ledger: it lacks the newest webhooks that the backup has, or, where
    none had come by then, every file."""
    logs = [name for name in backup.files if name.startswith("landing/webhooks/")]
    if not logs:
        others = [name for name in backup.files if name.startswith("landing/")]
        return bool(others) and not any((home.path / name).exists() for name in others)
    newest = max(logs, key=lambda name: (backup.path / name).stat().st_mtime_ns)
    try:
        return (home.path / newest).stat().st_size < backup.files[newest]
    except OSError:
        return True


def _bring(home: Home, backup: Backup) -> int:
    """Copy the landing and project files that are gone here. Gives how many. A log that is shorter here than in the
    backup, and is its beginning, comes too, and a file whose bytes are others here though nobody wrote it since; what
    was here is kept beside it, hidden."""
    brought = 0
    for name, size in backup.files.items():
        room, _, rest = name.partition("/")
        if room not in AGAIN:
            continue
        source, target = backup.path / name, home.path / (name if room == "landing" else rest)
        if target.exists():
            if room != "landing" or not (_is_beginning(target, source, size) or _is_spoilt(target, source)):
                continue
            target.rename(target.with_name(f".{target.name}.replaced"))
        target.parent.mkdir(parents=True, exist_ok=True)
        hidden = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        shutil.copy2(source, hidden)
        hidden.rename(target)
        brought += 1
    return brought


def _is_beginning(path: Path, whole: Path, size: int) -> bool:
    there = path.stat().st_size
    if there >= size:
        return False
    with path.open("rb") as one, whole.open("rb") as other:
        return sample(one, there) == sample(other, there)


def _is_spoilt(path: Path, copy: Path) -> bool:
    """Whether a landing file is of the size and time of its copy, and holds other bytes."""
    here, there = path.stat(), copy.stat()
    same = (here.st_size, here.st_mtime_ns) == (there.st_size, there.st_mtime_ns)
    return same and check_of(path) != check_of(copy)


def _stage(home: Home, backup: Backup, folder: Path, epoch: int, lost: bool) -> None:
    """The new data folder, complete, beside the old one."""
    for name in backup.files:
        if name.startswith(f"{LAKE}/"):
            target = folder / Path(name).relative_to("data")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(backup.path / name, target)
    (folder / "lake").mkdir(parents=True, exist_ok=True)
    ledger_file = folder / Path(LEDGER).name
    copy_closed(backup.path / LEDGER, ledger_file)
    ledger = Ledger.open(ledger_file, home.wall)
    try:
        found = Restored(at=to_us(home.clock()), since=to_us(backup.clock), lost=lost)
        with ledger.write() as tx:
            begin(tx, found, epoch)
            _find_landing(tx, home)
    finally:
        ledger.close()
    os.sync()


def _find_landing(tx: sa.Connection, home: Home) -> None:
    """Tell the ledger where its landing files are now: one that was copied has another inode, and would be read from
    its start. What was read of it must be the same."""
    for row in tx.execute(sa.select(landing_file)).all():
        path = home.paths.landing / row.kind / row.name
        try:
            stat = path.stat()
            if stat.st_ino == row.inode or stat.st_size < row.offset:
                continue
            with path.open("rb") as file:
                if sample(file, row.offset) != hashes(row.prefix_hash)[0]:
                    continue
        except OSError:
            continue
        tx.execute(landing_file.update().where(landing_file.c.id == row.id).values(inode=stat.st_ino))


def _swap(home: Home, staged: Path, target: Path) -> Path | None:
    """Move what is here aside, and the new folder into its place. Gives where the old one lies."""
    data = home.paths.data
    stamp = f"{datetime.fromtimestamp(home.wall(), UTC):%Y%m%dT%H%M%SZ}"
    aside = data.with_name(f"{data.name}.replaced-{stamp}-{secrets.token_hex(2)}") if data.exists() else None
    elsewhere = not target.is_relative_to(data)
    made = staged / Path(LEDGER).name
    if elsewhere:  # ESTAFETTE_LEDGER_URL: it lies in another folder, perhaps on another disk
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, target.with_name(f".{target.name}.restoring"))
    if aside is not None:
        data.rename(aside)
    if elsewhere:
        for side in ("", *SIDES):
            old = target.with_name(target.name + side)
            if old.exists():
                old.rename(old.with_name(f"{target.name}.replaced-{stamp}{side}"))
    elif target.name != made.name:
        made.rename(made.with_name(target.name))
    try:
        staged.rename(data)
    except OSError:
        if aside is not None:
            aside.rename(data)
        raise
    sync(data.parent)
    if elsewhere:
        target.with_name(f".{target.name}.restoring").rename(target)
        sync(target.parent)
    return aside


def _opener(one: Opener) -> str:
    return f"process {one.pid} ({one.command}) has {one.path} open"
