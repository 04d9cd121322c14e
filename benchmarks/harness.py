"""The frame that every benchmark stands in: ways of doing one thing, measured by turns, each in a process of its own.

What belongs here: running, timing, and keeping rows as JSON; `report` makes a page of them. A way is a function of a
module that takes a `Meter` and keyword arguments; it prepares what it needs and then does its work within the meter:

    def estafette(meter: Meter, rows: int) -> None:
        people = made(rows)
        with meter(rows):
            render(spec, people)

Ways run alternately (A, B, A, B, …), so that a machine that becomes busy is busy for both. CPU seconds are those of the
process and of its children that have ended; the peak of memory is the process's own. Ratios are between medians.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results"


class Meter:
    """Measures one run of one way: wall and CPU seconds within the block, the peak of memory, and what the way adds."""

    def __init__(self) -> None:
        self.items, self.wall, self.cpu = 0, 0.0, 0.0
        self.rss: int | None = None  # None: the peak of this process
        self.figures: dict[str, float | str] = {}
        """Whatever else a run has to say, by name: a column of the table each."""

    def __call__(self, items: int) -> Self:
        """`items`: how many things the block does."""
        self.items = items
        return self

    def __enter__(self) -> Self:
        self._cpu_before, self._before = cpu_seconds(), time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.wall += time.perf_counter() - self._before
        self.cpu += cpu_seconds() - self._cpu_before


@dataclass(frozen=True, slots=True)
class Way:
    """One way of doing it. `work` is a function of a module; `given` its keyword arguments (JSON)."""

    name: str
    work: Callable[..., None]
    given: Mapping[str, Any] = field(default_factory=dict)
    repeats: int | None = None
    """How often, where it is not as often as the others."""


@dataclass(frozen=True, slots=True)
class Measured:
    """All runs of one way. Seconds, bytes; `figures` holds a list a name, one value a run."""

    name: str
    items: int
    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    rss: tuple[int, ...]
    figures: dict[str, tuple[float | str, ...]]

    @property
    def wall_median(self) -> float:
        return statistics.median(self.wall)

    @property
    def cpu_an_item(self) -> float:
        """Seconds of CPU an item (median)."""
        return statistics.median(self.cpu) / max(1, self.items)

    @property
    def wall_an_item(self) -> float:
        return self.wall_median / max(1, self.items)

    def figure(self, name: str) -> float:
        """The median of a figure."""
        return statistics.median(float(one) for one in self.figures[name])


@dataclass(frozen=True, slots=True)
class Goal:
    """A line of the summary: what was wanted, what was found. `met` None: there is no goal, it is only told."""

    what: str
    goal: str
    found: str
    met: bool | None = None


class Benchmark:
    """One program's tables and goals, printed as they come and kept at the end.

    `name` is the module's; `title` says what it measures.
    """

    def __init__(self, name: str, title: str, *, quick: bool = False) -> None:
        self.name, self.title, self.quick = name, title, quick
        self.tables: list[dict[str, Any]] = []
        self.goals: list[Goal] = []
        say(f"\n{title}{' (quick)' if quick else ''}")

    def compare(self, what: str, ways: Sequence[Way], *, repeats: int = 3, unit: str = "items") -> dict[str, Measured]:
        """Run the ways by turns, `repeats` times each. The first is the one that the others are compared with."""
        runs: dict[str, list[dict[str, Any]]] = {way.name: [] for way in ways}
        say(f"  {what}")
        for turn in range(max(way.repeats or repeats for way in ways)):
            for way in ways:
                if turn < (way.repeats or repeats):
                    run = in_own_process(way.work, **way.given)
                    runs[way.name].append(run)
                    say(f"    {turn + 1}. {way.name}: {run['wall']:.3g} s, CPU {run['cpu']:.3g} s{_told(run)}")
        found = {name: _measured(name, rows) for name, rows in runs.items()}
        self.keep(what, unit, list(found.values()))
        return found

    def keep(self, what: str, unit: str, rows: Sequence[Measured]) -> None:
        """Print a table of rows, and keep it."""
        self.tables.append({"what": what, "unit": unit, "rows": [asdict(row) for row in rows]})
        for line in lines_of(rows, unit):
            say(f"    {line}")

    def goal(self, what: str, goal: str, found: str, met: bool | None = None) -> None:
        """Say whether a goal is met."""
        self.goals.append(Goal(what, goal, found, met))
        verdict = {True: "met", False: "MISSED", None: "-"}[met]
        say(f"  {what}: {found} (goal {goal}: {verdict})" if goal else f"  {what}: {found}")

    def save(self) -> None:
        """Keep everything as JSON for the report."""
        RESULTS.mkdir(exist_ok=True)
        whole = {
            "name": self.name,
            "title": self.title,
            "quick": self.quick,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "load": round(os.getloadavg()[1], 2),
            "goals": [asdict(goal) for goal in self.goals],
            "tables": self.tables,
        }
        kept = RESULTS / f"{self.name}{'.quick' if self.quick else ''}.json"
        kept.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def program(name: str, about: str | None, *more: Callable[[argparse.ArgumentParser], object]) -> argparse.Namespace:
    """The arguments of a benchmark: `--quick`, and what `more` adds."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=(about or "").split("\n\n")[0])
    made.add_argument("--quick", action="store_true", help="small sizes, for a look; kept apart in the report")
    for add in more:
        add(made)
    return made.parse_args()


def in_own_process(work: Callable[..., None], **given: Any) -> dict[str, Any]:
    """One run of a way in a new process: items, wall, cpu (seconds), rss (bytes, the peak), figures."""
    with tempfile.TemporaryDirectory(prefix="estafette-bench-") as folder:
        out = Path(folder) / "out.json"
        name = f"{_module(work)}:{work.__name__}"
        command = [sys.executable, "-m", "benchmarks.harness", name, json.dumps(given), str(out)]
        done = subprocess.run(command, cwd=ROOT, check=False, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError(f"{name} ended with {done.returncode}:\n{done.stderr[-4000:]}")
        run: dict[str, Any] = json.loads(out.read_text())
        return run


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """How cost grows with size: 1 is in proportion, 0 not at all, 2 with the square (least squares on logarithms)."""
    xs, ys = [math.log(one) for one in sizes], [math.log(max(one, 1e-9)) for one in costs]
    return statistics.linear_regression(xs, ys).slope


def cpu_seconds() -> float:
    """CPU that this process and its children that ended have used."""
    mine, theirs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime


def peak_memory() -> int:
    """The most memory that this process has held, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage's figure begins with the parent's
        line = next(one for one in status.read_text().splitlines() if one.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def lines_of(rows: Sequence[Measured], unit: str) -> list[str]:
    """A table as text; `report` makes it Markdown."""
    cells = cells_of(rows, unit)
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def cells_of(rows: Sequence[Measured], unit: str) -> list[list[str]]:
    """Header and rows: seconds as median (least to most), rate, CPU an item, its ratio to the first row, memory."""
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    header = ["", unit, "seconds", f"{unit} a second", "CPU µs each", "CPU ×", "peak MB", *names]
    first = rows[0].cpu_an_item
    out = [header]
    for row in rows:
        spread = f"{row.wall_median:.3g} ({min(row.wall):.3g} to {max(row.wall):.3g})"
        cells = [row.name, f"{row.items:,}", spread, f"{row.items / max(row.wall_median, 1e-9):,.0f}"]
        cells += [f"{row.cpu_an_item * 1e6:,.3g}" if any(row.cpu) else "", _ratio(row.cpu_an_item, first)]
        cells.append(f"{max(row.rss) / 1e6:,.0f}" if any(row.rss) else "")
        out.append(cells + [_shown(row.figures.get(name, ())) for name in names])
    return out


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _ratio(value: float, first: float) -> str:
    return f"{value / first:.2f}" if first else ""


def _shown(values: Sequence[float | str]) -> str:
    if not values:
        return ""
    if any(isinstance(one, str) for one in values):
        return str(values[-1])
    numbers = [float(one) for one in values]
    least, most = min(numbers), max(numbers)
    median = f"{statistics.median(numbers):,.4g}"
    return median if least == most else f"{median} ({least:,.4g} to {most:,.4g})"


def _told(run: Mapping[str, Any]) -> str:
    figures = run["figures"]
    return "".join(f", {name} {_shown([value])}" for name, value in figures.items())


def _measured(name: str, runs: Sequence[Mapping[str, Any]]) -> Measured:
    figures = {key: tuple(run["figures"][key] for run in runs if key in run["figures"]) for key in runs[0]["figures"]}
    wall, cpu, rss = (tuple(run[key] for run in runs) for key in ("wall", "cpu", "rss"))
    return Measured(name, int(runs[0]["items"]), wall, cpu, rss, figures)


def _module(work: Callable[..., None]) -> str:
    spec = getattr(sys.modules[work.__module__], "__spec__", None)
    return str(spec.name) if spec is not None else work.__module__  # run as a program its name is __main__


def _child(name: str, given: str, out: str) -> None:
    module, function = name.split(":")
    meter = Meter()
    getattr(import_module(module), function)(meter, **json.loads(given))
    memory = meter.rss if meter.rss is not None else peak_memory()
    run = {"items": meter.items, "wall": meter.wall, "cpu": meter.cpu, "rss": memory, "figures": meter.figures}
    Path(out).write_text(json.dumps(run))


if __name__ == "__main__":
    import benchmarks.harness as the_one  # not this copy of it: a way's module imports that one

    the_one._child(*sys.argv[1:])
