"""Tallies: each file is counted once, and the sums are those of a count of everything."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from resources import tables
from resources.ledger import BUCKET, mark_dirty
from tests.resources.analyst_world import NOW, World, us

COUNTED = ("campaign_funnel", "step_funnel", "campaign_daily", "costs")
MOVES: dict[str, Any] = {
    "participant_id": pl.Int64, "campaign": pl.String, "contact_id": pl.String, "from_step": pl.String,
    "branch": pl.String, "to_step": pl.String, "visit": pl.Int64, "moved_at": pl.Datetime("us", "UTC"),
}  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "l'été home")
    yield made
    made.ledger.close()


def move(step: str, to: str = "end") -> dict[str, Any]:
    return {
        "participant_id": 1, "campaign": "autumn", "contact_id": "u1", "from_step": step, "branch": "next",
        "to_step": to, "visit": 1, "moved_at": NOW,
    }  # fmt: skip


def numbers(world: World) -> dict[str, Any]:
    shown: dict[str, Any] = {name: sorted(world.sql(f"FROM {name}"), key=repr) for name in COUNTED}
    [published] = world.dicts("FROM published")
    published.pop("published_at")
    return shown | {"published": published}


def anew(world: World) -> dict[str, Any]:
    """What a publish shows that knows nothing of earlier ones."""
    world.paths.tallies.unlink()
    world.paths.analytics.unlink()
    world.publish()
    return numbers(world)


@pytest.mark.parametrize("seed", range(2))
def test_the_numbers_are_those_of_a_count_of_everything_however_they_came_about(world: World, seed: int) -> None:
    chance = random.Random(seed)
    ids = {"message": 0, "participant": 0, "skip": 0}
    priced = {"price": 85_900, "currency": "EUR", "price_source": "estimate", "market": "France"}

    def next_id(name: str) -> int:
        ids[name] += chance.choice([1, 1, BUCKET // 2])
        return ids[name]

    def moment() -> int:
        return us(NOW + timedelta(minutes=chance.randrange(5_000))) or 0

    def where() -> dict[str, Any]:
        who = f"u{chance.randrange(20)}"
        return {"campaign": chance.choice(["autumn", "winter"]), "step": chance.choice("ab"), "contact_id": who}

    def add() -> None:
        state = chance.choice(["waiting", "control"])
        world.participant(id=next_id("participant"), **where(), state=state, entered_at=moment())

    def send() -> None:
        whose = where() | chance.choice([{}, {}, {"campaign": "", "step": ""}])
        world.message(id=next_id("message"), **whose, planned_at=moment(), sender=chance.choice(["main", "other"]))

    def skip() -> None:
        world.skip(id=next_id("skip"), **where(), skipped_at=moment())

    def report() -> None:
        with world.ledger.write() as tx:
            some = tables.message.c.id % 3 == chance.randrange(3)
            state = chance.choice(["accepted", "delivered", "read", "failed", "unknown"])
            times = {} if state == "unknown" else {f"{state}_at": moment()}
            given = {"state": state, **times, **chance.choice([{}, priced])}
            tx.execute(tables.message.update().where(some).values(given))
            mark_dirty(tx, "message", range(0, ids["message"] + 1, 1_000))

    def delete() -> None:
        with world.ledger.write() as tx:
            tx.execute(tables.message.delete().where(tables.message.c.id % 5 == chance.randrange(5)))
            mark_dirty(tx, "message", range(0, ids["message"] + 1, 1_000))

    def moves() -> None:
        rows = [move(chance.choice("ab"), chance.choice(["a", "b", "end"])) for _ in range(3)]
        file = world.lake_rows("participant_steps", rows, MOVES)
        if chance.random() < 0.3:
            with world.ledger.write() as tx:
                world.lake.drop(tx, [file])

    def answer() -> None:
        world.reply(**where())

    deeds: list[Callable[[], None]] = [add, add, send, send, send, send, report, report, skip, moves, answer, delete]
    for _ in range(4):
        for _ in range(12):
            chance.choice(deeds)()
        world.publish()
        found = numbers(world)
        assert found["published"]["conversations"] == world.sql("SELECT count(*) FROM conversations")[0][0]
        assert found == anew(world)
    assert all(found.values())


def test_a_file_is_counted_once(world: World) -> None:
    file = world.lake_rows("participant_steps", [move("offer", "reminder")], MOVES)
    world.lake_rows("participant_steps", [move("offer")], MOVES)  # no arrival at all
    world.publish()
    other = pl.DataFrame([move("offer", "reminder")] * 3, schema=MOVES)
    for path in (world.lake.path(file), world.lake.path(file + 1)):
        other.write_parquet(path)  # what nobody does: whoever counts these again is seen
    world.message()
    world.publish()
    assert world.sql("SELECT step, entered, planned FROM step_funnel") == [("offer", 1, 1)]
    assert anew(world)["step_funnel"][0][:3] == ("autumn", "offer", 6)


def test_nothing_is_kept_of_files_that_are_shown_no_longer(world: World) -> None:
    for _ in range(3):
        world.message()
        world.publish()
    kept = set(pl.read_parquet(world.paths.tallies)["file"])
    assert kept == {str(world.lake.root / path) for path in world.exported().values()}


def as_no_parquet(kept: Path) -> None:
    kept.write_bytes(b"PAR1" + b"\0" * 100 + b"PAR1")


def cut_short(kept: Path) -> None:
    kept.write_bytes(kept.read_bytes()[:-20])


def gone(kept: Path) -> None:
    kept.unlink()


def counted_in_another_way(kept: Path) -> None:
    pl.read_parquet(kept).with_columns(pl.lit("0123456789abcdef").alias("counted"), n=99).write_parquet(kept)


def of_another_shape(kept: Path) -> None:
    pl.read_parquet(kept).drop("what").write_parquet(kept)


@pytest.mark.parametrize("harm", [as_no_parquet, cut_short, gone, counted_in_another_way, of_another_shape])
def test_tallies_that_cannot_be_used_are_counted_again(world: World, harm: Callable[[Path], None]) -> None:
    world.message(id=1, state="accepted", accepted_at=us(NOW))
    world.publish()
    harm(world.paths.tallies)
    world.message(id=BUCKET)
    world.publish()
    assert world.sql("SELECT planned, accepted FROM campaign_funnel") == [(2, 1)]
    assert pl.read_parquet(world.paths.tallies)["file"].n_unique() == 2


def test_a_crash_between_the_tallies_and_the_database_changes_no_number(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.message()
    world.publish()
    world.message()

    def full(path: Path) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("resources.analyst_db.sync", full)
        with pytest.raises(OSError, match="no space"):
            world.publish()
    assert world.sql("SELECT planned FROM campaign_funnel") == [(1,)]
    world.message()
    world.publish()
    assert world.sql("SELECT planned FROM campaign_funnel") == [(3,)]


def test_tallies_half_written_leave_nothing_behind(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.message()
    world.publish()
    before = world.paths.tallies.read_bytes()

    def full(path: Path) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("resources.tallies.sync", full)
        world.message()
        with pytest.raises(OSError, match="no space"):
            world.publish()
    assert world.paths.tallies.read_bytes() == before
    orphan = world.paths.data / ".tallies-0badcafe.parquet"  # of a killed one
    orphan.write_text("half a file")
    written = orphan.stat().st_mtime
    world.publish(wall=lambda: written + 3700)
    assert [path.name for path in world.paths.data.iterdir() if "tallies" in path.name] == ["tallies.parquet"]
    assert world.sql("SELECT planned FROM campaign_funnel") == [(2,)]


def test_conversations_are_as_many_however_few_are_looked_at_in_one_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        said = {"state": "accepted", "accepted_at": us(NOW)} if number % 4 else {}
        world.message(contact_id=f"u{number % 8}", sender=f"s{number % 3}", **said)
    world.reply(contact_id="u1", sender="s1")  # the one is known already
    world.reply(contact_id="stranger", sender="s1")
    monkeypatch.setattr("resources.tallies.PAIRS", 3)
    published = world.publish()
    talks = {(f"u{number % 8}", f"s{number % 3}") for number in range(20) if number % 4} | {("u1", "s1")}
    assert published.counts["conversations"] == len(talks) + 1
    assert world.sql("SELECT count(*) FROM conversations") == [(len(talks) + 1,)]


def test_a_tally_holds_in_every_time_zone(world: World) -> None:
    world.message(planned_at=us(datetime(2026, 11, 23, 23, 30, tzinfo=UTC)))
    world.publish()
    [paris] = world.sql("SELECT day::VARCHAR FROM campaign_daily")
    world.timezone = "America/New_York"
    world.publish()
    assert (paris, *world.sql("SELECT day::VARCHAR FROM campaign_daily")) == (("2026-11-24",), ("2026-11-23",))
