"""Landing files are changed where they lie: whoever appends goes on, and a crash makes nobody read them again."""

import asyncio
import os
from datetime import UTC, datetime

import polars as pl
import pytest

from gateway.log import LandingLog
from journey.person import Person
from resources import landing_changes
from resources.forget_landing import erase_from_landing
from tests.stage import Stage, person

JEANNE = Person(
    frozenset({"jeanne-8841"}), frozenset({"+33612349876"}), frozenset(), frozenset({"wamid.in.7"}), "FR", frozenset()
)
ROW = {"contact_id": "jeanne-8841", "phone": "06 12 34 98 76", "country": "FR", "size": "S"}


@pytest.fixture
def stage(make_home) -> Stage:
    """Two others and Jeanne, by CSV, NDJSON and Parquet, read to their ends; then somebody's size was changed since."""
    made: Stage = make_home(contacts=[person(1, size="S"), ROW])
    folder = made.path / "landing/contacts"
    lines = '{"contact_id": "c1", "size": "M"}\n{"contact_id": "jeanne-8841", "size": "M"}\n'
    (folder / "sizes.ndjson").write_text(lines)
    rows = [{"contact_id": "c1", "shoes": 40}, {"contact_id": "jeanne-8841", "shoes": 38}]
    pl.DataFrame(rows).write_parquet(folder / "shoes.parquet")
    made.turn()
    made.later(minutes=1).contacts([{"contact_id": "c1", "size": "L", "shoes": 41}], "new.csv").turn()
    return made


def sizes(stage: Stage) -> list[tuple[object, ...]]:
    return stage.home.contacts.frame(["size", "shoes"], ids=["c1"]).rows()


def test_a_file_that_was_read_is_not_read_again(stage):
    erased = erase_from_landing(stage.home.landing, JEANNE, stage.lease)
    assert (erased.lines, len(erased.files), erased.left) == (3, 3, [])
    for file in (stage.path / "landing").rglob("*.*"):
        os.utime(file, ns=(5, 5))
    assert not stage.turn().taken.anything
    assert sizes(stage) == [("L", 41)]
    assert erase_from_landing(stage.home.landing, JEANNE, stage.lease).lines == 0


@pytest.mark.parametrize("between", [True, False], ids=["a pass comes", "nothing comes"])
@pytest.mark.parametrize("point", ["os.pwrite", "_drop", "into_place"])
def test_a_crash_before_or_after_the_bytes_makes_nobody_read_a_file_again(stage, monkeypatch, point, between):
    """Before the first byte, after the last one, and before a Parquet file is in its place."""

    def dies(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(f"resources.landing_changes.{point}", dies)
        for _ in range(3):  # one file after the other
            with pytest.raises(KeyboardInterrupt):
                erase_from_landing(stage.home.landing, JEANNE, stage.lease)
    for file in (stage.path / "landing").rglob("*.*"):
        os.utime(file, ns=(5, 5))
    if between:
        stage.turn()
        assert sizes(stage) == [("L", 41)]
    erase_from_landing(stage.home.landing, JEANNE, stage.lease)
    assert not stage.turn().taken.anything
    assert sizes(stage) == [("L", 41)]
    assert stage.value("SELECT count(*) FROM landing_file WHERE name LIKE '.%'") == 0
    left = [path.read_bytes() for path in (stage.path / "landing/contacts").iterdir() if path.suffix != ".parquet"]
    assert not any(b"jeanne" in one for one in left)


def test_a_line_that_was_not_read_yet_is_never_read(stage):
    stage.happens("visited", "jeanne-8841").happens("visited", "c1")
    erase_from_landing(stage.home.landing, JEANNE, stage.lease)
    stage.turn()
    assert [one["contact_id"] for one in stage.lake("events")] == ["c1"]


def test_the_gateway_goes_on_writing_to_its_newest_log(stage):
    """Lines of before, between and after: theirs are gone, nobody else's is lost, none is taken twice."""
    clock = lambda: datetime(2026, 12, 1, 12, tzinfo=UTC)  # noqa: E731

    async def write() -> None:
        log = LandingLog(stage.path / "landing/events", clock)
        for number in range(5):
            who = "jeanne-8841" if number % 2 else f"c{number}"
            line = (
                f'{{"event":"seen","event_id":"e{number}","contact_id":"{who}","occurred_at":"2026-12-01T11:00:00Z"}}'
            )
            await log.append(line.encode())
            if number == 1:
                await asyncio.to_thread(stage.turn)
            if number == 3:
                await asyncio.to_thread(erase_from_landing, stage.home.landing, JEANNE, stage.lease)
        await log.close()

    asyncio.run(write())
    assert len(list((stage.path / "landing/events").iterdir())) == 1
    stage.turn()
    assert sorted(one["event_id"] for one in stage.lake("events")) == ["e0", "e1", "e2", "e4"]  # e1: from before


def test_a_file_that_changed_since_it_was_read_is_still_read(stage):
    """Its cursor fits no longer, and must not be made to fit."""
    file = stage.path / "landing/contacts/sizes.ndjson"
    text = file.read_text().replace('"c1", "size": "M"', '"c1", "size": "X"')
    with file.open("r+") as handle:
        handle.write(text)
    erase_from_landing(stage.home.landing, JEANNE, stage.lease)
    stage.turn()
    assert sizes(stage) == [("X", 41)]


def test_a_file_that_nobody_reads_is_named(stage):
    (stage.path / "landing/contacts/.people.csv.77").write_text("call +33 6 12 34 98 76")
    (stage.path / "landing/contacts/people.xlsx").write_text("jeanne-8841")
    left = erase_from_landing(stage.home.landing, JEANNE, stage.lease).left
    assert left == ["landing/contacts/people.xlsx", "landing/contacts/.people.csv.77"]


def test_what_is_patched_reads_as_it_will_be(tmp_path):
    file = tmp_path / "f"
    file.write_bytes(b"abcdefgh")
    patches = [landing_changes.Patch(6, b"YZ"), landing_changes.Patch(1, b"--")]
    with file.open("rb") as opened:
        patched = landing_changes._Patched(opened, patches)
        patched.seek(2)
        assert [patched.read(3), patched.read(9), patched.read(9)] == [b"-de", b"fYZ", b""]
