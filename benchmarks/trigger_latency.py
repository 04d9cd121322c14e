"""From an event file to the POST: how long a trigger takes while the daemon is idle, or in the middle of a pass.

`python -m benchmarks.trigger_latency [--rounds 30] [--contacts 50000] [--live]` makes a home, starts Dagster as
`make dev` does and the sandbox beside it, drops one event file a round at a random moment, and waits for its message at
the sandbox. Prints the times in seconds: whole, and up to the run's request and start. `--live`: the passes linger as
they do in production, and all rounds but the first find one at work. Measure on a machine that does nothing else.
"""

import argparse
import contextlib
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import dagster as dg

from estafette import dev
from pipelines.run import prepare
from resources.home import Home
from sandbox import Config
from sandbox.testing import Box, running

SETTINGS = """
region: FR
timezone: Europe/Paris
senders:
  main: {phone_number_id: "106540352242922", waba_id: "102290129340398", messages_per_second: 80}
consent: {default: opted_in}
media: {check: false}
"""
CAMPAIGN = """
name: pickup
sender: main
entries:
  - trigger: {event: order_status_changed, where: {status: Ready for pickup}, key: order_number}
steps:
  ready:
    message: {template: pickup, language: fr}
"""
TEMPLATE = {
    "name": "pickup",
    "language": "fr",
    "category": "UTILITY",
    "status": "APPROVED",
    "parameter_format": "NAMED",
    "id": "1",
    "components": [{"type": "BODY", "text": "Votre commande est prête."}],
}
READY, PATIENCE = 120.0, 60.0


def main() -> int:
    given = _arguments()
    sandbox = running(Config(mode="silent", rate=0, port=0))
    with tempfile.TemporaryDirectory(prefix="estafette-latency-") as folder, sandbox as box:
        box.put_templates(TEMPLATE)
        path = make_home(Path(folder), box, given.contacts)
        # Made before the daemon starts: two processes that make Dagster's storage at once spoil it.
        instance = dg.DagsterInstance.from_config(str(prepare(path)))
        with daemon(path, live=given.live):
            rows = measure(path, instance, box, given.rounds, given.live)
    show(rows, given)
    return 0


def make_home(folder: Path, box: Box, contacts: int) -> Path:
    """A home with one campaign and so many contacts."""
    for name in ("campaigns", "segments", "templates", "landing/contacts", "landing/events"):
        (folder / name).mkdir(parents=True)
    (folder / "estafette.yaml").write_text(SETTINGS)
    (folder / "campaigns/pickup.yaml").write_text(CAMPAIGN)
    (folder / "templates/pickup.fr.json").write_text(json.dumps(TEMPLATE))
    (folder / ".env").write_text(f"WHATSAPP_API_URL={box.url}\nWHATSAPP_TOKEN={box.token}\n")
    lines = [f"c{n},+336{n:08d},Jean {n},FR,{n % 100}" for n in range(contacts)]
    text = "\n".join(["contact_id,phone,first_name,country,points", *lines]) + "\n"
    (folder / "landing/contacts/people.csv").write_text(text)
    return folder


@contextlib.contextmanager
def daemon(path: Path, *, live: bool) -> Iterator[None]:
    """Dagster's pages and daemon, as `make dev` starts them."""
    given = argparse.Namespace(ui_port=_free_port(), port=_free_port(), sandbox_port=0)
    environment = dev.environment_of(path, os.environ, 0) | {"DAGSTER_HOME": str(prepare(path))}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parent.parent)
    command = dev.commands_of(given, environment)["dagster"]
    if not live:
        command[command.index("pipelines.definitions")] = "benchmarks.short_linger"
    log = (path / "dagster.log").open("wb")
    child = subprocess.Popen(command, cwd=path, env=environment, start_new_session=True, stdout=log, stderr=log)
    try:
        yield
    except TimeoutError:
        _say((path / "dagster.log").read_text(errors="replace")[-3000:])
        raise
    finally:
        dev.end([child])
        log.close()


def measure(
    path: Path, instance: dg.DagsterInstance, box: Box, rounds: int, live: bool
) -> list[tuple[float, float | None, float | None]]:
    """(seconds to the message, to the run's request, to its start) of each round."""
    home = Home(path)
    found: list[tuple[float, float | None, float | None]] = []
    _until(home.contacts.loaded, READY)
    for number in range(rounds):
        if not live:
            _until(lambda: not home.ledger.leases() and not instance.get_runs(_UNFINISHED), READY)
        time.sleep(random.uniform(0.5, 6.0))
        dropped = _drop(path, number)
        _until(partial(_arrived, box, number + 1), PATIENCE)
        whole = time.time() - dropped
        run = instance.get_run_records(dg.RunsFilter(job_name="one_pass"), limit=1)[0]
        requested, started = run.create_timestamp.replace(tzinfo=UTC).timestamp(), run.start_time
        if requested > dropped and started is not None:
            found.append((whole, requested - dropped, started - dropped))
        else:  # a pass was at work already
            found.append((whole, None, None))
        _say(f"{number + 1}: " + ", ".join("-" if one is None else f"{one:.2f}" for one in found[-1]))
    home.close()
    return found


def show(rows: list[tuple[float, float | None, float | None]], given: argparse.Namespace) -> None:
    """p50 and p95 of each column."""
    state = "with a pass at work" if given.live else "idle"
    _say(f"{len(rows)} events, {given.contacts:,} contacts, {state}; seconds from file to")
    for name, column in zip(("the POST", "the run's request", "its start"), zip(*rows, strict=True), strict=True):
        times = sorted(one for one in column if one is not None)
        if len(times) > 1:
            p95 = statistics.quantiles(times, n=20, method="inclusive")[-1]
            _say(f"{name:>20}: p50 {statistics.median(times):.2f}, p95 {p95:.2f}, most {times[-1]:.2f}")


_UNFINISHED = dg.RunsFilter(
    statuses=[dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
)


def _drop(path: Path, number: int) -> float:
    """One event in a file of its own; gives when it lay there."""
    event = {
        "event": "order_status_changed",
        "contact_id": f"c{number}",
        "occurred_at": datetime.now(UTC).isoformat(),
        "properties": {"status": "Ready for pickup", "order_number": f"A{number}"},
    }
    hidden = path / f"landing/events/.{number}.ndjson"
    hidden.write_text(json.dumps(event) + "\n")
    hidden.rename(hidden.with_name(f"{number}.ndjson"))
    return time.time()


def _arrived(box: Box, messages: int) -> bool:
    return len(box.accepted()) >= messages


def _until(what: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(prog="python -m benchmarks.trigger_latency")
    made.add_argument("--rounds", type=int, default=30)
    made.add_argument("--contacts", type=int, default=50_000)
    made.add_argument("--live", action="store_true", help="passes linger; rounds after the first find one at work")
    return made.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
