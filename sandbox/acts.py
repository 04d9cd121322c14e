"""What a person does becomes statuses, messages and preferences: scripted acts and the population's deeds alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sandbox import people, webhooks
from sandbox.clock import TimeError, parse_duration, parse_time
from sandbox.population import Deed, Doing
from sandbox.state import Sent
from sandbox.webhooks import Item, Update

if TYPE_CHECKING:
    from sandbox.world import World

STATUSES = ("sent", "delivered", "read", "failed")


class ActError(ValueError):
    """An act that cannot be played: no such message, no such button."""


class Act(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A script for one person: `{"phone": "+33612345678", "do": "button", "text": "Je confirme"}`."""

    phone: str
    do: Doing
    text: str = ""  # what is written; a button's label or payload; an emoji; a caption
    wamid: str | None = None  # which message of ours; default: the newest accepted one to this phone
    template: str | None = None  # or the newest one of this template
    code: int = 131026  # of failed
    details: str | None = None  # of failed
    at: str | float | None = None  # ISO time, epoch seconds, or "+2h" from now; default now
    index: int | None = None  # of a button, instead of its label
    quote: bool | None = None  # whether context names the message; default: buttons do, text only with `wamid`
    hide_phone: bool = False  # a person with a username: neither `from` nor `wa_id`
    phone_number_id: str | None = None  # whom they write to; default: who wrote to them last, else the config's


class Stage:
    """Where acts are played. Knows who wrote when and who has stopped marketing."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._inbound: dict[tuple[str, str], float] = {}  # (phone_number_id, phone) -> time of the last inbound message
        self._phones: dict[str, str] = {}  # user id -> phone, of those who wrote
        self._stopped: set[str] = set()
        self._received: set[str] = set()  # wamids of inbound messages

    def inbound_at(self, phone_number_id: str, phone: str) -> float | None:
        return self._inbound.get((phone_number_id, phone))

    def phone_of(self, user_id: str) -> str | None:
        return self._phones.get(user_id)

    def has_stopped(self, phone: str) -> bool:
        return phone in self._stopped

    def has_received(self, wamid: str) -> bool:
        """Whether a person sent the message with this id."""
        return wamid in self._received

    def time_of(self, act: Act) -> float:
        now = self._world.clock.now()
        try:
            if isinstance(act.at, str) and act.at.startswith("+"):
                return now + parse_duration(act.at[1:])
            return now if act.at is None else parse_time(act.at)
        except TimeError as error:
            raise ActError(str(error)) from None

    def target(self, act: Act) -> Sent | None:
        """The message that an act is about, None for a stranger who writes. ActError when it must have one."""
        journal = self._world.journal
        if act.wamid is not None:
            sent = journal.by_wamid.get(act.wamid)
            if sent is None:
                raise ActError(f"no message was accepted with the id {act.wamid}")
            return sent
        if act.template is not None:
            found = list(journal.select(to=act.phone, accepted=True, template=act.template))
            if not found:
                raise ActError(f"no message with the template {act.template} was accepted for {act.phone}")
            return found[-1]
        sent = journal.last_to.get(act.phone)
        if sent is None and act.do in (*STATUSES, "button", "reaction"):
            raise ActError(f"no message was accepted for {act.phone}, so there is nothing to be {act.do}")
        return sent

    def play(self, act: Act, at: float) -> dict[str, Any]:
        """Plays one scripted act at `at`; says the ids involved."""
        if wrong := people.problem(act.phone):
            raise ActError(wrong)
        sent = self.target(act)
        if act.do in STATUSES:
            assert sent is not None
            self._status(sent, act.do, at, act.code, act.details)
            return {"wamid": sent.wamid, "status": act.do}
        number = act.phone_number_id or (sent.phone_number_id if sent else self._world.config.phone_number_id)
        if act.do in ("preference_stop", "preference_resume"):
            self._preference(number, act.phone, act.do == "preference_stop", at)
            return {"preference": act.do.removeprefix("preference_")}
        quote = act.quote if act.quote is not None else act.do == "button" or act.wamid is not None
        if act.do == "button":
            assert sent is not None
            content = self._button(sent, act.text, act.index)
        elif act.do == "reaction":
            assert sent is not None
            content, quote = webhooks.reaction_content(sent.wamid, act.text), False
        elif act.do == "image":
            content = webhooks.image_content("800000000000001", act.text)
        else:
            content = webhooks.text_content(act.text or ("STOP" if act.do == "stop" else "Bonjour"))
        quoted = sent.wamid if quote and sent else None
        return {"wamid": self._write(number, act.phone, at, content, quoted, act.hide_phone), "quoted": quoted}

    def perform(self, deed: Deed, sent: Sent, at: float) -> None:
        """Plays one deed of the population about one message."""
        if deed.do in STATUSES:
            if not sent.has("failed"):
                self._status(sent, deed.do, at, deed.code, None)
        elif deed.do == "preference_stop":
            self._preference(sent.phone_number_id, sent.to, True, at)
        elif deed.do == "button":
            self._write(sent.phone_number_id, sent.to, at, self._button(sent, "", deed.position), sent.wamid)
        elif deed.do == "reaction":
            self._write(sent.phone_number_id, sent.to, at, webhooks.reaction_content(sent.wamid, deed.text), None)
        else:
            self._write(sent.phone_number_id, sent.to, at, webhooks.text_content(deed.text), None)

    def _status(self, sent: Sent, status: str, at: float, code: int, details: str | None) -> None:
        user_ids = self._world.config.user_ids
        item = webhooks.status_item(sent, status, at, user_ids, code, details)
        failed = code if status == "failed" else 0
        sent.statuses.append((status, at, failed))
        self._world.journal.statuses[status] += 1
        if failed == 131050:
            self._stopped.add(sent.to)
        account = self._world.config.account_of(sent.phone_number_id)
        contact = webhooks.contact(sent.to, user_ids) if user_ids else None
        self._world.tell(Update(account, "messages", "statuses", sent.phone_number_id, item, contact))

    def _write(
        self, number: str, phone: str, at: float, content: Item, quoted: str | None, hide_phone: bool = False
    ) -> str:  # fmt: skip
        world = self._world
        user_ids = world.config.user_ids
        wamid = world.journal.wamid(people.wa_id(phone), inbound=True)
        item = webhooks.inbound_item(
            wamid, phone, at, content, quoted=quoted, business=world.config.display_phone_number, user_ids=user_ids,
            hide_phone=hide_phone,
        )  # fmt: skip
        self._inbound[number, phone] = max(at, self._inbound.get((number, phone), at))
        self._phones[people.user_id(phone)] = phone
        self._received.add(wamid)
        world.journal.inbound[content["type"]] += 1
        contact = webhooks.contact(phone, user_ids, hide_phone)
        world.tell(Update(world.config.account_of(number), "messages", "messages", number, item, contact))
        return wamid

    def _preference(self, number: str, phone: str, stop: bool, at: float) -> None:
        world = self._world
        (self._stopped.add if stop else self._stopped.discard)(phone)
        world.journal.inbound["preference_stop" if stop else "preference_resume"] += 1
        user_ids = world.config.user_ids
        item = webhooks.preference_item(phone, stop, at, user_ids)
        contact = webhooks.contact(phone, user_ids)
        account = world.config.account_of(number)
        world.tell(Update(account, "user_preferences", "user_preferences", number, item, contact))

    def _button(self, sent: Sent, wanted: str, index: int | None) -> Item:
        """The tap on a quick reply, by label, payload or position; its payload is the send's, else the label."""
        template = self._world.book.find(sent.template, sent.language)
        labels = dict(template.quick_replies) if template else {}
        payloads = _payloads(sent.raw)
        for position, label in labels.items():
            payload = payloads.get(position, label)
            if position == index if index is not None else wanted in (label, payload):
                return webhooks.button_content(label, payload)
        there = ", ".join(labels.values()) or "it has none"
        raise ActError(f"the message has no quick reply {wanted if index is None else index!r}: {there}")


def _payloads(raw: bytes) -> dict[int, str]:
    """Payload by position of the quick replies that a send gave one."""
    if not raw:
        return {}
    components = msgspec.json.decode(raw).get("template", {}).get("components", [])
    return {
        int(part["index"]): part["parameters"][0]["payload"]
        for part in components
        if str(part.get("sub_type", "")).lower() == "quick_reply" and part.get("parameters")
    }
