"""Which tests go to which worker of pytest-xdist, and in which order.

What belongs here: the tests of a file go to one worker, in their order, so that what a file makes for all its tests is
made once. Files whose tests take long each and share nothing are dealt out test by test, and begin first; the quickest
come last, so that no core waits for the other for long.

`xdist_group` would be the mark for it, but pytest 9.2 names tests as it likes, and xdist 3.8 then sees no groups.
"""

from typing import Any

import pytest

TOGETHER = "tests/browser/"
"""What shares a home, a gateway and a browser: one worker has it all."""

ALONE = (
    "tests/pipelines/test_advance_crash.py",
    "tests/pipelines/test_turn.py",
    "tests/faults/test_kill.py",
    "tests/pipelines/test_signals.py",
    "tests/pipelines/test_codes.py",
    "tests/pipelines/test_run.py",
    "tests/pipelines/test_dispatch.py",
    "tests/pipelines/test_definitions.py",
    "tests/faults/test_at_once.py",
    "tests/estafette/test_demo.py",
    "tests/estafette/test_kinds.py",
)
"""Files with tests that take ten seconds or more."""

ROOMS = ("faults", "pipelines", "estafette", "fuzz", "resources", "gateway", "sandbox")


def turn(name: str) -> int:
    """When a test has its turn, among all; those of equal turn keep their order."""
    if name.startswith(TOGETHER):
        return 0
    file = name.split("::")[0]
    if file in ALONE:
        return 1 + ALONE.index(file)
    room = "".join(name.split("/")[1:2])
    return 1 + len(ALONE) + (ROOMS.index(room) if room in ROOMS else len(ROOMS))


def scheduling(config: pytest.Config, log: Any) -> Any:
    """Deals out tests as above, whichever way of dealing was asked for."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return nodeid if file in ALONE else TOGETHER if file.startswith(TOGETHER) else file

    config.option.loadscopereorder = False
    return Scheduling(config, log)
