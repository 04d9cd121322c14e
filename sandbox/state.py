"""Everything the sandbox was sent, kept: one record a request, indexes, the summary and the list that tests count.

`accepted` means that Meta would have sent it; a fault after that changes the answer, not the record.
"""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from sandbox.clock import iso
from sandbox.limits import busiest_second


class Sent(msgspec.Struct, kw_only=True):
    """One `POST /messages`."""

    n: int  # from 1, in order of arrival
    phone_number_id: str
    to: str  # as in the body; for a `recipient` its phone
    kind: str  # template, text, read, or "" where the body could not be understood
    template: str = ""
    language: str = ""
    category: str = ""
    callback: str = ""
    wamid: str = ""  # of accepted ones
    code: int = 0  # Meta's code of refused ones
    fault: str = ""  # the kind of the fault that hit it
    raw: bytes = b""  # the body as it came
    received_at: float = 0.0  # on the sandbox's clock
    epoch: float = 0.0  # on the machine's clock
    mono_ns: int = 0  # on the machine's monotonic clock
    statuses: list[tuple[str, float, int]] = msgspec.field(default_factory=list)  # status, timestamp, code

    def has(self, status: str) -> bool:
        return any(name == status for name, _, _ in self.statuses)

    def row(self, bodies: bool = True) -> dict[str, Any]:
        """How `/_sandbox/messages` shows it."""
        row: dict[str, Any] = {
            "n": self.n,
            "accepted": bool(self.wamid),
            "wamid": self.wamid or None,
            "code": self.code or None,
            "fault": self.fault or None,
            "phone_number_id": self.phone_number_id,
            "to": self.to,
            "kind": self.kind,
            "template": self.template or None,
            "language": self.language or None,
            "callback_data": self.callback or None,
            "received_at": iso(self.received_at),
            "epoch": self.epoch,
            "mono_ns": self.mono_ns,
            "statuses": [_status_row(*status) for status in self.statuses],
        }
        if bodies:
            row["body"] = _raw_json(self.raw)
        return row


def _status_row(status: str, at: float, code: int) -> dict[str, Any]:
    return {"status": status, "at": iso(at), **({"code": code} if code else {})}


def _raw_json(raw: bytes) -> Any:
    """The body unparsed where it is JSON; as a string where it is not."""
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return raw.decode(errors="replace")
    return msgspec.Raw(raw)


class Journal:
    """The records of one server's life."""

    def __init__(self) -> None:
        self.records: list[Sent] = []
        self.by_wamid: dict[str, Sent] = {}
        self.last_to: dict[str, Sent] = {}  # phone -> the newest accepted message
        self.copies: Counter[tuple[str, str]] = Counter()  # (phone, template name or "text") -> accepted
        self.statuses: Counter[str] = Counter()
        self.inbound: Counter[str] = Counter()
        self.marked_read = 0
        self._life = os.urandom(6)
        self._wamids = 0

    def add(self, sent: Sent) -> None:
        self.records.append(sent)
        if sent.wamid:
            self.by_wamid[sent.wamid] = sent
            self.last_to[sent.to] = sent

    def wamid(self, digits: str, inbound: bool = False) -> str:
        """A message id that no other server or restart gives. It tells the direction, as Meta's do."""
        self._wamids += 1
        number = digits.encode()
        tail = self._life + self._wamids.to_bytes(5, "big")
        raw = b"\x1d\x18" + bytes([len(number)]) + number + b"\x15\x02\x00" + (b"\x12" if inbound else b"\x11") + tail
        return "wamid." + base64.b64encode(raw).decode()

    def nth(self, phone: str, what: str) -> int:
        """Counts an accepted message of `what` to `phone` and says which one it is, from 1."""
        self.copies[phone, what] += 1
        return self.copies[phone, what]

    def select(
        self, *, after: int = 0, to: str | None = None, accepted: bool | None = None, template: str | None = None,
        callback: str | None = None, wamid: str | None = None,
    ) -> Iterator[Sent]:  # fmt: skip
        """Records with a number above `after` that are as wanted."""
        for index in range(max(after, 0), len(self.records)):
            sent = self.records[index]
            if (
                (to is None or sent.to == to)
                and (accepted is None or bool(sent.wamid) == accepted)
                and (template is None or sent.template == template)
                and (callback is None or sent.callback == callback)
                and (wamid is None or sent.wamid == wamid)
            ):
                yield sent

    def summary(self) -> dict[str, Any]:
        """Counts over everything received; `max_copies` are of accepted messages."""
        accepted = [sent for sent in self.records if sent.wamid]
        callbacks = Counter(sent.callback for sent in accepted if sent.callback)
        copies = Counter((sent.to, sent.template) for sent in accepted if sent.kind == "template")
        numbers = {sent.phone_number_id for sent in self.records}
        return {
            "requests": len(self.records),
            "accepted": len(accepted),
            "refused": dict(Counter(str(sent.code) for sent in self.records if sent.code)),
            "faults": dict(Counter(sent.fault for sent in self.records if sent.fault)),
            "people": len({sent.to for sent in accepted}),
            "by_template": dict(Counter(sent.template or sent.kind for sent in accepted)),
            "max_copies": {
                "per_person_and_template": max(copies.values(), default=0),
                "per_callback_data": max(callbacks.values(), default=0),
            },
            "statuses": dict(self.statuses),
            "inbound": dict(self.inbound),
            "marked_read": self.marked_read,
            "max_in_a_second": {
                number: {
                    "accepted": busiest_second([one.mono_ns for one in accepted if one.phone_number_id == number]),
                    "requests": busiest_second([one.mono_ns for one in self.records if one.phone_number_id == number]),
                }
                for number in sorted(numbers)
            },
        }
