"""`python -m estafette.dev`, which is `make dev`: Dagster's pages and daemon, the gateway and the sandbox together.

What belongs here: starting them as processes of their own, and ending all of them when one ends or Ctrl-C comes. Each
is a process group, so that what they start ends with them. Where neither the environment nor `.env` says otherwise,
the home talks to the sandbox.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

from dotenv import dotenv_values

from estafette.session import HOME, SETTINGS
from pipelines.run import prepare

PATTERN = re.compile(r"[*?[]")  # as in the standard library's glob
GRACE = 20.0  # seconds that a process has to end
SANDBOX = "sandbox"
TALK = ("WHATSAPP_API_URL", "WHATSAPP_TOKEN", "WHATSAPP_APP_SECRET", "WHATSAPP_VERIFY_TOKEN")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until Ctrl-C (0), or until one of them ends by itself (1)."""
    given = _parser().parse_args(arguments)
    home = Path(given.home or os.environ.get(HOME) or ".").resolve()
    if not (home / SETTINGS).is_file():
        _say(f"there is no {SETTINGS} in {home}: name a project home with --home or ESTAFETTE_HOME")
        return 1
    if PATTERN.search(str(home)):
        _say(f"Dagster takes `[`, `*` and `?` in a path for patterns: move {home} to a path without them")
        return 1
    environment = environment_of(home, os.environ, given.sandbox_port)
    environment["DAGSTER_HOME"] = str(prepare(home))
    commands = commands_of(given, environment)
    stop = _Stop()
    children = {name: _start(command, home, environment) for name, command in commands.items()}
    places = {"Dagster": given.ui_port, "gateway": given.port}
    if SANDBOX in commands:
        places[SANDBOX] = int(commands[SANDBOX][commands[SANDBOX].index("--port") + 1])
    _say(", ".join(f"{name} http://127.0.0.1:{port}" for name, port in places.items()) + "; Ctrl-C ends them.")
    try:
        while not stop.came:
            ended = [name for name, child in children.items() if child.poll() is not None]
            if ended:
                _say(f"{ended[0]} has ended with {children[ended[0]].returncode}; ending the others")
                return 1
            time.sleep(0.2)
        return 0
    finally:
        end(list(children.values()))


def environment_of(home: Path, environment: Mapping[str, str], sandbox_port: int) -> dict[str, str]:
    """The children's environment: as given, and the sandbox's values where nothing says whom to talk to."""
    dotenv = {name: value for name, value in dotenv_values(home / ".env").items() if value}
    made = {**environment, HOME: str(home)}
    if not any(name in made or name in dotenv for name in TALK[:2]):
        example = dotenv_values(home / ".env.example")
        made |= {name: value for name in TALK if (value := example.get(name))}
        made["WHATSAPP_API_URL"] = f"http://127.0.0.1:{sandbox_port}"
    made.setdefault("PYTHONUNBUFFERED", "1")
    return made


def commands_of(given: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, list[str]]:
    """What is started. The sandbox only where messages go to this machine."""
    estafette = [sys.executable, "-m", "estafette"]
    dagster = [sys.executable, "-m", "dagster", "dev", "-m", "pipelines.definitions", "-p", str(given.ui_port)]
    dagster += ["--log-level", "warning"]
    commands = {"dagster": dagster, "gateway": [*estafette, "serve", "--port", str(given.port)]}
    dotenv = dotenv_values(Path(environment[HOME]) / ".env")
    url = environment.get("WHATSAPP_API_URL") or dotenv.get("WHATSAPP_API_URL") or ""
    if urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1"):
        callback = f"http://127.0.0.1:{given.port}/webhooks/whatsapp"
        port = str(urlsplit(url).port or given.sandbox_port)
        commands[SANDBOX] = [*estafette, "sandbox", "--port", port, "--callback", callback]
    return commands


class _Stop:
    """Whether Ctrl-C, or the end by whoever started us, has come."""

    def __init__(self) -> None:
        self.came = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self)

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        self.came = True


def _start(command: list[str], home: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=home, env=environment, start_new_session=True)


def end(children: list[subprocess.Popen[bytes]]) -> None:
    """SIGINT, which Dagster passes on to what it started; then, for what is left of their groups, SIGKILL."""
    for child in children:
        _signal(child, signal.SIGINT)
    deadline = time.monotonic() + GRACE
    for child in children:
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _say(f"{child.args!r} does not end; killing it")
        _signal(child, signal.SIGKILL)
        child.wait()


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return  # nobody of the group is left


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="make dev", description="Dagster, the gateway and the sandbox together.")
    made.add_argument("--home", help="the project home (default: ESTAFETTE_HOME, else this folder)")
    made.add_argument("--ui-port", type=int, default=3000)
    made.add_argument("--port", type=int, default=8000, help="of the gateway")
    made.add_argument("--sandbox-port", type=int, default=8001)
    return made


def _say(text: str) -> None:
    sys.stderr.write(f"dev: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
