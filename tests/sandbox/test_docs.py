"""Every command and every snippet of docs/sandbox.md works."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from sandbox.testing import Box

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")


def test_the_commands(box: Box) -> None:
    box.send("appointment_reminder", "+33612345678")
    commands = [shlex.split(line) for line in PAGE.splitlines() if line.startswith("    curl ")]
    assert len(commands) > 20
    for words in commands:
        method = words[words.index("-X") + 1] if "-X" in words else "GET"
        address = next(word for word in words if word.startswith("localhost:8001/"))
        body = json.loads(words[words.index("-d") + 1]) if "-d" in words else None
        answer = box.http.request(method, address.removeprefix("localhost:8001"), json=body)
        assert answer.status_code == 200, (words, answer.text)
        assert answer.json()
        if body and "hold" in body:
            box.webhook_faults(duplicates=0, shuffle=False, delay_ms=0, drop=0, early=0, hold=False)
    box.limits(rate=0, pair_rate=False, tier=None, latency_ms=0)
    box.population(mode="manual")


def test_the_snippet() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(snippet, "docs/sandbox.md", "exec"), {})
