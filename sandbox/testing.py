"""A sandbox inside the current process, for tests, the demo and benchmarks: `with running(Config(...)) as box: …`.

It runs in a thread with a loop of its own and is spoken to over HTTP, as Meta would be.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from typing import Any

import httpx

from sandbox.app import address, listen, server
from sandbox.config import Config
from sandbox.examples import template_body
from sandbox.templates import read


class SandboxError(RuntimeError):
    """The sandbox did not understand a control call, or did not settle in time."""


class Box:
    """A running sandbox. `url` is what `WHATSAPP_API_URL` should be."""

    def __init__(self, url: str, config: Config) -> None:
        self.url = url
        self.config = config
        self.token = config.token or "any"
        self.http = httpx.Client(base_url=url, timeout=60, trust_env=False, verify=False)  # noqa: S501 - ours

    # As the business

    def post(
        self, body: Any, *, number: str | None = None, version: str = "v25.0", token: str | None = None
    ) -> httpx.Response:
        """One send. A `bytes` body goes as it is."""
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        path = f"/{version}/{number or self.config.phone_number_id}/messages"
        return self.http.post(path, headers={"authorization": f"Bearer {token or self.token}"}, **content)

    def send(self, template: str, to: str, language: str = "fr", **more: Any) -> str:
        """Sends a template with sample values and gives its wamid; SandboxError when it is refused."""
        answer = self.post(self.body(template, to, language, **more))
        if answer.status_code != 200:
            raise SandboxError(answer.text)
        return str(answer.json()["messages"][0]["id"])

    def body(self, template: str, to: str, language: str = "fr", **more: Any) -> dict[str, Any]:
        """A good body for a template of this sandbox. `values={"first_name": "Léa"}` fills placeholders."""
        found = [row for row in self.templates() if (row["name"], row["language"]) == (template, language)]
        if not found:
            raise SandboxError(f"the sandbox has no template {template} in {language}")
        return template_body(read(found[0]), to, **more)

    def get(self, path: str, **params: str | int) -> httpx.Response:
        return self.http.get(path, params=params, headers={"authorization": f"Bearer {self.token}"})

    # As the one who looks on

    def messages(self, **filters: Any) -> list[dict[str, Any]]:
        """Everything received, in order; filters `to`, `accepted`, `template`, `callback`, `wamid`, `bodies=False`."""
        return self._rows("messages", all="true", **filters)

    def accepted(self, **filters: Any) -> list[dict[str, Any]]:
        return self.messages(accepted=True, **filters)

    def statuses(self, to: str | None = None) -> list[dict[str, Any]]:
        return self._rows("statuses", **({"to": to} if to else {}))

    def webhooks(self, after: int = 0, *, undelivered: bool = False) -> list[dict[str, Any]]:
        """Webhooks made so far, with `body`, `raw`, `signature`, `state`, `attempts`."""
        return self._rows("webhooks", after=after, limit=1_000_000, undelivered=undelivered)

    def summary(self) -> dict[str, Any]:
        return self._call("GET", "summary")

    # As the one who pulls the strings

    def clock(self) -> dict[str, Any]:
        return self._call("GET", "clock")

    def turn(self, to: str | None = None, *, by: str | float | None = None, ticking: bool = False) -> dict[str, Any]:
        """Turns the clock to a time or by a duration, and waits until all webhooks due by then have been delivered."""
        body = {"now": to} if to is not None else {"advance": by or 0}
        fired = self._call("POST", "clock", {**body, "ticking": ticking})["fired"]
        return {**self.drain(), "fired": fired}

    def drain(self, timeout: float = 10) -> dict[str, Any]:
        """Waits for the webhooks that are due. SandboxError when they don't arrive in time."""
        done = self._call("POST", "drain", {"timeout": timeout})
        if not done["settled"]:
            raise SandboxError(f"webhooks were still on their way after {timeout} s: {done}")
        return done

    def act(self, phone: str, do: str, **more: Any) -> dict[str, Any]:
        """One scripted act, its webhook delivered: `box.act("+33612345678", "button", text="Je confirme")`."""
        result: dict[str, Any] = self._call("POST", "act", {"phone": phone, "do": do, **more})["data"][0]
        self.drain()
        return result

    def faults(self, *rules: dict[str, Any]) -> list[dict[str, Any]]:
        """Adds fault rules for sends; without any, says which are in force."""
        done = self._call("POST", "faults", list(rules)) if rules else self._call("GET", "faults")
        return list(done["data"])

    def clear_faults(self) -> None:
        self._call("DELETE", "faults")

    def webhook_faults(self, **changes: Any) -> dict[str, Any]:
        """`duplicates`, `shuffle`, `delay_ms`, `drop`, `early`, `hold`; also `callback`."""
        return self._call("POST", "webhooks", changes)

    def population(self, mix: dict[str, Any] | str | None = None, mode: str | None = None) -> dict[str, Any]:
        return self._call("POST", "population", {"mix": mix, "mode": mode})

    def limits(self, **changes: Any) -> dict[str, Any]:
        """`rate`, `pair_rate`, `tier`, `latency_ms`, `quality`."""
        return self._call("POST", "limits", changes)

    def templates(self) -> list[dict[str, Any]]:
        return self._rows("templates")

    def put_templates(self, *definitions: dict[str, Any]) -> list[dict[str, Any]]:
        return list(self._call("POST", "templates", list(definitions))["data"])

    def template_status(self, name: str, language: str, status: str) -> dict[str, Any]:
        return self._call("POST", f"templates/{name}/{language}/status", {"status": status})

    def handshake(self, verify_token: str) -> dict[str, Any]:
        return self._call("POST", "handshake", {"verify_token": verify_token})

    def reset(self, what: str = "everything") -> None:
        self._call("POST", "reset", {"what": what})

    def _rows(self, door: str, **params: Any) -> list[dict[str, Any]]:
        return list(self._call("GET", door, **params)["data"])

    def _call(self, method: str, door: str, body: Any = None, **params: Any) -> dict[str, Any]:
        plain = {key: str(value).lower() if isinstance(value, bool) else value for key, value in params.items()}
        answer = self.http.request(method, f"/_sandbox/{door}", json=body, params=plain)
        if answer.status_code != 200:
            raise SandboxError(answer.text)
        result: dict[str, Any] = answer.json()
        return result


@contextlib.contextmanager
def running(config: Config | None = None, **settings: Any) -> Iterator[Box]:
    """A sandbox on 127.0.0.1 and a free port (unless the config names another), gone when the block ends."""
    config = dataclasses.replace(config or Config(port=0), **settings)
    if config.port == Config().port:
        config = dataclasses.replace(config, port=0)
    bound = listen(config)
    ready = threading.Event()
    runner = server(config, ready.set)
    thread = threading.Thread(target=runner.run, kwargs={"sockets": [bound]}, name="sandbox", daemon=True)
    thread.start()
    if not ready.wait(20):
        raise SandboxError("the sandbox did not start")
    box = Box(address(config, bound), config)
    try:
        yield box
    finally:
        box.http.close()
        runner.should_exit = True
        thread.join(10)
        bound.close()
