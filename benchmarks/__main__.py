"""`python -m benchmarks [--quick]`: every benchmark, one after the other, then the report. `make bench` runs it."""

import argparse
import subprocess
import sys
import time

from benchmarks.harness import ROOT, say

PROGRAMS = (
    "render",
    "intake",
    "campaign",
    "split",
    "sender",
    "receiver",
    "together",
    "trigger_latency",
    "stop",
    "slowing",
    "idle",
    "publishing",
)
"""Modules of this package, in the order in which a message goes."""

NOT_QUICK = ("stop", "slowing", "idle")
"""What has no small size: a stop and a slow-down take as long as they do, and a quiet installation is quiet once its
start is some minutes past."""


def main() -> int:
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").split(":")[1].strip())
    made.add_argument("--quick", action="store_true", help="small sizes: all of it in under three minutes")
    given = made.parse_args()
    began, failed = time.monotonic(), []
    for name in (one for one in PROGRAMS if not given.quick or one not in NOT_QUICK):
        command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if given.quick else [])]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(name)
    subprocess.run([sys.executable, "-m", "benchmarks.report"], cwd=ROOT, check=False)
    say(f"{time.monotonic() - began:.0f} s in all" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
