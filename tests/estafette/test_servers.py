"""`serve`, `sandbox`, `make dev`: processes that stay, and end when they are told to."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from estafette import dev


def start(home: Path, *arguments: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """A server of the command line, and the JSON document that it prints once it listens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "estafette", "--home", str(home), "--json", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    killer = threading.Timer(30, process.kill)
    killer.start()
    assert process.stdout is not None
    text = ""
    while not text.endswith("}\n"):
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        text += line
    killer.cancel()
    return process, json.loads(text)


def end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=15)
    assert process.returncode == 0, said
    assert "Traceback" not in said


def test_the_gateway_listens_and_ends_at_ctrl_c(home):
    process, told = start(home, "serve", "--port", "0")
    try:
        assert httpx.get(f"{told['gateway']}/healthz").json()["status"] == "ok"
        assert told["webhooks"] == f"{told['gateway']}/webhooks/whatsapp"
    finally:
        end(process)


def test_a_gateway_that_is_told_to_end_leaves_no_sign_and_one_that_is_killed_is_missed(home, cli):
    def told():
        return [
            one["failure"] for one in cli("status", "--json").json["failures"] if one["failure"].startswith("gateway")
        ]

    process, found = start(home, "serve", "--port", "0")
    assert httpx.get(f"{found['gateway']}/healthz").status_code == 200 and told() == []
    process.send_signal(signal.SIGTERM)  # uvicorn passes it on: nothing is done after
    process.communicate(timeout=15)
    assert list((home / "data/gateways").iterdir()) == [] and told() == []
    process, found = start(home, "serve", "--port", "0")
    wait_until(lambda: list((home / "data/gateways").glob("*.json")))
    process.kill()
    process.communicate()
    assert told() == ["gateway_down"]
    assert f"The gateway at {found['gateway']} ended without a word" in cli("doctor").out


def wait_until(there) -> None:
    deadline = time.monotonic() + 30
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_gateway_listens_before_the_stores_libraries_are_loaded(home):
    code = (
        "import sys, gateway.app; from estafette.cli import main;"
        " heavy = ('dagster', 'duckdb', 'pyarrow', 'aiohttp');"
        " gateway.app.serve = lambda *_, **__: print([one for one in heavy if one in sys.modules]);"
        f" main(['serve', '--home', {str(home)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("text", [None, "region: Nowhere\n"])
def test_a_home_that_can_not_be_used_is_a_sentence_before_anything_listens(cli, home, text):
    (home / "estafette.yaml").unlink()
    if text is not None:
        (home / "estafette.yaml").write_text(text)
    found = cli("serve", "--port", "0")
    assert found.code == 1 and "estafette.yaml" in found.err and "Traceback" not in found.err


def test_the_sandbox_takes_the_token_of_the_home_and_posts_to_the_gateway_of_this_machine(home):
    process, told = start(home, "sandbox", "--port", "0")
    try:
        refused = httpx.get(f"{told['sandbox']}/v25.0/102290129340398/message_templates")
        assert refused.status_code == 401
        headers = {"authorization": "Bearer EAAG-a-token-nobody-may-see"}
        assert (
            httpx.get(f"{told['sandbox']}/v25.0/102290129340398/message_templates", headers=headers).status_code == 200
        )
        assert told["callback"] == "http://127.0.0.1:8000/webhooks/whatsapp"
    finally:
        end(process)


def test_a_port_in_use_is_a_sentence(cli, box):
    port = box.url.rpartition(":")[2]
    for command in ("serve", "sandbox"):
        found = cli(command, "--port", port)
        assert (found.code, "can't listen" in found.err) == (1, True), command


def test_dev_talks_to_the_sandbox_where_nothing_says_otherwise(home):
    (home / ".env").unlink()
    made = dev.environment_of(home, {"PATH": "/bin"}, 8123)
    assert made["WHATSAPP_API_URL"] == "http://127.0.0.1:8123"
    assert made["WHATSAPP_TOKEN"] == "sandbox-token"
    given = dev._parser().parse_args([])
    assert set(dev.commands_of(given, made)) == {"dagster", "gateway", "sandbox"}


def test_dev_leaves_a_home_alone_that_talks_to_meta(home):
    (home / ".env").write_text("WHATSAPP_TOKEN=EAAG-real\n")
    made = dev.environment_of(home, {"PATH": "/bin"}, 8123)
    assert "WHATSAPP_API_URL" not in made and "WHATSAPP_APP_SECRET" not in made
    assert set(dev.commands_of(dev._parser().parse_args([]), made)) == {"dagster", "gateway"}


def test_dev_ends_what_it_started_and_what_that_started(tmp_path):
    script = (
        "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); time.sleep(60)"
    )
    log = tmp_path / "pid"
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdout=log.open("wb"), stderr=subprocess.DEVNULL, start_new_session=True
    )
    while not log.read_text().strip():
        time.sleep(0.02)
    grandchild = int(log.read_text())
    dev.end([child])
    assert child.poll() is not None
    for _ in range(200):
        try:
            os.kill(grandchild, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{grandchild}/stat").exists() and Path(f"/proc/{grandchild}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.02)
    pytest.fail("a process that it started is still there")
