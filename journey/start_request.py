"""The body of a POST that starts a journey: what it may say, and a sentence for each thing that is wrong with it.

What belongs here: the body's shape, which entry of a campaign a request fits, and the line of a request file that it
becomes. Whether the campaign is there and goes on, and who comes in, is for others.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from journey.spelling import suggest

if TYPE_CHECKING:
    from journey.campaign import ApiEntry, Campaign

KINDS = ("users", "phones", "segment")
LONGEST_NAME = 200
_KEYS = (*KINDS, "attribute_values")
_ONE = "exactly one of `users`, `phones` and `segment` is wanted"
_EXAMPLE = 'write {"payload": {"users": ["u1"]}}'


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What was asked for: `kind` is users, phones or segment; `people` the ids or phones as written, each once, or the
    segment's name alone."""

    kind: str
    people: tuple[str, ...]
    attributes: Mapping[str, Any]

    def line(self, campaign: str, request_uuid: str) -> bytes:
        """The line of a request file (without its newline)."""
        named = self.people[0] if self.kind == "segment" else self.people
        return msgspec.json.encode(
            {
                "request_uuid": request_uuid,
                "campaign": campaign,
                self.kind: named,
                "attribute_values": self.attributes,
            }
        )

    def digest(self) -> str:
        """The same for the same request, however its body was written."""
        said = msgspec.json.encode([self.kind, self.people, self.attributes], order="deterministic")
        return hashlib.sha256(said).hexdigest()


def read_start(body: Mapping[str, Any]) -> StartRequest:
    """A request from a POST's body. ValueError: a sentence that says what is wrong."""
    if "payload" not in body:
        raise ValueError(f"The body has no `payload`; {_EXAMPLE}.")
    _only(body, ("payload",), "the body")
    payload = body["payload"]
    if not isinstance(payload, dict):
        raise ValueError(f"`payload` is no JSON object; {_EXAMPLE}.")
    _only(payload, _KEYS, "`payload`")
    given = [kind for kind in KINDS if payload.get(kind) is not None]
    if not given:
        raise ValueError(
            f"`payload` names nobody: exactly one of `users`, `phones` and `segment` is wanted; {_EXAMPLE}."
        )
    if len(given) > 1:
        listed = " and ".join(f"`{kind}`" for kind in given)
        raise ValueError(f"`payload` has {listed}; {_ONE}.")
    kind = given[0]
    people = (_segment(payload[kind]),) if kind == "segment" else _listed(kind, payload[kind])
    attributes = payload.get("attribute_values")
    if attributes is None:
        attributes = {}
    if not isinstance(attributes, dict):
        raise ValueError('`attribute_values` is no JSON object; write {"offer": "x"}.')
    return StartRequest(kind, people, attributes)


def fitting_entry(campaign: "Campaign", given: set[str]) -> tuple[int, str | None]:
    """(the place of the API entry that wants exactly these attributes, None), or (0, why there is none)."""
    entries = [(place, one) for place, one in enumerate(campaign.entries) if one.kind == "api"]
    if not entries:
        return 0, "the campaign has no API entry"
    for place, one in entries:
        if set(one.attributes) == given:
            return place, None
    return 0, _misfit(entries[0][1], given)


def _misfit(entry: "ApiEntry", given: set[str]) -> str:
    declared = set(entry.attributes)
    missing = ", ".join(f"`{name}`" for name in sorted(declared - given))
    unknown = ", ".join(f"`{name}`" for name in sorted(given - declared))
    said = [f"missing {missing}"] if missing else []
    said += [f"{unknown} not declared"] if unknown else []
    return f"attribute_values do not fit the entry's attributes: {'; '.join(said)}"


def _only(found: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for name in found:
        if name not in known:
            raise ValueError(f"There is no `{name[:60]}` in {where}. {suggest(name, known, none='')}")


def _segment(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError('`segment` is the name of a segment, e.g. "loyal".')
    return value.strip()


def _listed(kind: str, value: Any) -> tuple[str, ...]:
    example = '["u1", "u2"]' if kind == "users" else '["+33612345678"]'
    if not isinstance(value, list):
        raise ValueError(f"`{kind}` is no list; write {example}.")
    if not value:
        raise ValueError(f"`{kind}` is an empty list: it names nobody.")
    texts: list[str] = []
    for place, one in enumerate(value):
        text = "" if isinstance(one, bool) or not isinstance(one, str | int) else str(one).strip()
        if not text or len(text) > LONGEST_NAME:
            what = f"text of 1 to {LONGEST_NAME} characters"
            raise ValueError(f"`{kind}` holds something that is no {what}, at place {place} (from 0).")
        texts.append(text)
    return tuple(dict.fromkeys(texts))
