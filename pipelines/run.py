"""Running a pass by hand: the job `one_pass` in this process, on the home's own Dagster storage.

What belongs here: preparing DAGSTER_HOME and executing the job, for `tick`, `run` and the demo. It is the same job that
the daemon runs, so its runs show in Dagster's pages; both beside each other harm nothing, because a pass needs the
lease `pass`.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import dagster as dg

from journey.problems import EstafetteError
from pipelines.definitions import build_defs
from resources.definitions import HomeResource, PassResource
from resources.home import HOME
from resources.project import Paths

PACKAGE = Path(__file__).resolve().parent.parent


def prepare(home: Path) -> Path:
    """Make the home's DAGSTER_HOME, with the `dagster.yaml` of the home or of this package. Gives its path.

    Dagster reads `dagster.yaml` of its own folder only, and throws its storage away at exit where there is none.
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
    return folder


def run_pass(home: Path, now: datetime | None = None, *, wait: float = 600.0, quiet: bool = True) -> str:
    """One pass over all that is due at this time, sending included. Gives Dagster's run id.

    Waits up to `wait` seconds for a pass that is at work elsewhere. EstafetteError: what went wrong, said plainly.
    """
    with _environment(home), _hushed(quiet), dg.DagsterInstance.get() as instance:
        at = now.isoformat() if now is not None else ""
        resources = {
            "home": HomeResource(path=str(home), now=at),
            "passing": PassResource(path=str(home), now=at, wait=wait),
        }
        job = build_defs(**resources).resolve_job_def("one_pass")
        result = job.execute_in_process(instance=instance, raise_on_error=True)
        return result.run_id


@contextmanager
def _environment(home: Path) -> Iterator[None]:
    values = {"DAGSTER_HOME": str(prepare(home)), HOME: str(home.resolve())}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    except EstafetteError:
        raise
    except dg.DagsterExecutionStepExecutionError as error:
        cause = error.__cause__ or error.user_exception
        raise cause if isinstance(cause, EstafetteError) else error from None
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _hushed(quiet: bool) -> Iterator[None]:
    """Dagster tells every event on stderr; a command says what matters itself. The run's log has everything."""
    logger = logging.getLogger("dagster")
    level = logger.level
    if quiet:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
