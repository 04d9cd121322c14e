"""Webhooks on their way: batched, signed, posted to the callback (or appended to a file), retried, kept.

Waits and retries run in real time; timestamps inside the bodies were set before they came here.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import deque
from typing import Any

import httpx

from sandbox.config import Config
from sandbox.faults import WebhookFaults
from sandbox.webhooks import Update, encode, sign


class Delivery:
    """One webhook body and what became of it."""

    __slots__ = ("answers", "body", "n", "state", "updates")

    def __init__(self, n: int, body: bytes, updates: int) -> None:
        self.n, self.body, self.updates = n, body, updates
        self.state = "waiting"  # waiting, delivered, undelivered, kept
        self.answers: list[str] = []  # what the callback said to each attempt: a status code or an exception's name

    def row(self, secret: str) -> dict[str, Any]:
        return {
            "n": self.n,
            "state": self.state,
            "attempts": len(self.answers),
            "answers": self.answers[-10:],
            "signature": sign(secret, self.body),
            "raw": self.body.decode(),
            "body": json.loads(self.body),
        }


class Outbox:
    """`put` is cheap and never blocks; `settle` waits until everything put so far has arrived or was given up."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.callback = config.callback
        self.faults: WebhookFaults = config.webhook_faults
        self._random = random.Random(config.seed)  # noqa: S311 - repeatable on purpose
        self._pending: deque[Update] = deque()
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue(maxsize=max(1, config.connections))
        self._tasks: set[asyncio.Task[None]] = set()
        self._stuck_at = -1  # deliveries counted when waiting for room was given up
        self._open = 0  # cut, and neither delivered nor given up
        self.kept: deque[Delivery] = deque()
        self.undelivered: list[Delivery] = []
        self.counts = {"webhooks": 0, "updates": 0, "delivered": 0, "attempts": 0, "dropped": 0, "duplicated": 0}
        self._log: int | None = None

    async def start(self) -> None:
        if self._config.webhook_log is not None:
            self._config.webhook_log.parent.mkdir(parents=True, exist_ok=True)
            self._log = os.open(self._config.webhook_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        limits = httpx.Limits(max_connections=self._config.connections + 1)
        # The callback is on this machine: its certificate is self-signed.
        self._client = httpx.AsyncClient(verify=False, timeout=10, trust_env=False, limits=limits)  # noqa: S501
        self._spawn(self._cut())
        for _ in range(max(1, self._config.connections)):
            self._spawn(self._post())

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()
        if self._log is not None:
            os.close(self._log)

    def put(self, update: Update) -> None:
        self.counts["updates"] += 1
        if self.faults.drop and self._random.random() < self.faults.drop:
            self.counts["dropped"] += 1
            return
        self._pending.append(update)
        if self.faults.duplicates and self._random.random() < self.faults.duplicates:
            self.counts["duplicated"] += 1
            self._pending.append(update)
        self._wake.set()

    def set_faults(self, faults: WebhookFaults) -> None:
        self.faults = faults
        self._wake.set()
        self._moved.set()

    @property
    def waiting(self) -> int:
        """Updates not cut yet and webhooks not settled yet."""
        return len(self._pending) + self._open

    async def room(self, most: int = 20_000) -> None:
        """Lets waiting updates leave while there are too many of them to keep, as long as they do leave."""
        await asyncio.sleep(0)
        before = self.counts["delivered"]
        for _ in range(100):
            if len(self._pending) <= most or self.faults.hold or before == self._stuck_at:
                return
            await asyncio.sleep(0.02)
        if self.counts["delivered"] == before:
            self._stuck_at = before

    def forget(self) -> None:
        """Drops what was kept for reading; what is on its way goes on."""
        self.kept.clear()
        self.undelivered.clear()

    async def settle(self, timeout: float) -> bool:
        """Whether all is settled (or held on purpose) within `timeout` real seconds."""
        end = time.monotonic() + timeout
        while self._open or (self._pending and not self.faults.hold):
            self._moved.clear()
            self._wake.set()
            try:
                await asyncio.wait_for(self._moved.wait(), end - time.monotonic())
            except TimeoutError:
                return False
        return True

    async def handshake(self, verify_token: str) -> dict[str, Any]:
        """Meta's GET on the callback; what came back and whether it is the challenge."""
        if not self.callback:
            return {"verified": False, "reason": "no callback is set"}
        challenge = str(self._random.randrange(10**9, 10**10))
        params = {"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": verify_token}
        try:
            answer = await self._client.get(self.callback, params=params)
        except httpx.HTTPError as error:
            return {"verified": False, "reason": f"{type(error).__name__}: {error}"}
        return {"verified": answer.status_code == 200 and answer.text == challenge, "status": answer.status_code}

    async def _cut(self) -> None:
        """Makes webhooks of waiting updates, no faster than they are taken."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._pending and not self.faults.hold and len(self._pending) < self._config.batch:
                await asyncio.sleep(self._config.batch_wait_ms / 1000)
            while self._pending and not self.faults.hold:
                delivery = self._next()
                self._open += 1
                if self.faults.delay_ms:
                    self._spawn(self._later(delivery, self._random.uniform(0, self.faults.delay_ms) / 1000))
                elif self.callback:
                    await self._queue.put(delivery)
                else:
                    self._write(delivery)
                    await asyncio.sleep(0)

    def _next(self) -> Delivery:
        pending = self._pending
        if self.faults.shuffle:
            front = [pending.popleft() for _ in range(min(len(pending), 10 * max(1, self._config.batch)))]
            self._random.shuffle(front)
            pending.extendleft(front)
        size = min(max(1, self._config.batch), len(pending))
        body = encode([pending.popleft() for _ in range(size)], self._config.display_phone_number)
        self.counts["webhooks"] += 1
        delivery = Delivery(self.counts["webhooks"], body, size)
        self.kept.append(delivery)
        if (self.callback or self._log is not None) and len(self.kept) > self._config.keep_webhooks:
            self.kept.popleft()
        return delivery

    async def _later(self, delivery: Delivery, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self.callback:
            await self._queue.put(delivery)
        else:
            self._write(delivery)

    def _write(self, delivery: Delivery) -> None:
        """Without a callback: one line of the log, or just kept."""
        if self._log is not None:
            line = memoryview(delivery.body + b"\n")
            while line:
                line = line[os.write(self._log, line) :]
        self._settled(delivery, "delivered" if self._log is not None else "kept")

    async def _post(self) -> None:
        while True:
            delivery = await self._queue.get()
            self.counts["attempts"] += 1
            answer = await self._attempt(delivery.body)
            delivery.answers.append(answer)
            if answer == "200":
                self._settled(delivery, "delivered")
            elif len(delivery.answers) > self._config.retries:
                self.undelivered.append(delivery)
                self._settled(delivery, "undelivered")
            else:
                wait = self._config.retry_first_ms * 2 ** min(len(delivery.answers) - 1, 20)
                self._spawn(self._later(delivery, min(wait, self._config.retry_longest_ms) / 1000))

    async def _attempt(self, body: bytes) -> str:
        if not self.callback:
            return "no callback"
        headers = {
            "content-type": "application/json",
            "user-agent": "facebookexternalua",
            "x-hub-signature-256": sign(self._config.app_secret, body),
        }
        try:
            return str((await self._client.post(self.callback, content=body, headers=headers)).status_code)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return type(error).__name__

    def _settled(self, delivery: Delivery, state: str) -> None:
        delivery.state = state
        self._open -= 1
        if state == "delivered":
            self.counts["delivered"] += 1
        self._moved.set()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
