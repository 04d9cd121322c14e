"""The demo on a small population: it must end well, audit itself, and never delete what is not its own."""

import csv
import io
import json
from datetime import UTC, datetime

from estafette import demo, population
from estafette.cli import main
from journey.phones import normalise

START = datetime(2026, 10, 5, 8, tzinfo=UTC)


def test_the_demo_plays_two_days_and_its_audit_finds_no_difference(tmp_path, capsys, monkeypatch):
    for name in ("ESTAFETTE_HOME", "ESTAFETTE_NOW"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ESTAFETTE_LEDGER_URL", "postgresql://the-real-one/nobody")  # never touched by a demo
    folder = tmp_path / "demo"
    assert main(["demo", "--home", str(folder), "--contacts", "120", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["audit"]["differences"] == []
    assert found["audit"]["received"] == found["audit"]["accepted"] > found["audit"]["people"] > 20
    assert {row["branch"] for row in found["branches"]} >= {"read", "not_read"}
    assert {row["step"] for row in found["steps"]} >= {"offer", "reminder"}
    assert found["run"]["skipped"]["missing_variable"] > 0
    assert (folder / "data" / "analytics.duckdb").exists()


def test_the_demo_makes_its_own_folder_again(tmp_path):
    folder = tmp_path / "demo"
    demo._fresh(folder)
    (folder / "data").mkdir()
    demo._fresh(folder)
    assert not (folder / "data").exists()
    assert (folder / "estafette.yaml").exists()


def test_the_demo_does_not_touch_a_folder_that_it_did_not_make(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["demo", "--home", str(tmp_path)]) == 1
    assert "no demo made it" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_population_is_the_same_every_time_and_as_dirty_as_it_says():
    made = population.make(2_000, START)
    assert made == population.make(2_000, START)
    assert made != population.make(2_000, START, seed=2)
    rows = list(csv.DictReader(io.StringIO(made.contacts), delimiter=";"))
    people = {row["contact_id"]: row for row in rows}
    assert (len(people), len(rows)) == (2_000, 2_012)
    phones = [normalise(row["phone"], "FR") for row in people.values()]
    known = [phone for phone in phones if phone is not None]
    assert 5 <= phones.count(None) <= 40
    assert len(set(known)) == len(known)
    bad = 0
    for line in made.events.splitlines():
        try:
            datetime.fromisoformat(json.loads(line)["occurred_at"])
        except ValueError:
            bad += 1
    assert 1 <= bad <= 30
