"""The power fails: whatever the ledger, an answer or a command counts on is on disk by then, whole."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway.log import LandingLog
from pipelines.publish import publish
from resources.backup import make_backup, open_backup
from resources.lake import MERGE
from resources.landing_import import import_files
from resources.ledger import Ledger
from resources.restore import put_back
from tests.faults.power import Disk
from tests.stage import NOON, Stage, person


@pytest.fixture
def disk_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Disk]]:
    made: list[Disk] = []

    def disk(root: Path) -> Disk:
        made.append(Disk(root, monkeypatch))
        return made[-1]

    yield disk
    for one in made:
        one.close()


def counts_on(stage: Stage, disk: Disk) -> list[str]:
    """At each commit from now on: files that the ledger then names, and that a cut would take."""
    lost: list[str] = []

    def look(tx: sa.Connection) -> None:
        named = tx.exec_driver_sql("SELECT path FROM lake_file WHERE dropped_at IS NULL").scalars().all()
        lost.extend(path for path in named if not disk.keeps(stage.home.lake.root / path))

    sa.event.listen(stage.home.ledger.engine, "commit", look)
    return lost


def test_no_commit_names_a_file_that_a_power_cut_would_take(
    make_home: Callable[..., Stage], disk_of: Callable[[Path], Disk]
) -> None:
    stage = make_home(contacts=[person(n, city="Lyon") for n in range(5)])
    disk = disk_of(stage.path)
    lost = counts_on(stage, disk)
    stage.run()
    stage.send()
    for number in range(MERGE):  # so many files that they become one
        stage.happens("seen", "c0", number=number).turn()
    stage.status(1, "read").turn()
    publish(stage.home, stage.lease)
    stage.home.lake.merge(stage.lease)
    stage.home.contacts.fold(stage.lease, force=True)
    assert lost == []
    assert [name for name in disk.hasty if not name.startswith("landing/")] == []
    assert disk.keeps(stage.home.paths.analytics)


def test_what_was_answered_200_is_there_after_a_power_cut(tmp_path: Path, disk_of: Callable[[Path], Disk]) -> None:
    disk = disk_of(tmp_path)

    async def write() -> None:
        log = LandingLog(tmp_path / "landing/webhooks", lambda: NOON, largest=20)
        for number in range(4):  # several to a file, and several files
            await log.append(b'{"number": %d}' % number)
            assert disk.keeps(tmp_path / "landing")
        await log.close()

    asyncio.run(write())
    assert len(list((tmp_path / "landing/webhooks").iterdir())) > 1


def test_a_file_that_was_imported_is_there_after_a_power_cut(
    make_home: Callable[..., Stage], tmp_path: Path, disk_of: Callable[[Path], Disk]
) -> None:
    stage = make_home(contacts=0)
    file = tmp_path / "codes.csv"
    file.write_text("vouchers\nA\nB\n")
    disk = disk_of(stage.path)
    import_files(stage.path / "landing", [file])
    assert disk.keeps(stage.path / "landing/coupons/codes.csv")
    assert disk.hasty == []


def test_a_backup_and_what_was_restored_are_there_after_a_power_cut(
    make_home: Callable[..., Stage], tmp_path: Path, disk_of: Callable[[Path], Disk]
) -> None:
    stage = make_home()
    stage.run()
    disk = disk_of(tmp_path)
    made = make_backup(stage.home, tmp_path / "backups/monday")
    assert disk.keeps(tmp_path / "backups/monday")
    stage.home.ledger.cut_leases()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE lease SET until = 0")
    put_back(stage.home, open_backup(made.path))
    assert disk.keeps(stage.path / "data")
    assert disk.hasty == []


def test_every_connection_to_the_ledger_has_each_commit_on_disk_before_it_ends(tmp_path: Path) -> None:
    """SQLite forgets `synchronous` with the connection: each one must be told."""
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    connections = [ledger.engine.connect() for _ in range(9)]  # more than the pool keeps
    try:
        for one in connections:
            assert one.exec_driver_sql("PRAGMA synchronous").scalar() == 2
            assert one.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    finally:
        for one in connections:
            one.close()
        ledger.close()
