"""What the sandbox keeps of everything it was sent, and starting it from the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import httpx
import pytest

from sandbox.__main__ import config_from
from sandbox.testing import Box

TO, OTHER = "+33612345678", "+33612345679"


def test_everything_received_is_kept_as_it_came(box: Box) -> None:
    raw = json.dumps(box.body("welcome", TO, biz_opaque_callback_data="e1:1"), indent=3).encode()
    wamid = box.post(raw).json()["messages"][0]["id"]
    box.post(box.body("lottery", OTHER))
    box.act(TO, "read")
    good, bad = box.messages()
    assert (good["n"], good["accepted"], good["wamid"], good["code"]) == (1, True, wamid, None)
    assert good["body"] == json.loads(raw)
    assert (good["to"], good["template"], good["language"], good["callback_data"]) == (TO, "welcome", "fr", "e1:1")
    assert good["received_at"] == box.clock()["now"]
    assert [status["status"] for status in good["statuses"]] == ["sent", "read"]
    assert (bad["accepted"], bad["wamid"], bad["code"], bad["to"]) == (False, None, 132001, OTHER)
    assert good["mono_ns"] < bad["mono_ns"]
    assert good["epoch"] <= bad["epoch"]


def test_messages_are_filtered_and_paged(box: Box) -> None:
    for number in range(7):
        box.send("welcome", TO if number % 2 else OTHER, biz_opaque_callback_data=str(number))
    assert [row["n"] for row in box.messages(to=TO)] == [2, 4, 6]
    assert [row["n"] for row in box.messages(callback="3")] == [4]
    assert "body" not in box.messages(bodies=False)[0]
    raw = box.http.get(f"/_sandbox/messages?to={TO}").json()  # the plus arrives as a space
    assert [row["n"] for row in raw["data"]] == [2, 4, 6]
    seen, after = [], 0
    while after is not None:
        page = box.http.get("/_sandbox/messages", params={"after": after, "limit": 3}).json()
        seen += [row["n"] for row in page["data"]]
        after = page["next_after"]
    assert seen == [1, 2, 3, 4, 5, 6, 7]


def test_the_summary_counts_copies(box: Box) -> None:
    for callback in ("a", "b", "b"):
        box.send("welcome", TO, biz_opaque_callback_data=callback)
    box.send("autumn_last_call", TO)
    box.send("welcome", OTHER)
    box.post(box.body("lottery", OTHER))
    summary = box.summary()
    assert (summary["requests"], summary["accepted"], summary["people"]) == (6, 5, 2)
    assert summary["refused"] == {"132001": 1}
    assert summary["max_copies"] == {"per_person_and_template": 3, "per_callback_data": 2}
    assert summary["by_template"] == {"welcome": 4, "autumn_last_call": 1}
    assert summary["statuses"] == {"sent": 5}
    assert summary["max_in_a_second"]["106540352242922"]["requests"] <= 6


def test_reset_forgets(box: Box) -> None:
    box.send("welcome", TO)
    box.act(TO, "read", at="+1h")
    box.reset("schedule")
    assert box.clock()["scheduled"] == 0
    assert len(box.messages()) == 1
    box.reset()
    assert box.messages() == []
    assert box.summary()["accepted"] == 0


def test_the_command_line_makes_a_config() -> None:
    config = config_from(
        ["--token", "T", "--app-secret", "S", "--now", "2026-12-01T10:00:00Z", "--mix", '{"read": 1}', "--rate", "20"]
    )
    assert (config.token, config.app_secret, config.mix.read, config.rate, config.ticking) == ("T", "S", 1, 20, None)
    assert config_from(["--token", "any"]).token is None
    for wrong in (["--now", "soon"], ["--mix", "sleepy"], ["--mix", '{"read": 7}'], ["--mode", "x"]):
        with pytest.raises(SystemExit) as stopped:
            config_from(wrong)
        assert stopped.value.code == 2


def test_it_starts_as_a_module_and_ends_on_a_signal() -> None:
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--token", "T"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("sandbox: http://127.0.0.1:")
        url = line.split()[1]
        assert httpx.get(f"{url}/_sandbox/clock", trust_env=False).json()["ticking"]
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    assert process.returncode in (0, -signal.SIGTERM)
