"""The platform behind the doors: accepts sends, knows the clock, lets people act on it, tells the business by webhooks.

No HTTP in here. `sends`, `graph` and `control` are its doors.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Mapping
from typing import Any, Literal

from sandbox import people, rules, webhooks
from sandbox.acts import Act, ActError, Stage
from sandbox.clock import Clock, iso
from sandbox.config import Config, Mode
from sandbox.errors import Refusal, refusal
from sandbox.faults import Faults, draw
from sandbox.library import TEMPLATES
from sandbox.limits import PairLimit, RateWindow, TierLimit
from sandbox.outbox import Outbox
from sandbox.population import Deed, Mix, plan
from sandbox.state import Journal, Sent
from sandbox.templates import Book, Template
from sandbox.webhooks import Update

WINDOW = 86_400.0  # of customer service, after each message of a person


class World:
    """One account's platform. Everything runs on one event loop; only `turn` and `drain` wait."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = Clock(config.now, config.ticking)
        self.book = Book(TEMPLATES)
        self.journal = Journal()
        self.outbox = Outbox(config)
        self.faults = Faults(config.faults, config.seed)
        self.mix: Mix = config.mix
        self.mode: Mode = config.mode
        self.rate, self.pair_rate, self.tier = config.rate, config.pair_rate, config.tier
        self.quality = config.quality_rating
        self.latency_ms = config.latency_ms
        self.stage = Stage(self)
        self.closing = asyncio.Event()
        self._windows: dict[str, RateWindow] = {}
        self._pairs = PairLimit()
        self._tiers = TierLimit()
        self._heap: list[tuple[float, int, Sent | None, list[Deed] | Act]] = []
        self._seq = 0
        self._timer: asyncio.TimerHandle | None = None
        self._turning = asyncio.Lock()

    async def start(self) -> None:
        await self.outbox.start()
        self._arm()

    async def stop(self) -> None:
        self.closing.set()
        if self._timer:
            self._timer.cancel()
        await self.outbox.stop()

    # What the business sends

    def check(self, body: Mapping[str, Any], phone_number_id: str, version: int, mono_ns: int) -> Refusal | None:
        """Why Meta would not take this message now, or None. Counts it in the limits when it is taken."""
        refused = rules.check(body, self.book.find, version)
        if refused:
            return refused
        to = self.recipient(body)
        if to is None:
            return Refusal(131009, "The parameter recipient is not known: nobody with this user ID has written here.")
        if to.lstrip("+") == self.config.display_phone_number:
            return refusal(131021)
        now = self.clock.now()
        opened = self.stage.inbound_at(phone_number_id, to)
        inside = opened is not None and now - opened <= WINDOW
        if body["type"] == "text" and not inside:
            return refusal(131047)
        if not self._windows.setdefault(phone_number_id, RateWindow()).take(self.rate, mono_ns):
            return refusal(130429)
        pair = (phone_number_id, to)
        if self.pair_rate and not self._pairs.take(pair, self.config.pair_seconds, self.config.pair_burst, mono_ns):
            return refusal(131056)
        account = self.config.account_of(phone_number_id)
        if self.tier is not None and not inside and not self._tiers.take(account, to, self.tier, now):
            return refusal(131048)
        return None

    def recipient(self, body: Mapping[str, Any]) -> str | None:
        """The phone a body is for; of `recipient`, the phone behind the user id."""
        if "to" in body:
            return str(body["to"])
        return self.stage.phone_of(str(body.get("recipient")))

    def accept(self, sent: Sent) -> None:
        """Gives the message its wamid and lets the person's behaviour begin."""
        sent.wamid = self.journal.wamid(people.wa_id(sent.to))
        nth = self.journal.nth(sent.to, sent.template or "text")
        deeds = self._deeds(sent, nth)
        if deeds:
            self._push(sent.received_at + deeds[0].after, sent, deeds)
            self.fire_due()

    def _deeds(self, sent: Sent, nth: int) -> list[Deed]:
        if self.mode == "silent":
            return []
        marketing = sent.category == "MARKETING"
        if marketing and self.stage.has_stopped(sent.to):
            return [Deed(0, "failed", code=131050)]
        if marketing and people.in_united_states(sent.to):
            return [Deed(0, "failed", code=131049)]
        if self.mode == "manual":
            return [Deed(0, "sent")]
        template = self.book.find(sent.template, sent.language) if sent.template else None
        quick = template.quick_replies if template else ()
        what = sent.template or "text"
        return plan(self.config.seed, self.mix, sent.to, what, nth, marketing=marketing, quick_replies=quick)

    async def early(self, sent: Sent) -> None:
        """Fault: the first statuses arrive before the answer to the send itself."""
        share = self.outbox.faults.early
        if share and draw(self.config.seed, "early", sent.to, sent.template, sent.n) < share:
            await self.outbox.settle(5)

    # What people do

    def act(self, act: Act) -> dict[str, Any]:
        """Plays a scripted act now, or puts it on the clock when its time is still to come. ActError."""
        at = self.stage.time_of(act)
        if at > self.clock.now():
            self.stage.target(act)  # who and what must be known already
            self._push(at, None, act)
            return {"scheduled": iso(at)}
        return self.stage.play(act, at)

    def tell(self, update: Update) -> None:
        self.outbox.put(update)

    def set_template_status(self, name: str, language: str, status: str) -> Template:
        """Changes it and emits Meta's webhook about it."""
        template = self.book.set_status(name, language, status)
        field, value = "message_template_status_update", webhooks.template_value(template)
        self.tell(Update(self.config.waba_id, field, "", "", value, at=int(self.clock.now())))
        return template

    def set_number(self, tier: int | None, quality: str, was: tuple[int | None, str]) -> None:
        """Emits what Meta tells of a changed limit or quality; `was`: both as they were."""
        now, account = int(self.clock.now()), self.config.waba_id
        if tier != was[0]:
            value = {"max_daily_conversations_per_business": webhooks.tier_name(tier)}
            self.tell(Update(account, "business_capability_update", "", "", value, at=now))
        if (quality == "RED") != (was[1] == "RED"):
            event = "FLAGGED" if quality == "RED" else "UNFLAGGED"
            about = {"display_phone_number": self.config.display_phone_number, "event": event}
            value = {**about, "current_limit": webhooks.tier_name(tier)}
            self.tell(Update(account, "phone_number_quality_update", "", "", value, at=now))

    # The clock

    async def turn(self, to: float | None = None, *, by: float = 0.0, ticking: bool = False) -> int:
        """Turns the clock to a time, or by seconds; what is due until then happens in order, each at its own time.

        Gives how many things happened. TimeError when it would go back.
        """
        fired = 0
        async with self._turning:
            ticked = self.clock.ticking
            now = self.clock.stand()  # also while it is being turned
            to = now + by if to is None else to
            if to < now:
                self.clock.turn(now, ticked)
                self.clock.turn(to, ticked)  # says no
            while self._heap and self._heap[0][0] <= to:
                self.clock.turn(max(self.clock.now(), self._heap[0][0]))
                self._fire_next()
                fired += 1
                if fired % 500 == 0:
                    await self.outbox.room()
            self.clock.turn(to, ticking)
        self._arm()
        return fired

    def fire_due(self) -> int:
        """Everything due by now."""
        fired, now = 0, self.clock.now()
        while self._heap and self._heap[0][0] <= now:
            self._fire_next()
            fired += 1
        return fired

    async def drain(self, timeout: float) -> dict[str, Any]:
        """Waits until every webhook that is due has been delivered or given up."""
        fired = self.fire_due()
        settled = await self.outbox.settle(timeout)
        return {**self.times(), "settled": settled, "fired": fired, **self.webhook_counts()}

    def times(self) -> dict[str, Any]:
        return {
            "now": iso(self.clock.now()),
            "ticking": self.clock.ticking,
            "scheduled": len(self._heap),
            "next_due": iso(self._heap[0][0]) if self._heap else None,
        }

    def webhook_counts(self) -> dict[str, int]:
        return {**self.outbox.counts, "undelivered": len(self.outbox.undelivered), "waiting": self.outbox.waiting}

    def forget(self, what: Literal["everything", "schedule"] = "everything") -> None:
        """Drops what is scheduled; with "everything" also the records, windows, stops and limits."""
        self._heap.clear()
        if what == "everything":
            self.journal, self.stage = Journal(), Stage(self)
            self._windows, self._pairs, self._tiers = {}, PairLimit(), TierLimit()
            self.outbox.forget()

    def _push(self, due: float, sent: Sent | None, what: list[Deed] | Act) -> None:
        self._seq += 1
        heapq.heappush(self._heap, (due, self._seq, sent, what))
        if self.clock.ticking and self._heap[0][1] == self._seq:
            self._arm()

    def _fire_next(self) -> None:
        due, _, sent, what = heapq.heappop(self._heap)
        if isinstance(what, Act):
            try:
                self.stage.play(what, due)
            except ActError:  # its message was forgotten meanwhile
                return
        elif sent is not None:
            self.stage.perform(what[0], sent, due)
            if len(what) > 1:
                self._push(sent.received_at + what[1].after, sent, what[1:])

    def _arm(self) -> None:
        """Wakes for the next event when the clock ticks."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self.clock.ticking and self._heap:
            wait = max(0.0, self._heap[0][0] - self.clock.now())
            self._timer = asyncio.get_running_loop().call_later(min(wait, 3600.0) + 0.001, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.fire_due()
        self._arm()
