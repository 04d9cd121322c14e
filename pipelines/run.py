"""Running a pass by hand: the job `one_pass` in this process, on the home's own Dagster storage.

What belongs here: preparing DAGSTER_HOME and executing the job, for `tick`, `run` and the demo. It is the same job that
the daemon runs, so its runs show in Dagster's pages; both beside each other harm nothing, because a pass needs the
lease `pass`. The environment is left alone: any number of homes may be run from one process.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster._core.instance.ref import InstanceRef
from dagster_shared.yaml_utils import safe_load_yaml

from journey.problems import foreseen
from pipelines.jobs import one_pass
from resources.definitions import PassResource
from resources.interrupts import kept
from resources.project import Paths

NO_CAPTURE: dict[str, Any] = {
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
}
"""Our ops write no stdout: capturing it takes time at each run, and the terminal's own output away meanwhile."""

HUSHED = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Dagster tells every event on stderr; a command says what matters itself. The run's own log has everything."""

MAKING = 20
"""Tries, a quarter of a second apart, while another process makes the same storage."""

LOCK, MADE = ".made-by-one", "made"
STORAGE = "schedules/schedules.db"  # the last of Dagster's files to be made

PACKAGE = Path(__file__).resolve().parent.parent


def prepare(home: Path) -> Path:
    """Make the home's DAGSTER_HOME, with the `dagster.yaml` of the home or of this package, and Dagster's storage in
    it. Gives its path.

    Dagster reads `dagster.yaml` of its own folder only, and throws its storage away at exit where there is none. Its
    storage is made here because daemons that are started at the same moment, or one beside the webserver, spoil it for
    each other (see `_instance`).
    """
    folder = Paths(home.resolve()).dagster
    folder.mkdir(parents=True, exist_ok=True)
    source = home / "dagster.yaml"
    if not source.is_file():
        source = PACKAGE / "dagster.yaml"
    target = folder / "dagster.yaml"
    if not target.is_file() or target.read_bytes() != source.read_bytes():
        hidden = folder / f".dagster.yaml.{os.getpid()}"
        shutil.copyfile(source, hidden)
        hidden.replace(target)
    if not ((folder / STORAGE).is_file() and (folder / LOCK).is_file() and (folder / LOCK).read_text() == MADE):
        _instance(_reference(folder), folder).dispose()
        (folder / LOCK).write_text(MADE)
    return folder


def run_pass(home: Path, now: datetime | None = None, *, wait: float = 600.0, quiet: bool = True) -> str:
    """One pass over all that is due at this time, sending included. Gives Dagster's run id.

    Waits up to `wait` seconds for a pass that is at work elsewhere. EstafetteError: what went wrong, said plainly.
    KeyboardInterrupt: SIGINT or SIGTERM came; what was on its way was settled, and a later pass goes on.
    """
    folder = prepare(home)
    reference = _reference(folder)
    passing = PassResource(path=str(home.resolve()), now=now.isoformat() if now is not None else "", wait=wait)
    with kept(), _plainly(), _instance(reference, folder) as instance:
        config = HUSHED if quiet else None
        return one_pass.execute_in_process(config, instance=instance, resources={"passing": passing}).run_id


def _reference(folder: Path) -> InstanceRef:
    """Dagster's storage in `folder`. Its settings are read here: Dagster takes brackets in a path for a pattern, finds
    no file, and goes on without them (with telemetry, too)."""
    settings = safe_load_yaml((folder / "dagster.yaml").read_text(encoding="utf-8")) or {}
    return InstanceRef.from_dir(str(folder), overrides={**settings, **NO_CAPTURE})


def _instance(reference: InstanceRef, folder: Path) -> dg.DagsterInstance:
    """Dagster's storage in `folder`, made by one process at a time: two that make it at once trip over each other's
    tables ("table secondary_indexes already exists"), or spoil it for good ("Version table 'alembic_version' has more
    than one head present"). Dagster's own daemon knows nothing of our lock: whoever trips over it tries again."""
    with (folder / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for _ in range(MAKING):
            with contextlib.suppress(sa.exc.OperationalError):
                return dg.DagsterInstance.from_ref(reference)
            time.sleep(0.25)
        return dg.DagsterInstance.from_ref(reference)


@contextmanager
def _plainly() -> Iterator[None]:
    """Dagster wraps what an op or a resource raises; whoever calls wants the cause."""
    try:
        yield
    except dg.DagsterExecutionInterruptedError:
        raise KeyboardInterrupt from None
    except dg.DagsterError as error:
        raise foreseen(error) or error from None
