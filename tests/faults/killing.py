"""A campaign in whose midst processes are killed at random moments: passes, planners, lanes of a dispatch, the gateway.

What belongs here: the processes, the killing, and what must hold after each kill. Meta's stand-in and the gateway run
in processes of their own, and statuses go the whole way: sandbox → gateway → landing zone → pass.
"""

import contextlib
import json
import multiprocessing
import os
import random
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import httpx
from pydantic import SecretStr

from pipelines.audiences import add_occurrence
from pipelines.run import run_pass
from pipelines.sending import Sending, lane_jobs
from pipelines.turn import turn
from resources.home import Home
from sandbox import Config
from sandbox.testing import Box
from tests.pipelines.sending_home import (
    NOW,
    fence,
    open_home,
    process,
    sql,
    states,
    stop_between_transactions,
    wait_for,
    write_home,
    write_people,
)

PACE = 100
LATENCY = 0.1
PATIENCE = 300.0  # a machine with other things to do takes a minute to start a process
SECRET = "sandbox-secret"
SENDERS = ("main", "second")
MIX = {
    "failed": {}, "delivered": 1, "read": 0, "button": 0, "text": 0, "stop": 0, "preference": 0, "reaction": 0,
    "delivered_after": {"at_once": 1},
}  # fmt: skip
FOLLOW_UP = "    next: thanks\n  thanks:\n    message: {template: autumn_offer_thanks, language: fr}\n"
THANKS = {
    "name": "autumn_offer_thanks", "language": "fr", "category": "MARKETING", "status": "APPROVED", "id": "990001",
    "components": [{"type": "BODY", "text": "Merci !"}],
}  # fmt: skip

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pipelines.run", "pipelines.sending", "gateway.app", "tests.faults.killing"])


# -- what runs in processes of its own ---------------------------------------------------------------------------------


def plan_only(path: Path) -> None:
    """One turn under the lease `pass`: it takes in, enters, moves and plans, and sends nothing."""
    home = open_home(path)
    lease = home.ledger.take("pass", f"planner {os.getpid()}")
    if lease is not None:
        home.reload()
        turn(home, lease, final=True)
        home.ledger.release(lease)
    home.close()


def lanes_only(path: Path, senders: Sequence[str]) -> None:
    """What one process of a dispatch does: lanes of these senders, until nothing is left."""
    home = open_home(path)
    home.reload()
    with Sending(home, threading.Event()) as lanes:
        for sender in senders:
            for job in lane_jobs(home, sender):
                lanes.launch(job)
        while lanes.busy():
            time.sleep(0.05)
    home.close()


def gateway(path: Path, port: int) -> None:
    """The gateway, on a port that it had before."""
    from gateway.app import serve

    serve(path, "127.0.0.1", port, NOW, app_secret=SecretStr(SECRET), verify_token=None)


# -- the campaign ------------------------------------------------------------------------------------------------------


@dataclass
class Campaign:
    """The campaign at work. `lost`: messages that were in doubt after each kill; `allowed`: how many may be."""

    home: Path
    box: Box
    port: int
    chance: random.Random
    people: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    lost: list[int] = field(default_factory=list)
    at: float = 0.0  # when the last one was killed
    _gateway: BaseProcess | None = None

    # People come while others are written to, so that there is always something to take in, to enter and to plan.

    def more_people(self, number: int) -> None:
        write_people(self.home, number, self.people, f"people_{self.people}.csv")
        self.people += number

    def ask(self) -> None:
        """Let in whoever has come since the last time."""
        home = open_home(self.home)
        with home.ledger.read() as tx:
            live = set(tx.exec_driver_sql("SELECT name FROM campaign WHERE live").scalars())
        for name, campaign in home.project.campaigns.items():
            if name in live:
                add_occurrence(home, campaign, NOW)
        home.close()

    # -- processes -----------------------------------------------------------------------------------------------------

    @contextmanager
    def running(self, target: Callable[..., None], *args: object) -> Iterator[BaseProcess]:
        one = FORKS.Process(target=target, args=args)
        one.start()
        try:
            yield one
        finally:
            if one.is_alive():
                self.end(one)
            one.join()

    def end(self, one: BaseProcess, number: signal.Signals = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(one.pid or 0, number)
        self.at = time.time()  # not before: until then it went on sending

    def wake(self, one: BaseProcess) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid or 0, signal.SIGCONT)

    def start_gateway(self) -> None:
        self._gateway = FORKS.Process(target=gateway, args=(self.home, self.port))
        self._gateway.start()

    def end_gateway(self) -> None:
        if self._gateway is not None:
            self._gateway.kill()
            self._gateway.join()

    def posted(self) -> int:
        return int(self.box.summary()["requests"])

    # -- killing -------------------------------------------------------------------------------------------------------

    def kill(self, what: str) -> None:
        getattr(self, f"_kill_{what}")()
        self.kills[what] += 1

    def _kill_pass(self) -> None:
        before = self.posted()
        with self.running(run_pass, self.home, NOW) as victim:
            if self.chance.random() < 0.7:  # while it sends; else at any moment, its start included
                wait_for(lambda: self.posted() > before or not victim.is_alive(), PATIENCE)
            time.sleep(self.chance.uniform(0, 0.8))
        self._over()

    def _kill_planner(self) -> None:
        with self.running(plan_only, self.home):
            time.sleep(self.chance.uniform(0.02, 0.35))
        self._over()

    def _kill_lane(self) -> None:
        """One process of a dispatch dies, the other one goes on; a successor takes the dead one's place."""
        before = self.posted()
        with (
            self.running(lanes_only, self.home, SENDERS[:1]) as victim,
            self.running(lanes_only, self.home, SENDERS[1:]) as other,
        ):
            wait_for(lambda: self.posted() > before or not victim.is_alive(), PATIENCE)
            time.sleep(self.chance.uniform(0, 0.6))
            self.end(victim)
            victim.join()
            self._in_doubt(SENDERS[:1])
            sql(self.home, "UPDATE lease SET until = 0 WHERE name LIKE 'send:main:%'")
            with self.running(lanes_only, self.home, SENDERS[:1]):
                time.sleep(self.chance.uniform(0.1, 0.5))
            assert other.exitcode in (None, 0)
        self._over()

    def _kill_gateway(self) -> None:
        with self.running(lanes_only, self.home, SENDERS):
            time.sleep(self.chance.uniform(0, 0.5))
            self.end_gateway()
            time.sleep(self.chance.uniform(0, 0.2))
            self.start_gateway()
        self._over()

    def _kill_sleeper(self) -> None:
        """A process sleeps past its lease, another sends on, and the first one wakes: it has nothing more to say."""
        before = self.posted()
        with self.running(lanes_only, self.home, SENDERS) as sleeper:
            wait_for(lambda: self.posted() > before or not sleeper.is_alive(), PATIENCE)
            self.at = stop_between_transactions(sleeper.pid or 0, self.home)
            self._over()
            with self.running(lanes_only, self.home, SENDERS):
                time.sleep(self.chance.uniform(0.1, 0.4))
                self.wake(sleeper)
                time.sleep(self.chance.uniform(0.1, 0.3))
        self._over()

    def _over(self) -> None:
        """Nobody of the dead has a lease any more."""
        self._in_doubt(SENDERS)
        fence(self.home)

    def _in_doubt(self, senders: Sequence[str]) -> None:
        """After a kill no more is in doubt than the pace lets out in the time that answers took, and 0.2 s. How long
        they took on a machine with other things to do is seen from the oldest that had none."""
        for sender in senders:
            query = "SELECT count(*), min(attempted_wall) FROM message WHERE state = 'attempted' AND sender = ?"
            [(found, oldest)] = sql(self.home, query, sender)
            took = max(LATENCY, self.at - int(str(oldest)) / 1e6) if oldest is not None else LATENCY
            assert int(str(found)) <= PACE * (took + 0.2), f"{found} in doubt, {took:.2f} s, after {self.kills}"
            self.lost.append(int(str(found)))

    # -- the end -------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Send the rest, with every status in."""
        time.sleep(LATENCY + 0.3)  # what the dead had on the wire arrives
        for _ in range(3):
            run_pass(self.home, NOW)
            self.box.drain(60)
        run_pass(self.home, NOW)

    def sent(self) -> Counter[tuple[str, str, str]]:
        """How many messages the sandbox took, by (sender's number, person, template)."""
        rows = self.box.accepted(bodies=False)
        return Counter((row["phone_number_id"], row["to"], row["template"]) for row in rows)

    def check(self) -> None:
        """Nobody has two; everyone has one or is known to be in doubt; whatever arrived is known to have arrived."""
        sent, numbers = self.sent(), dict(sql(self.home, "SELECT sender, campaign FROM message GROUP BY 1"))
        assert set(numbers) == set(SENDERS)
        assert max(sent.values()) == 1
        by_state = states(self.home)
        assert set(by_state) <= {"accepted", "sent", "delivered", "unknown"}, by_state
        assert by_state.get("unknown", 0) <= sum(self.lost)
        rows = sql(self.home, "SELECT sender, phone, template, state FROM message")
        from tests.pipelines.sending_home import NUMBERS

        arrived = {(NUMBERS[str(sender)], str(phone), str(template)) for sender, phone, template, _ in rows}
        assert set(sent) <= arrived
        for sender, phone, template, state in rows:
            there = sent[NUMBERS[str(sender)], str(phone), str(template)]
            assert there == (0 if state == "unknown" else 1), (phone, template, state)

    def statistics(self) -> str:
        """What the kills came to, for whoever reads the log of a nightly run."""
        unknown, at_work = states(self.home).get("unknown", 0), [one for one in self.lost if one]
        return (
            f"{sum(self.kills.values())} kills ({', '.join(f'{n} {what}' for what, n in sorted(self.kills.items()))});"
            f" in doubt after {len(at_work)} of {len(self.lost)} looks at a sender, at most {max(self.lost)} messages,"
            f" {sum(self.lost)} in all, of which statuses settled {sum(self.lost) - unknown}; {unknown} never arrived;"
            f" {sum(self.sent().values())} messages arrived"
        )

    def later(self) -> None:
        """A day on, what nobody ever heard of counts as sent, and the journey of those people goes on too."""
        sql(self.home, "UPDATE message SET attempted_wall = attempted_wall - 61000000 WHERE state = 'unknown'")
        later = NOW.replace(day=NOW.day + 1, hour=NOW.hour + 1)
        run_pass(self.home, later)
        self.box.drain(60)
        run_pass(self.home, later)


@contextmanager
def campaign(path: Path, seed: int) -> Iterator[Campaign]:
    """A home whose campaigns, one a sender, write twice to everyone; nobody has been let in yet."""
    with ExitStack() as stack:
        port = free_port()
        server = stack.enter_context(
            process(
                "-m", "sandbox", "--port", "0", "--rate", "0", "--now", NOW.isoformat(), "--mix", json.dumps(MIX),
                "--latency-ms", str(LATENCY * 1000), "--callback", f"http://127.0.0.1:{port}/webhooks/whatsapp",
                "--batch", "20",
            )
        )  # fmt: skip
        assert server.stdout is not None
        url = re.search(r"http\S+", server.stdout.readline())
        assert url is not None
        box = Box(url[0], Config())
        stack.callback(box.http.close)
        box.put_templates(THANKS)
        write_home(path, box.url, people=0, pace=PACE, senders=SENDERS)
        for sender in SENDERS:
            file = path / f"campaigns/offer_{sender}.yaml"
            file.write_text(file.read_text() + FOLLOW_UP)
        from resources.template_cache import pull

        home = Home(path)
        pull(home)
        home.close()
        made = Campaign(path, box, port, random.Random(seed))
        made.start_gateway()
        stack.callback(made.end_gateway)
        wait_for(lambda: answers(port))
        made.more_people(10)
        plan_only(path)
        yield made


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, timeout=5).status_code in (200, 503)
    except httpx.HTTPError:
        return False


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
