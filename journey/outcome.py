"""What became of one POST: Meta's answer, or the lack of one, read into one `Outcome`.

What belongs here: the reading, as a total function. What the codes mean is `codes`; what is done about it (pace,
stopping, retries) is the sender's room. The rule behind it: the Cloud API has no idempotency key, so only what is
certain to be refused, or certain never to have left, may go out again. Everything else is `unknown`.
"""

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from journey.codes import CODES, NOT_THERE, Action, action_of, explain

__all__ = ["Action", "Failure", "Outcome", "decide"]

# Nothing of Meta's is this long; an answer's text ends in the ledger and on status pages.
_TEXT = 1_000
_LARGEST_CODE = 2**31 - 1

# HTTP statuses that, without an error of Meta's, no server gives after carrying the request out: a gateway that wants a
# log-in, an address that is not the Cloud API. 400, 408, 409 and the like are left out: a proxy uses them for itself.
_TURNED_AWAY = frozenset({401, 403, 404, 405, 407, 410, 413, 414, 421, 431})


class Failure(StrEnum):
    """How a POST failed without an answer."""

    not_written = "not_written"  # refused connection, DNS, TLS: no byte of the request was written
    broken = "broken"  # broken or timed out after that, or at a moment that can't be told


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one POST.

    `wamid`: Meta's id, only with `accepted`. `message_status` (templates only): accepted, held_for_quality_assessment,
    paused. `code`, `title`, `details`: Meta's error, or why there is no outcome; `title` is ours (see `codes.explain`),
    `details` Meta's words. `wa_id` (without +) and `user_id`: who Meta says the recipient is; they may differ from the
    phone that was sent. `http_status`: None without an answer. `wait`: seconds that the answer asks to wait for before
    the next try (Retry-After), None where it does not.
    """

    action: Action
    wamid: str | None = None
    message_status: str | None = None
    code: int | None = None
    title: str | None = None
    details: str | None = None
    wa_id: str | None = None
    user_id: str | None = None
    http_status: int | None = None
    wait: float | None = None


def decide(http_status: int | None, body: bytes | None, error: Failure | None = None) -> Outcome:
    """Reads one answer. Never raises, whatever the bytes.

    `http_status` and `body` of the answer; without a whole answer, `error`. An answer of 200 with a message id is
    accepted; an error body counts by its code, whatever the HTTP status; what can't be read is unknown.
    """
    if error is Failure.not_written:
        return Outcome(Action.not_sent, title="Not connected", details="No byte of the request left.")
    if error is not None or http_status is None:
        return Outcome(Action.unknown, title="No answer", details="The connection broke or timed out.")
    answer = _object(body)
    if 200 <= http_status <= 299:
        accepted = _accepted(answer, http_status)
        if accepted is not None:
            return accepted
    fault = answer.get("error")
    if isinstance(fault, dict):
        refused = _refused(fault, http_status)
        if refused is not None:
            return refused
    return _wordless(http_status)


def _accepted(answer: dict[str, object], http_status: int) -> Outcome | None:
    message, contact = _first(answer.get("messages")), _first(answer.get("contacts"))
    wamid = _text(message.get("id"))
    if wamid is None:
        return None
    return Outcome(
        Action.accepted,
        wamid=wamid,
        message_status=_text(message.get("message_status")),
        wa_id=_text(contact.get("wa_id")),
        user_id=_text(contact.get("user_id")),
        http_status=http_status,
    )


def _refused(fault: dict[str, object], http_status: int) -> Outcome | None:
    """An error object: by its code. Without a usable code it is a refusal only where the HTTP status says so too."""
    code = _code(fault.get("code"))
    if code is None and not 400 <= http_status <= 499:
        return None
    if code == 100 and _code(fault.get("error_subcode")) == NOT_THERE:
        code = NOT_THERE  # it is about the number that sends, and would be the answer to every message
    data = fault.get("error_data")
    details = _text(data.get("details")) if isinstance(data, dict) else _text(data)
    details = details or _text(fault.get("error_user_msg")) or _text(fault.get("message"))
    action = action_of(code, details)
    if action is Action.final and code not in CODES and fault.get("is_transient") is True:
        action = Action.retry_soon  # Graph's own word on a code that nobody has described
    return Outcome(action, code=code, title=explain(code).title, details=details, http_status=http_status)


def _wordless(http_status: int) -> Outcome:
    """An answer without Meta's words: by the HTTP status, where that leaves no doubt."""
    if http_status == 429:
        return Outcome(
            Action.slow_down, title="Too many requests", details="HTTP 429 without an error.", http_status=http_status
        )
    if 300 <= http_status <= 399 or http_status in _TURNED_AWAY:
        details = f"HTTP {http_status} without an error of Meta's: is WHATSAPP_API_URL the Cloud API?"
        return Outcome(Action.not_sent, title="Turned away", details=details, http_status=http_status)
    details = f"HTTP {http_status} with a body that can't be read as an answer."
    return Outcome(Action.unknown, title="Unreadable answer", details=details, http_status=http_status)


def _object(body: bytes | None) -> dict[str, object]:
    try:
        value = msgspec.json.decode(body or b"")
    except (ValueError, RecursionError):  # msgspec.DecodeError and UnicodeDecodeError are ValueErrors
        return {}
    return value if isinstance(value, dict) else {}


def _first(value: object) -> dict[str, object]:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return value[0]
    return {}


def _text(value: object) -> str | None:
    return value[:_TEXT] if isinstance(value, str) and value.strip() else None


def _code(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_CODE:
        return value
    return None
