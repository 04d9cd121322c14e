"""Every setting of a sandbox. A frozen value: what can change while it runs is changed through its control doors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sandbox.faults import Fault, WebhookFaults
from sandbox.population import Mix

Mode = Literal["auto", "manual", "silent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    host: str = "127.0.0.1"
    port: int = 8001  # 0: any free port
    certfile: str | None = None  # PEM files: serve https
    keyfile: str | None = None

    token: str | None = "sandbox-token"  # noqa: S105 - the one Bearer token that is good; None: any
    app_secret: str = "sandbox-secret"  # noqa: S105 - signs the webhooks
    callback: str | None = None  # URL that gets the webhooks
    webhook_log: Path | None = None  # instead of a callback: each raw body is appended as one line

    phone_number_id: str = "106540352242922"  # the sender of people who write without having been written to
    waba_id: str = "102290129340398"  # the account of senders that `senders` does not name
    senders: Mapping[str, str] = field(default_factory=dict)  # phone_number_id -> waba_id; empty: any id is good
    display_phone_number: str = "15550783881"
    verified_name: str = "Boutique Sandbox"
    quality_rating: str = "GREEN"
    user_ids: bool = True  # business-scoped user ids in answers and webhooks, as since April 2026

    now: str | float | None = None  # where the clock starts (ISO 8601 or epoch seconds); None: real time
    ticking: bool | None = None  # None: ticks in real time, stands still where `now` is given

    seed: int = 1  # of people, faults and everything else drawn
    mode: Mode = "auto"  # auto: people behave by `mix`; manual: sent, then only scripted acts; silent: not even sent
    mix: Mix = field(default_factory=Mix)

    rate: int = 80  # messages per phone number in any sliding second; 0: no limit
    pair_rate: bool = False  # 131056: one message per `pair_seconds` to one person, `pair_burst` ahead at most
    pair_seconds: float = 6.0
    pair_burst: int = 45
    tier: int | None = None  # people in 24 h per account, outside service windows (250, 2000, 10000…); None: any number
    latency_ms: float = 0.0  # before each answer to a send

    faults: tuple[Fault, ...] = ()
    webhook_faults: WebhookFaults = field(default_factory=WebhookFaults)
    batch: int = 100  # updates in one webhook at most
    batch_wait_ms: float = 20.0  # how long the first update of a batch waits for others
    connections: int = 1  # webhooks posted at the same time; with one they arrive in order
    retry_first_ms: float = 50.0  # doubles up to the longest
    retry_longest_ms: float = 5000.0
    retries: int = 30  # then the webhook stays undelivered
    keep_webhooks: int = 10_000  # how many bodies are kept for reading; all of them without callback and log
    keep_bodies: bool = True  # False: forget the bodies of accepted sends (very long benchmarks)

    def account_of(self, phone_number_id: str) -> str:
        return self.senders.get(phone_number_id, self.waba_id)
