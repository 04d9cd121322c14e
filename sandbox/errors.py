"""Meta's error codes as the Cloud API answers them: HTTP status, title, and the two shapes (answer, failed status)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

# code: (HTTP status, title). The status column is the one printed in Meta's error page of January 2026.
CODES: dict[int, tuple[int, str]] = {
    0: (401, "AuthException"),
    1: (400, "API Unknown"),
    2: (503, "API Service"),
    3: (500, "API Method"),
    4: (400, "API Too Many Calls"),
    10: (403, "Permission Denied"),
    33: (400, "Parameter value is not valid"),
    100: (400, "Invalid parameter"),
    190: (401, "Access token has expired"),
    200: (403, "API Permission"),
    368: (403, "Temporarily blocked for policies violations"),
    80007: (400, "Rate limit issues"),
    130403: (400, "Business has blocked this user"),
    130429: (400, "Rate limit hit"),
    130472: (400, "User's number is part of an experiment"),
    130497: (403, "Business account is restricted from messaging users in this country"),
    131000: (500, "Something went wrong"),
    131005: (403, "Access denied"),
    131008: (400, "Required parameter is missing"),
    131009: (400, "Parameter value is not valid"),
    131016: (500, "Service unavailable"),
    131021: (400, "Recipient cannot be sender"),
    131026: (400, "Message undeliverable"),
    131030: (400, "Recipient phone number not in allowed list"),
    131031: (403, "Account has been locked"),
    131037: (400, "Display name approval needed"),
    131042: (400, "Business eligibility payment issue"),
    131045: (500, "Incorrect certificate"),
    131047: (400, "Re-engagement message"),
    131048: (400, "Spam rate limit hit"),
    131049: (400, "Meta chose not to deliver"),
    131050: (400, "User has stopped marketing messages"),
    131051: (400, "Unsupported message type"),
    131052: (400, "Media download error"),
    131053: (400, "Media upload error"),
    131056: (400, "(Business Account, Consumer Account) pair rate limit hit"),
    131057: (500, "Account in maintenance mode"),
    131062: (400, "Business-scoped user IDs are not supported for this message"),
    131064: (400, "Messaging limited because of template misclassification"),
    132000: (400, "Number of parameters does not match the expected number of params"),
    132001: (404, "Template name does not exist in the translation"),
    132005: (400, "Translated text too long"),
    132007: (400, "Template format character policy violated"),
    132012: (400, "Parameter format does not match format in the created template"),
    132015: (400, "Template is paused"),
    132016: (400, "Template is disabled"),
    132018: (400, "There was an issue with the parameters in the template"),
    133004: (503, "Server temporarily unavailable"),
    133010: (400, "Phone number not registered"),
    133016: (400, "Account register deregister rate limit exceeded"),
    134011: (400, "Terms of service not accepted"),
    135000: (400, "Generic user error"),
}

DETAILS: dict[int, str] = {
    130429: "Message failed to send because too many messages were sent from this phone number in a short time.",
    131026: "Message undeliverable: not on WhatsApp, or an app too old, or terms not accepted.",
    131047: "Message failed to send because more than 24 hours have passed since the customer last replied.",
    131048: "Message failed to send because of restrictions on how many messages can be sent from this phone number.",
    131049: "This message was not delivered to maintain healthy ecosystem engagement.",
    131050: "Recipient has chosen to stop receiving marketing messages on WhatsApp from your business.",
    131056: "Message failed to send because too many messages went from this phone number to the same phone number.",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused: Meta's code and the sentence in `error_data.details`."""

    code: int
    details: str
    subcode: int | None = None

    @property
    def http(self) -> int:
        return http_status(self.code)


def refusal(code: int) -> Refusal:
    """The refusal of a code with its usual details."""
    return Refusal(code, DETAILS.get(code, f"{title(code)}."))


def http_status(code: int) -> int:
    return CODES.get(code, (400, ""))[0]


def title(code: int) -> str:
    return CODES.get(code, (400, "Unknown error"))[1]


def answer_body(refused: Refusal) -> dict[str, Any]:
    """The body of a refused call."""
    error: dict[str, Any] = {
        "message": f"(#{refused.code}) {title(refused.code)}",
        "type": "OAuthException",
        "code": refused.code,
        "error_data": {"messaging_product": "whatsapp", "details": refused.details},
        "fbtrace_id": trace(),
    }
    if refused.subcode is not None:
        error["error_subcode"] = refused.subcode
    return {"error": error}


def graph_body(message: str, code: int, kind: str = "OAuthException", subcode: int | None = None) -> dict[str, Any]:
    """The body of an error of the Graph layer (token, path, fields), which carries no `error_data`."""
    error: dict[str, Any] = {"message": message, "type": kind, "code": code}
    if subcode is not None:
        error["error_subcode"] = subcode
    return {"error": {**error, "fbtrace_id": trace()}}


def status_error(code: int, details: str | None = None) -> dict[str, Any]:
    """One item of `errors` in a failed status."""
    return {
        "code": code,
        "title": title(code),
        "message": title(code),
        "error_data": {"details": details or DETAILS.get(code, f"{title(code)}.")},
        "href": "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/",
    }


def trace() -> str:
    """A support id, of Meta's length."""
    return "A" + uuid.uuid4().hex[:22]
