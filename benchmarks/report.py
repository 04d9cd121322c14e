"""`python -m benchmarks.report`: RESULTS.md from what the benchmarks have kept.

What belongs here: the page, with the machine and the versions that its figures are true of. Figures of quick runs stand
there only where there are no others.
"""

import json
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.harness import HERE, RESULTS, Measured, cells_of, say

PAGE = HERE / "RESULTS.md"
PACKAGES = ("polars", "duckdb", "pyarrow", "SQLAlchemy", "httpx", "aiohttp", "httpx-aiohttp", "uvloop", "uvicorn")
MORE = ("fastapi", "pydantic", "msgspec", "dagster")


def main() -> int:
    kept = {path.name.removesuffix(".json"): json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    found = [one for name, one in sorted(kept.items()) if not one["quick"] or name.removesuffix(".quick") not in kept]
    if not found:
        say("nothing was measured yet: run `make bench` or `make bench-quick`")
        return 1
    PAGE.write_text("\n".join(page(found)) + "\n")
    missed = [goal for one in found for goal in one["goals"] if goal["met"] is False]
    say(f"{PAGE}: {len(found)} benchmarks, {len(missed)} goals missed")
    for goal in missed:
        say(f"  {goal['what']}: {goal['found']} (goal {goal['goal']})")
    return 0


def page(found: Sequence[dict[str, Any]]) -> Iterable[str]:
    """The lines of the page."""
    yield "# Results"
    yield ""
    yield "Written by `python -m benchmarks.report`; what each shows and how to read it is in the [README](README.md)."
    yield ""
    yield f"- {machine()}"
    yield f"- Python {platform.python_version()}; {', '.join(f'{name} {version(name)}' for name in PACKAGES + MORE)}"
    days = sorted(one["at"][:10] for one in found)
    yield f"- {days[0]}" + (f" to {days[-1]}" if days[0] != days[-1] else "")
    yield ""
    yield from table([["what", "goal", "found", ""], *[row for one in found for row in goals(one)]])
    for one in found:
        yield ""
        yield f"## {one['name']}"
        yield ""
        how = f"`python -m benchmarks.{one['name']}{' --quick' if one['quick'] else ''}`"
        yield f"{one['title']}. {how}, {one['at'][:10]}, load of the machine {one['load']} in the five minutes before."
        for kept in one["tables"]:
            yield ""
            yield f"{kept['what']}:"
            yield ""
            yield from table(cells_of([Measured(**row) for row in kept["rows"]], kept["unit"]))


def goals(one: dict[str, Any]) -> Iterable[list[str]]:
    verdict = {True: "met", False: "**missed**", None: ""}
    for goal in one["goals"]:
        quick = " (quick)" if one["quick"] else ""
        yield [goal["what"] + quick, goal["goal"], goal["found"], verdict[goal["met"]]]


def table(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    yield "| " + " | ".join(rows[0]) + " |"
    yield "|" + "---|" * len(rows[0])
    for row in rows[1:]:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def machine() -> str:
    """Processor, cores, memory, system."""
    name, memory = platform.machine(), ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), name)
        kilobytes = int(Path("/proc/meminfo").read_text().split()[1])
        memory = f", {kilobytes / 2**20:.0f} GiB"
    return f"{os.cpu_count()} cores of {name}{memory}, {platform.system()} {platform.release()}"


if __name__ == "__main__":
    sys.exit(main())
