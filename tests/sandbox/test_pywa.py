"""pywa, a client library that is none of ours, speaks with the sandbox, and understands what it posts.

The sandbox and Estafette's own client might share a mistake; pywa was written by others, for Meta itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import polars as pl
import pytest
import pywa.types.templates as t
from pywa import WhatsApp, errors, handlers, types

from journey.fill import spec_for
from journey.marks import VOUCHER
from journey.render import render
from journey.steps import Coupons, Header, Location, TemplateMessage
from journey.template import parse_template
from journey.variables import Variable
from sandbox.testing import Box

pytestmark = pytest.mark.filterwarnings("error::pywa.errors.PywaWarning")  # e.g. a word that pywa does not know

PHONE, WA_ID = "+33612345678", "33612345678"
IMAGE = "https://cdn.example.com/banner.jpg"
PLACE = {"latitude": "48.85", "longitude": "2.35", "name": "Boutique", "address": "1 rue de la Paix"}
FR = t.TemplateLanguage.FRENCH
AUTUMN = [
    t.HeaderImage.params(image=IMAGE),
    t.BodyText.params(first_name="Léa", product_name="nos bottines", discount="20 %"),
    t.URLButton.params(url_variable="bottines-42", index=0),
]


class Client:
    """pywa, with the sandbox for Meta. `updates`: what it understood of webhooks."""

    def __init__(self, box: Box) -> None:
        self.box, self._read = box, 0
        self.updates: list[Any] = []
        self.session = httpx.Client(timeout=20, trust_env=False)
        self.wa = WhatsApp(
            phone_id=box.config.phone_number_id,
            token=box.token,
            waba_id=box.config.waba_id,
            app_secret=box.config.app_secret,
            session=self.session,
        )
        self.session.base_url = f"{box.url}/v25.0"
        for kind in (
            handlers.MessageHandler,
            handlers.MessageStatusHandler,
            handlers.CallbackButtonHandler,
            handlers.UserMarketingPreferencesHandler,
            handlers.TemplateStatusUpdateHandler,
        ):
            self.wa.add_handlers(kind(lambda _, update: self.updates.append(update)))

    def autumn(self) -> str:
        return str(self.wa.send_template(PHONE, "autumn_offer", FR, AUTUMN, tracker="k1").id)

    def sent(self) -> dict[str, Any]:
        """The body that the sandbox took last."""
        body = self.box.messages()[-1]["body"]
        return dict(body if isinstance(body, dict) else json.loads(body))

    def skip(self) -> None:
        """Pass over what was posted so far."""
        self.box.drain()
        self._read = max([self._read, *(one["n"] for one in self.box.webhooks())])

    def hear(self) -> Any:
        """What pywa makes of the one webhook that the sandbox posted since. Its signature is right."""
        (one,) = self.box.webhooks(after=self._read)
        self._read = one["n"]
        raw, before = one["raw"].encode(), len(self.updates)
        assert self.wa.webhook_update_validator(raw, one["signature"]) is None
        assert self.wa.webhook_update_validator(raw + b" ", one["signature"]) is not None
        assert self.wa.webhook_update_handler(raw) == ("ok", 200)
        (update,) = self.updates[before:]
        return update

    def act(self, do: str, **more: Any) -> Any:
        """What pywa makes of what a person does."""
        self.skip()
        self.box.act(PHONE, do, **more)
        return self.hear()


@pytest.fixture
def pywa(box: Box) -> Iterator[Client]:
    made = Client(box)
    yield made
    made.session.close()


# -- what it sends -----------------------------------------------------------------------------------------------------


def constant(value: str) -> Variable:
    return Variable("text", value)


def fill_marks(body: str) -> str:
    """A body with a coupon's code, as planning fills it in once a code is claimed."""
    return body.replace(VOUCHER, "CADEAU7")


def body_of(box: Box, message: TemplateMessage) -> dict[str, Any]:
    """What Estafette sends for a message."""
    language = str(message.language)
    (row,) = (one for one in box.templates() if (one["name"], one["language"]) == (message.template, language))
    people = pl.DataFrame({"phone": [PHONE], "locale": ["fr"], "timezone": pl.Series([None], dtype=pl.String)})
    rendered = render(spec_for(message, {}, parse_template(row)), people)
    assert rendered["skip_reason"].to_list() == [None]
    return dict(json.loads(fill_marks(rendered["body"][0])))


SAME: dict[str, tuple[TemplateMessage, list[Any] | None]] = {
    "header, named body and a link": (
        TemplateMessage(
            template="autumn_offer",
            language="fr",
            header=Header(kind="image", value=constant(IMAGE)),
            variables={
                "first_name": constant("Léa"),
                "product_name": constant("nos bottines"),
                "discount": constant("20 %"),
            },
            buttons={"Acheter maintenant": constant("bottines-42")},
        ),
        AUTUMN,
    ),
    "numbered body": (
        TemplateMessage(
            template="order_ready",
            language="fr",
            variables={"1": constant("Léa"), "2": constant("A-1042")},
            buttons={0: constant("A-1042")},
        ),
        [t.BodyText.params("Léa", "A-1042"), t.URLButton.params(url_variable="A-1042", index=0)],
    ),
    "nothing to fill": (TemplateMessage(template="autumn_last_call", language="fr"), None),
    "text in the header": (
        TemplateMessage(
            template="event_invite", language="fr", header=Header(kind="text", value=constant("12 décembre"))
        ),
        [t.HeaderText.params("12 décembre")],
    ),
    "a document": (
        TemplateMessage(
            template="invoice",
            language="fr",
            header=Header(
                kind="document", value=constant("https://cdn.example.com/a.pdf"), filename=constant("facture.pdf")
            ),
            variables={"1": constant("Léa"), "2": constant("F-7")},
        ),
        [
            t.HeaderDocument.params(document="https://cdn.example.com/a.pdf", filename="facture.pdf"),
            t.BodyText.params("Léa", "F-7"),
        ],
    ),
    "a video": (
        TemplateMessage(
            template="spring_video",
            language="fr",
            header=Header(kind="video", value=constant("https://cdn.example.com/film.mp4")),
            variables={"1": constant("Léa")},
        ),
        [t.HeaderVideo.params(video="https://cdn.example.com/film.mp4"), t.BodyText.params("Léa")],
    ),
    "a place": (
        TemplateMessage(
            template="store_location",
            language="fr",
            header=Header(kind="location", location=Location(**{key: constant(text) for key, text in PLACE.items()})),
            variables={"1": constant("A-7")},
        ),
        [
            t.HeaderLocation.params(lat=48.85, lon=2.35, name="Boutique", address="1 rue de la Paix"),
            t.BodyText.params("A-7"),
        ],
    ),
}


def meaning(value: Any) -> Any:
    """A body without what makes no difference to Meta: positions and coordinates as texts or numbers, HEADER or header,
    empty lists."""
    if isinstance(value, list):
        return [meaning(one) for one in value]
    if isinstance(value, dict):
        known = {key: meaning(one) for key, one in value.items() if one not in (None, [], {})}
        known |= {key: float(known[key]) for key in ("index", "latitude", "longitude") if key in known}
        return known | {key: str(known[key]).lower() for key in ("type", "sub_type") if key in known}
    return value


@pytest.mark.parametrize("what", SAME)
def test_estafette_and_pywa_send_the_same(pywa: Client, what: str) -> None:
    message, params = SAME[what]
    pywa.wa.send_template(PHONE, message.template, FR, params)
    theirs = meaning(pywa.sent())
    ours = meaning(body_of(pywa.box, message))
    assert ours == theirs
    assert pywa.box.post(body_of(pywa.box, message)).status_code == 200


def test_a_code_to_copy_is_a_button_of_the_same_kind(pywa: Client) -> None:
    params = [t.BodyText.params(first_name="Léa"), t.CopyCodeButton.params(coupon_code="CADEAU7", index=1)]
    pywa.wa.send_template(PHONE, "voucher_gift", FR, params)
    message = TemplateMessage(
        template="voucher_gift",
        language="fr",
        variables={"first_name": constant("Léa")},
        coupons=Coupons(pool="gifts"),
    )
    (ours,) = (one for one in body_of(pywa.box, message)["template"]["components"] if one["type"] == "button")
    (theirs,) = (one for one in pywa.sent()["template"]["components"] if one["type"] == "button")
    assert meaning(ours) == meaning(theirs)


def test_the_answer_to_a_send_is_understood(pywa: Client) -> None:
    sent = pywa.wa.send_template(PHONE, "autumn_offer", FR, AUTUMN, tracker="k1")
    assert sent.id.startswith("wamid.") and sent.input == PHONE
    assert pywa.sent()["biz_opaque_callback_data"] == "k1"


def test_free_text_and_media_go_out_inside_the_window_only(pywa: Client) -> None:
    with pytest.raises(errors.ReEngagementMessage):
        pywa.autumn()
        pywa.wa.send_message(PHONE, "Bonjour")
        raise pywa.act("failed", code=131047).error
    pywa.act("reply", text="Bonjour")
    assert pywa.wa.send_message(PHONE, "Bonjour, Léa !").id.startswith("wamid.")
    assert pywa.sent()["text"]["body"] == "Bonjour, Léa !"


REFUSED: list[tuple[type[errors.WhatsAppError], str, list[Any] | None]] = [
    (errors.TemplateNotExists, "nowhere", None),
    (errors.TemplateParamCountMismatch, "order_ready", [t.BodyText.params("Léa")]),
    (errors.TemplatePaused, "summer_sale", [t.BodyText.params("Léa")]),
]


@pytest.mark.parametrize(("error", "name", "params"), REFUSED)
def test_a_refusal_is_an_error_that_pywa_knows(pywa: Client, error: Any, name: str, params: list[Any] | None) -> None:
    with pytest.raises(error) as caught:
        pywa.wa.send_template(PHONE, name, FR, params)
    assert caught.value.message and caught.value.fbtrace_id and caught.value.details


def test_a_wrong_token_and_a_limit_are_errors_that_pywa_knows(pywa: Client) -> None:
    pywa.box.faults({"kind": "error", "code": 130429, "next": 1})
    with pytest.raises(errors.RateLimitHit):
        pywa.autumn()
    pywa.session.headers["Authorization"] = "Bearer wrong"
    with pytest.raises(errors.ExpiredAccessToken):
        pywa.autumn()


# -- what it hears -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["sent", "delivered", "read"])
def test_statuses_are_understood(pywa: Client, status: str) -> None:
    wamid = pywa.autumn()
    heard = pywa.act(status)
    assert isinstance(heard, types.MessageStatus)
    assert (heard.id, heard.status.value, heard.from_user.wa_id, heard.tracker) == (wamid, status, WA_ID, "k1")
    assert heard.timestamp.isoformat() == "2026-12-01T12:00:00+00:00" and heard.error is None
    assert heard.metadata.phone_number_id == pywa.box.config.phone_number_id
    assert status == "read" or (heard.pricing.category.value, heard.pricing.model.value) == ("marketing", "PMP")


@pytest.mark.parametrize(
    ("code", "error"),
    [(131026, errors.MessageUndeliverable), (131047, errors.ReEngagementMessage), (131049, errors.WhatsAppError)],
)
def test_a_failure_brings_its_error(pywa: Client, code: int, error: type[errors.WhatsAppError]) -> None:
    pywa.autumn()
    heard = pywa.act("failed", code=code)
    assert heard.status is types.MessageStatusType.FAILED and isinstance(heard.error, error)
    assert heard.error.code == code and heard.error.message and heard.error.details


def test_a_text_is_understood(pywa: Client) -> None:
    wamid = pywa.autumn()
    heard = pywa.act("reply", text="Oui, “merci” 😀")
    assert isinstance(heard, types.Message) and heard.type is types.MessageType.TEXT
    assert (heard.text, heard.from_user.wa_id, heard.reply_to_message) == ("Oui, “merci” 😀", WA_ID, None)
    assert heard.from_user.name and heard.from_user.bsuid
    assert pywa.act("reply", text="Oui", wamid=wamid).reply_to_message.id == wamid


def test_a_tap_on_a_quick_reply_is_understood(pywa: Client) -> None:
    wamid = pywa.autumn()
    heard = pywa.act("button", text="Non, merci")
    assert isinstance(heard, types.CallbackButton) and heard.is_quick_reply
    assert (heard.title, heard.data, heard.reply_to_message.id) == ("Non, merci", "Non, merci", wamid)


def test_a_reaction_is_understood_and_its_end_too(pywa: Client) -> None:
    wamid = pywa.autumn()
    heard = pywa.act("reaction", text="👍")
    assert heard.type is types.MessageType.REACTION
    assert (heard.reaction.emoji, heard.reaction.message_id) == ("👍", wamid)


def test_a_picture_is_understood(pywa: Client) -> None:
    pywa.autumn()
    heard = pywa.act("image", text="Voici")
    assert heard.type is types.MessageType.IMAGE
    assert heard.image.id and heard.image.mime_type == "image/jpeg" and heard.caption == "Voici"


@pytest.mark.parametrize("stop", [True, False])
def test_a_preference_is_understood(pywa: Client, stop: bool) -> None:
    pywa.autumn()
    heard = pywa.act("preference_stop" if stop else "preference_resume")
    assert isinstance(heard, types.UserMarketingPreferences)
    assert heard.value.value == ("stop" if stop else "resume") and heard.from_user.wa_id == WA_ID


def test_what_becomes_of_a_template_is_understood(pywa: Client) -> None:
    pywa.skip()
    pywa.box.template_status("welcome", "fr", "PAUSED")
    pywa.box.drain()
    heard = pywa.hear()
    assert isinstance(heard, t.TemplateStatusUpdate)
    assert (heard.template_name, heard.template_language, heard.new_status) == ("welcome", FR, t.TemplateStatus.PAUSED)


# -- what it reads -----------------------------------------------------------------------------------------------------


def test_templates_are_understood(pywa: Client) -> None:
    page = pywa.wa.get_templates(pagination=types.Pagination(limit=1_000))  # pywa 4.5 can't read a second page
    listed = {(one.name, one.language.value): one for one in page}
    assert page.total_count == len(listed)
    assert listed.keys() == {(one["name"], one["language"]) for one in pywa.box.templates()}
    offer = listed["autumn_offer", "fr"]
    assert (offer.status, offer.category) == (t.TemplateStatus.APPROVED, t.TemplateCategory.MARKETING)
    kinds = [type(one).__name__ for one in offer.components]
    assert kinds == ["HeaderImage", "BodyText", "FooterText", "Buttons"]
