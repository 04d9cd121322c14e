"""Meta's error codes: what each one means, and what it asks of whoever sends.

What belongs here: the table of codes, with a title and a sentence for people. How an answer is read is `outcome`.
Meta's rule: decide on the code (and the details), never on the title or the HTTP status. The same codes come back at
once (the answer to a POST), later (a status `failed`), or both.
Source: Meta, "Error codes" (Cloud API, September 2026) and the Graph API's common codes; which of them are worth
another try is our reading of Meta's text.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Action(StrEnum):
    """What an answer asks for. The first four and the last are about one message, the others reach further."""

    accepted = "accepted"  # Meta has it: record the wamid
    final = "final"  # refused for good: record the code; the next message is not concerned
    retry_soon = "retry_soon"  # a fault on Meta's side: a few tries within minutes, then failed with this code
    not_sent = "not_sent"  # no byte of it was carried out: take the stamp back and try again
    pair_slow = "pair_slow"  # too many to this person at once: wait some seconds, then longer, for this person only
    slow_down = "slow_down"  # too fast: lower the sender's pace, hold the message until it expires
    media_unreachable = "media_unreachable"  # the header's file can't be fetched: hold the message until it expires
    marketing_cap = "marketing_cap"  # Meta protects this person: failed, and no marketing to them for 24 hours
    opt_out_marketing = "opt_out_marketing"  # the person stopped marketing: failed, and record the opt-out
    hold_template = "hold_template"  # the template rests (paused, syncing): mends itself, hold what uses it
    stop_template = "stop_template"  # the template is gone or refused: does not mend itself, skip what uses it
    hold_campaign = "hold_campaign"  # Meta limits us for what people or reviewers thought: pause the campaign
    stop_sender = "stop_sender"  # token, permission, account or payment: nothing goes out until a person acts
    unknown = "unknown"  # nobody can say whether Meta has it: never sent again by itself


@dataclass(frozen=True, slots=True)
class Code:
    """One error code: Meta's name for it (shortened), a plain sentence (what it means, what to do), and the action."""

    code: int | None
    title: str
    sentence: str
    action: Action


# Codes that other rooms look for by number.
NOT_THERE = 33  # also as the subcode of 100: what is addressed does not exist, or may not be seen
UNDELIVERABLE = 131026  # the phone is remembered: skip `invalid_phone` from now on
SEE_DETAILS = "See the details."  # where a sentence ends so, Meta's own words say what to mend
MARKETING_CAP = 131049
MARKETING_STOPPED = 131050

_F, _R, _W = Action.final, Action.retry_soon, Action.slow_down
_S, _T, _H = Action.stop_sender, Action.stop_template, Action.hold_template

_RENEW = "Make a new token in Meta's business settings, put it in WHATSAPP_TOKEN, then resume the sender."
_RIGHTS = "Give the token's system user the permission whatsapp_business_messaging on this account, then resume."
_PACE = "The pace goes down by itself and recovers."
_LATER = "Estafette tries it again by itself."
_NUMBER = "See the number in WhatsApp Manager, then resume the sender."

_ROWS: tuple[tuple[int, str, str, Action], ...] = (
    # who may send at all
    (0, "Authentication failed", f"Meta doesn't accept the token. {_RENEW}", _S),
    (3, "Capability missing", f"The app may not call this method. {_RIGHTS}", _S),
    (10, "Permission denied", f"The token's permission was not granted or was withdrawn. {_RIGHTS}", _S),
    (
        NOT_THERE,
        "Phone number deleted",
        "The sender's phone number no longer exists, or the token's user may not see it. Correct phone_number_id in"
        " estafette.yaml, or give the token's system user the account.",
        _S,
    ),
    (102, "Session expired", f"The token's session is over. {_RENEW}", _S),
    (190, "Token expired", f"The token has expired or was revoked. {_RENEW}", _S),
    (
        368,
        "Blocked for policy violations",
        "Meta has blocked the account for breaking a policy. See Account quality in WhatsApp Manager.",
        _S,
    ),
    (131005, "Access denied", f"The token may not use this number. {_RIGHTS}", _S),
    (131031, "Account locked", "Meta has locked the account. See Account quality in WhatsApp Manager.", _S),
    (
        131037,
        "Display name not approved",
        "Meta wants an approved display name for this number. Ask for it in WhatsApp Manager.",
        _S,
    ),
    (
        131042,
        "Payment problem",
        "Meta can't charge the account. Set or mend the payment method in WhatsApp Manager, then resume the sender.",
        _S,
    ),
    (131045, "Number not registered", f"The number's certificate or registration is wrong. {_NUMBER}", _S),
    (133010, "Number not registered", f"The number is not registered on the Cloud API. {_NUMBER}", _S),
    # how fast
    (4, "Too many calls by the app", f"The app has used up its calls. {_PACE}", _W),
    (17, "Too many calls by the user", f"The token's user has used up its calls. {_PACE}", _W),
    (32, "Too many calls by the page", f"The page has used up its calls. {_PACE}", _W),
    (341, "Application limit reached", f"The app has reached a limit of Meta's. {_PACE}", _W),
    (613, "Too many calls", f"This call was made too often. {_PACE}", _W),
    (80007, "Too many calls for the account", f"The WhatsApp account has used up its calls of the hour. {_PACE}", _W),
    (80008, "Too many calls for the account", f"The WhatsApp account has used up its calls of the hour. {_PACE}", _W),
    (130429, "Throughput reached", f"The number sends more messages a second than Meta allows it. {_PACE}", _W),
    (131057, "Account in maintenance", f"Meta changes the number's throughput, which takes a minute. {_PACE}", _W),
    (
        131056,
        "Too many to one person",
        "Too many messages to the same person in a short time. The next try waits, for this person only.",
        Action.pair_slow,
    ),
    # what Meta or the people thought of it
    (
        131048,
        "Limited for spam",
        "People blocked or reported this number too often. Look at its quality in WhatsApp Manager before you resume.",
        Action.hold_campaign,
    ),
    (
        131064,
        "Limited for a wrong category",
        "Templates of the account were put in a wrong category. The limit ends by itself; correct the templates.",
        Action.hold_campaign,
    ),
    # Meta's own trouble
    (1, "Unknown fault", f"Meta could not handle the request. {_LATER}", _R),
    (2, "Service down", f"The service is down or overloaded. {_LATER}", _R),
    (131000, "Something went wrong", f"Meta failed for a reason that it doesn't give. {_LATER}", _R),
    (131016, "Service unavailable", f"A service of Meta's is unavailable. {_LATER}", _R),
    (133004, "Server unavailable", f"A server of Meta's is unavailable. {_LATER}", _R),
    # the template
    (
        131063,
        "Marketing switched off here",
        "The account sends marketing only through Meta's marketing API. Switch it on again for the Cloud API.",
        _T,
    ),
    (
        132001,
        "Template missing",
        "No approved template of this name and language. Pull the templates and correct the campaign.",
        _T,
    ),
    (
        132007,
        "Template breaks a policy",
        "The template's text breaks a policy of WhatsApp. Edit it and have it approved.",
        _T,
    ),
    (
        132015,
        "Template paused",
        "Meta paused the template for low quality. It comes back by itself, or after an edit.",
        _H,
    ),
    (132016, "Template disabled", "Meta disabled the template for good. Write another one.", _T),
    (132068, "Flow blocked", "The template's flow is blocked. Mend the flow in WhatsApp Manager.", _T),
    (132069, "Flow throttled", "The template's flow is throttled. It comes back by itself.", _H),
    (134101, "Template syncing", "The template is new to Meta's marketing API, which takes ten minutes.", _H),
    (
        134102,
        "Template unavailable",
        "The template can't be used in Meta's marketing API. Look at it in WhatsApp Manager.",
        _T,
    ),
    # the media of the header
    (
        131052,
        "Media download failed",
        "Meta could not fetch the header's file. Its address must be public and answer without a log-in.",
        Action.media_unreachable,
    ),
    (131053, "Media refused", "Meta could not use the header's file: its type or its size. See the details.", _F),
    # this person
    (130403, "Blocked by the business", "The business has blocked this person. Unblock them in WhatsApp Manager.", _F),
    (
        130472,
        "In an experiment of Meta's",
        "Meta holds marketing from this person for an experiment. Reach them by another channel.",
        _F,
    ),
    (130497, "Country not allowed", "The account may not message people of this country.", _F),
    (131021, "Sender and recipient are one", "The number would write to itself.", _F),
    (UNDELIVERABLE, "Undeliverable", "The phone has no WhatsApp, or an old one, or has not accepted its terms.", _F),
    (
        131030,
        "Not on the test list",
        "A test number reaches only the phones on its list. Add the phone to the list, or use a real number.",
        _F,
    ),
    (131047, "Outside the 24 hours", "The person last wrote more than 24 hours ago: only a template may be sent.", _F),
    (
        MARKETING_CAP,
        "Held back by Meta",
        "Meta limits how much marketing one person gets, from all businesses together.",
        Action.marketing_cap,
    ),
    (
        MARKETING_STOPPED,
        "Marketing stopped",
        "The person has stopped marketing from this business. They get none from now on.",
        Action.opt_out_marketing,
    ),
    (131062, "User id not allowed here", "This kind of message needs a phone number, not Meta's user id.", _F),
    # this request
    (100, "Invalid parameter", "The request holds a parameter that Meta doesn't accept. See the details.", _F),
    (131008, "Parameter missing", "The request lacks a parameter. See the details.", _F),
    (131009, "Parameter value invalid", "A value in the request is not allowed. See the details.", _F),
    (
        131035,
        "Webhook not delivered in time",
        "Meta could not deliver a webhook within the time that it keeps messages.",
        _F,
    ),
    (
        131036,
        "Failed on one device",
        "The message failed on at least one of the person's devices. It may still arrive on another.",
        _F,
    ),
    (131051, "Message type not supported", "Meta doesn't support this type of message.", _F),
    (131055, "Only marketing templates", "Meta's marketing API takes only templates of the category MARKETING.", _F),
    (131060, "Message unavailable", "The content of the message is not available.", _F),
    (
        132000,
        "Number of variables",
        "The template has another number of variables than was sent. Pull the templates.",
        _F,
    ),
    (132005, "Text too long", "With its variables filled in the text is too long.", _F),
    (132012, "Variable format", "A variable has not the form that the template expects. See the details.", _F),
    (132018, "Template variables", "The template's variables are not what Meta expects. See the details.", _F),
    (134011, "Payment terms", "WhatsApp's payment terms have not been accepted. Accept them in WhatsApp Manager.", _F),
    (134100, "Only marketing templates", "Meta's marketing API takes only templates of the category MARKETING.", _F),
    (135000, "Refused", "Meta refused the request without a closer reason. See the details.", _F),
)

CODES = MappingProxyType({row[0]: Code(*row) for row in _ROWS})

_FETCHING = ("download", "weblink", "http code", "timed out", "timeout", "unreachable")


def explain(code: int | None) -> Code:
    """The title, sentence and action of a code; total. Codes that nobody has described are `final`."""
    if code is None:
        return Code(None, "Refused", "Meta refused the message and gave no code. See the details.", Action.final)
    known = CODES.get(code)
    if known is not None:
        return known
    if 200 <= code <= 299:
        return Code(code, "Permission denied", f"A permission is missing. {_RIGHTS}", Action.stop_sender)
    if 133000 <= code <= 133999:
        return Code(code, "Registration problem", f"Something is wrong with the number's registration. {_NUMBER}", _S)
    return Code(
        code, f"Error {code}", "Meta refused the message with a code that Estafette doesn't know.", Action.final
    )


def code_of(why: str | None) -> int | None:
    """The code with which a reason that was written down begins; None: it is nobody's code."""
    first = (why or "").partition(" ")[0]
    return int(first) if first.isascii() and first.isdigit() and len(first) < 10 and int(first) in CODES else None


def action_of(code: int | None, details: str | None = None) -> Action:
    """What a code asks for, in an answer or in a status `failed`. There, nothing is sent again: a status is settled.

    131053 is one code for two things: the file is wrong (final), or Meta could not fetch it from our link ("Downloading
    media from weblink failed with http code 403"), which may mend itself. Only the details tell.
    """
    if code == 131053 and details and any(word in details.lower() for word in _FETCHING):
        return Action.media_unreachable
    return explain(code).action
