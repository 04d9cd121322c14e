"""A quiet installation: what it costs while nothing happens.

Dagster's pages, daemon and code server and the gateway run as `make dev` starts them, on a home with people and a
campaign and nothing to do. CPU is that of all processes over a minute, once they have settled; memory is what they hold
(what processes share counts once).
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks import homes
from benchmarks.harness import ROOT, Benchmark, Measured, program
from benchmarks.processes import command, members, proportional
from estafette import dev
from pipelines.run import prepare

ROLES = {"gateway": "estafette serve", "webserver": "dagster_webserver", "daemon": "dagster._daemon"}


def main() -> int:
    given = program("idle", __doc__)
    bench = Benchmark("idle", "A quiet installation", quick=given.quick)
    settle, seconds = (20.0, 15.0) if given.quick else (180.0, 60.0)
    with tempfile.TemporaryDirectory(prefix="estafette-idle-") as folder:
        home = homes.write_home(Path(folder), "http://127.0.0.1:9", people=1000, pace=80)
        with installation(home) as leaders:
            time.sleep(settle)
            before = cpu_by_role(leaders)
            time.sleep(seconds)
            used = {role: cpu - before.get(role, 0.0) for role, cpu in cpu_by_role(leaders).items()}
            memory = memory_by_role(leaders)
    rows = [
        Measured(
            role, 1, (seconds,), (used.get(role, 0.0),), (held,), {"CPU %": (100 * used.get(role, 0.0) / seconds,)}
        )
        for role, held in sorted(memory.items())
    ]
    cpu, held = sum(used.values()) / seconds, sum(memory.values())
    whole = Measured("all", 1, (seconds,), (cpu * seconds,), (held,), {"CPU %": (100 * cpu,)})
    bench.keep(f"over {seconds:g} s, {settle:g} s after the start", "processes", [whole, *rows])
    bench.goal("a quiet installation", "", f"{100 * cpu:.1f} % of a core, {held / 1e6:,.0f} MB")
    bench.save()
    return 0


@contextlib.contextmanager
def installation(home: Path) -> Iterator[list[int]]:
    """What `make dev` starts, without the sandbox; gives the leaders of their sessions."""
    given = argparse.Namespace(ui_port=homes.free_port(), port=homes.free_port(), sandbox_port=0)
    environment = dev.environment_of(home, os.environ, 0) | {"DAGSTER_HOME": str(prepare(home))}
    environment["PYTHONPATH"] = str(ROOT)
    commands = dev.commands_of(given, environment)
    children = []
    with (home / "dev.log").open("wb") as log:
        for name, words in commands.items():
            if name != dev.SANDBOX:
                children.append(
                    subprocess.Popen(words, cwd=home, env=environment, start_new_session=True, stdout=log, stderr=log)
                )
    try:
        yield [child.pid for child in children]
    finally:
        dev.end(children)


def role_of(pid: int) -> str:
    words = command(pid)
    return next((role for role, part in ROLES.items() if part in words.replace("-m ", "")), "code server and the rest")


def cpu_by_role(leaders: list[int]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for leader in leaders:
        for pid, seconds in members(leader).items():
            found[role_of(pid)] += seconds
    return found


def memory_by_role(leaders: list[int]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for leader in leaders:
        for pid in members(leader):
            found[role_of(pid)] += proportional(pid)
    return found


if __name__ == "__main__":
    sys.exit(main())
