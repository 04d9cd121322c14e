"""Homes for the benchmarks of sending: a campaign a sender, people by the thousand, their messages planned.

What belongs here: the files, and planning by the code of a pass. No network is needed until something is sent.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.render import TEMPLATE
from pipelines.audiences import add_occurrence
from pipelines.run import prepare
from pipelines.turn import turn
from resources.home import Home

FIRST_NUMBER = 106540352242922

PICKUP = {
    "name": "pickup",
    "language": "fr",
    "category": "UTILITY",
    "status": "APPROVED",
    "parameter_format": "NAMED",
    "id": "2",
    "components": [{"type": "BODY", "text": "Votre commande est prête."}],
}


def write_home(path: Path, url: str, *, people: int, pace: int, senders: int = 1, triggers: bool = False) -> Path:
    """The files of a home. `people` a sender, each sender with a campaign `offer_N` of its own and `pace` messages a
    second. `triggers`: also a campaign `pickup` of the first sender, which an event starts."""
    for folder in ("campaigns", "segments", "templates", "landing/contacts", "landing/events", "landing/webhooks"):
        (path / folder).mkdir(parents=True, exist_ok=True)
    rows = [
        f"  s{n}: {{phone_number_id: '{number(n)}', waba_id: '102290129340398', messages_per_second: {pace}}}"
        for n in range(senders)
    ]
    settings = ["region: FR", "timezone: Europe/Paris", "senders:", *rows, "consent: {default: opted_in}"]
    (path / "estafette.yaml").write_text("\n".join([*settings, "media: {check: false}", ""]))
    (path / ".env").write_text(f"WHATSAPP_API_URL={url}\nWHATSAPP_TOKEN=sandbox-token\n")
    for n in range(senders):
        (path / f"segments/part_{n}.yaml").write_text(f"all:\n  - {{user: {{part: {n}}}}}\n")
        (path / f"campaigns/offer_{n}.yaml").write_text(OFFER.replace("N", str(n)))
    if triggers:
        (path / "campaigns/pickup.yaml").write_text(PICKUP_CAMPAIGN)
    for one in (TEMPLATE, PICKUP):
        (path / f"templates/{one['name']}.fr.json").write_text(json.dumps(one))
    lines = [
        f"c{n},06{n:08d},jean {n},aix en provence,chaussures n°{n % 1000},{n % 100},lundi,p-{n},{n % senders}"
        for n in range(people * senders)
    ]
    header = "contact_id,phone,first_name,city,product,points,until,product_id,part"
    (path / "landing/contacts/people.csv").write_text("\n".join([header, *lines, ""]))
    return path


def number(n: int) -> str:
    """The phone_number_id of sender n."""
    return str(FIRST_NUMBER + n)


def plan_all(path: Path, campaigns: Sequence[str] | None = None) -> int:
    """Take in, enter and plan the audiences, so that every message waits to be sent. Gives how many wait."""
    home = Home(path)
    try:
        lease = home.ledger.take("pass", "benchmark", seconds=3600)
        assert lease is not None
        home.reload()
        turn(home, lease, final=True)
        for name, campaign in home.project.live_campaigns().items():
            if name.startswith("offer") and (campaigns is None or name in campaigns):
                add_occurrence(home, campaign, home.clock())
        while turn(home, lease, final=True).more:
            pass  # a turn plans a part of a large audience
        home.ledger.release(lease)
    finally:
        home.close()
    return sum(states(path).values())


def states(path: Path) -> dict[str, int]:
    """How many messages are in each state."""
    home = Home(path)
    try:
        with home.ledger.read() as tx:
            return dict(tx.exec_driver_sql("SELECT state, count(*) FROM message GROUP BY state").all())
    finally:
        home.close()


@contextlib.contextmanager
def started(home: Path, *command: str, certificate: Path | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """`python -m COMMAND` for a home, in a session of its own; what it says goes to a file of the home. What still runs
    at the end of the block is killed."""
    environment = {**os.environ, "DAGSTER_HOME": str(prepare(home)), "ESTAFETTE_HOME": str(home)}
    environment |= {"PYTHONPATH": str(ROOT)} | ({"SSL_CERT_FILE": str(certificate)} if certificate else {})
    with (home / f"{command[0]}.log").open("ab") as log:
        words = [sys.executable, "-m", *command]
        run = subprocess.Popen(words, cwd=home, env=environment, start_new_session=True, stdout=log, stderr=log)
    try:
        yield run
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def job(name: str) -> tuple[str, ...]:
    """How a job of Estafette's is run in a process of its own, as Dagster's daemon runs it."""
    return ("dagster", "job", "execute", "-m", "pipelines.definitions", "-j", name)


def until(what: Callable[[], object], seconds: float, *, while_runs: "subprocess.Popen[bytes] | None" = None) -> None:
    """Wait until `what()` is true. TimeoutError after so many seconds, or where a process has ended meanwhile."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline or (while_runs is not None and while_runs.poll() is not None):
            raise TimeoutError(f"not within {seconds:g} s, or what was to do it has ended")
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


OFFER = """name: offer_N
sender: sN
entries:
  - audience: {segment: part_N}
steps:
  offer:
    message:
      template: offer
      language: fr
      header: {image: "https://example.com/files/banner.jpg"}
      variables:
        "1": {user: first_name, case: CapitalizeFirst, fallback: cher client}
        "2": {user: city, case: CapitalizeAllFirst, fallback: chez vous}
        "3": {user: product, case: UPPERCASE, fallback: Une surprise}
        "4": {user: points}
        "5": {user: until}
      buttons: {Acheter: {user: product_id, fallback: accueil}}
"""

PICKUP_CAMPAIGN = """name: pickup
sender: s0
entries:
  - trigger: {event: order_status_changed, where: {status: Ready for pickup}, key: order_number}
steps:
  ready:
    message: {template: pickup, language: fr}
"""
