"""The frame of the benchmarks: ways by turns in processes of their own, goals, and the page that is made of them."""

import json
from pathlib import Path

import pytest

from benchmarks import harness, report
from benchmarks.harness import Benchmark, Meter, Way, exponent


def counts(meter: Meter, items: int) -> None:
    with meter(items):
        total = sum(range(items))
    meter.figures["sum"] = total


def breaks(meter: Meter) -> None:
    raise ValueError("no such disk")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(report, "PAGE", tmp_path / "RESULTS.md")
    return tmp_path


def test_what_is_measured_is_printed_kept_and_made_a_page_of(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Benchmark("counting", "Counting numbers")
    found = bench.compare("up to", [Way("few", counts, {"items": 10}), Way("many", counts, {"items": 1000})], repeats=2)
    bench.goal("counting", "≤ 1 s", "0.1 s", True)
    bench.goal("counting more", "≤ 1 s", "2 s", False)
    bench.save()
    assert [(one.name, one.items, len(one.wall), one.figure("sum")) for one in found.values()] == [
        ("few", 10, 2, 45.0),
        ("many", 1000, 2, 499500.0),
    ]
    assert all(one.rss[0] > 1_000_000 and one.cpu[0] >= 0 for one in found.values())
    assert json.loads((results / "counting.json").read_text())["goals"][1]["met"] is False
    assert report.main() == 0
    page = (results / "RESULTS.md").read_text()
    assert "| counting more | ≤ 1 s | 2 s | **missed** |" in page
    assert "| many | 1,000 |" in page
    told = capsys.readouterr().out
    assert "2. many" in told
    assert "counting more: 2 s (goal ≤ 1 s: MISSED)" in told


def test_quick_figures_stand_in_the_page_only_where_there_are_no_others(results: Path) -> None:
    for name, quick in (("one", True), ("one", False), ("other", True)):
        bench = Benchmark(name, f"{name}{' small' if quick else ' whole'}", quick=quick)
        bench.goal(name, "", "some")
        bench.save()
    report.main()
    page = (results / "RESULTS.md").read_text()
    assert "one whole." in page and "one small." not in page
    assert "other small." in page


def test_a_way_that_fails_says_why(results: Path) -> None:
    with pytest.raises(RuntimeError, match="no such disk"):
        Benchmark("broken", "Broken").compare("anything", [Way("broken", breaks)], repeats=1)


def test_the_exponent_tells_proportion_from_the_square() -> None:
    sizes = [10_000.0, 100_000.0, 1_000_000.0]
    assert exponent(sizes, [0.1, 1.0, 10.0]) == pytest.approx(1.0)
    assert exponent(sizes, [1.0, 100.0, 10_000.0]) == pytest.approx(2.0)
