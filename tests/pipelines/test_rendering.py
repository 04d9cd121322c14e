"""What people at a message step would be sent, as planning gets it: templates and texts through one door."""

import json

import polars as pl
import pytest

from journey.marks import fill_marks
from journey.steps import Coupons, LanguageByContact, Link, MessageStep, TemplateMessage, TextMessage
from journey.variables import Variable
from pipelines.rendering import ARRIVED, PLANNED, rendered_for
from tests.stage import SETTINGS, person, template

NAME = Variable("user", "first_name")
COPY = {"type": "COPY_CODE", "text": "Copier"}
BUY = {"type": "URL", "text": "Acheter", "url": "https://links.example/r/{{1}}"}


def rendered(stage, message, contacts=("c0", "c1"), attributes=None):
    rows = [
        {
            "participant_id": n, "contact_id": contact, "step": "hello", "visit": 1, "key": "", "occurrence": "x",
            "priority": 1, "attributes": json.dumps(attributes) if attributes else None, "not_after": None,
        }
        for n, contact in enumerate(contacts)
    ]  # fmt: skip
    group = pl.DataFrame(rows, schema=ARRIVED)
    step = MessageStep(message=message)
    campaign = stage.home.project.campaigns["offer"].model_copy(update={"steps": {"hello": step}})
    return rendered_for(stage.home, campaign, step, group, stage.now)


def said(frame):
    return [json.loads(body)["text"]["body"] if body else None for body in frame["body"]]


def test_a_text_and_a_template_have_the_same_columns(make_home):
    stage = make_home(contacts=[person(0, timezone="Europe/Paris"), person(1)])
    stage.turn()
    for message in (TextMessage(text="Bonjour"), TemplateMessage(template="hello", language="fr")):
        frame = rendered(stage, message)
        assert dict(frame.schema) == PLANNED
        assert frame["timezone"].to_list() == ["Europe/Paris", None]
        assert frame["needs_coupon"].to_list() == [False, False]
        assert rendered(stage, message, contacts=()).schema == frame.schema


def test_a_text_takes_shared_and_own_variables_and_what_brought_the_contact_in(make_home):
    stage = make_home(contacts=[person(0, first_name="ana"), person(1, first_name="")])
    stage.turn()
    offer = Variable("event", "offer.price", format=2)
    frame = rendered(
        stage, TextMessage(text="{a}, {b} €", variables={"a": NAME, "b": offer}), attributes={"offer": {"price": 3}}
    )
    assert said(frame) == ["ana, 3,00 €", None]
    assert frame["kind"].to_list() == ["text"] * 2
    assert frame.select("template", "language", "category").null_count().row(0) == (2, 2, 2)
    assert frame["skip_reason"].to_list() == [None, "missing_variable"]


def test_a_text_is_refused_to_who_opted_out_of_everything_and_not_to_who_takes_no_marketing(make_home):
    stage = make_home(contacts=3)
    stage.turn()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("INSERT INTO suppression VALUES ('contact:c0', 'all', 'stop_word', 1)")
        tx.exec_driver_sql("INSERT INTO suppression VALUES ('contact:c1', 'marketing', 'preference', 1)")
    frame = rendered(stage, TextMessage(text="Bonjour"), contacts=("c0", "c1", "c2"))
    assert frame["skip_reason"].to_list() == ["opted_out", None, None]
    assert said(frame) == [None, "Bonjour", "Bonjour"]
    marketing = rendered(stage, TemplateMessage(template="hello", language="fr"), contacts=("c0", "c1", "c2"))
    assert marketing["skip_reason"].to_list() == ["opted_out", "opted_out", None]


def test_coupons_and_links_are_marked_for_planning_to_fill(make_home):
    library = [
        template("gift", body="{{voucher}}", buttons=[COPY, BUY]),
        template("gift", "en", body="Take {{voucher}}", buttons=[{**BUY, "text": "Buy"}, COPY]),
    ]
    people = [person(0, locale="fr", first_name="ana"), person(1, locale="en", first_name="bo"), person(2, locale="fr")]
    stage = make_home(contacts=people, templates=[*library, template("hello")])
    stage.turn()
    message = TemplateMessage(
        template="gift", language=LanguageByContact(user="locale"), coupons=Coupons(pool="p"),
        buttons={"Acheter": Link(url="https://shop.example/{n}", variables={"n": NAME})},
    )  # fmt: skip
    frame = rendered(stage, message, contacts=("c0", "c1", "c2"))
    # The English template has no button of that label: its people are skipped, and nobody else.
    assert frame["skip_reason"].to_list() == [None, "template_not_approved", "missing_variable"]
    assert frame["needs_coupon"].to_list() == [True, False, False]
    assert frame["link.1"].to_list() == ["https://shop.example/ana", None, None]
    assert frame["label.1"].to_list() == ["Acheter", None, None]
    bodies = fill_marks(frame["body"], pl.Series(["K", None, None]), {1: pl.Series(["abc", None, None])})
    assert '"coupon_code":"K"' in bodies[0] and '"text":"abc"' in bodies[0]


@pytest.mark.parametrize("wanted", ["fr", "de"])
def test_who_has_no_phone_that_can_be_called_is_told_so_before_the_template_is(make_home, wanted):
    stage = make_home(contacts=1, templates=[template("hello", status="REJECTED")])
    stage.says("+33600000000", "Bonjour")
    message = {
        "id": "wamid.u",
        "from_user_id": "FR.123",
        "timestamp": "1796126400",
        "type": "text",
        "text": {"body": "x"},
    }
    stage.webhook({"contacts": [{"user_id": "FR.123"}], "messages": [message]}).turn()
    stranger = stage.home.contacts.frame(["contact_id", "phone"]).filter(pl.col("phone").is_null())["contact_id"][0]
    stage.contacts([{"contact_id": stranger, "country": "FR", "opted_in": "true"}])
    stage.turn()
    frame = rendered(stage, TemplateMessage(template="hello", language=wanted), contacts=(stranger, "c0"))
    rejected = "template_not_approved" if wanted == "fr" else "template_language_missing"
    assert frame["skip_reason"].to_list() == ["invalid_phone", rejected]


@pytest.mark.parametrize(("region", "written"), [("FR", "1,50"), ("US", "1.50")])
def test_numbers_of_a_text_are_written_in_the_language_of_the_region(make_home, region, written):
    stage = make_home(
        contacts=[person(0, phone="+33612345678")], settings=SETTINGS.replace("region: FR", f"region: {region}")
    )
    stage.turn()
    price = Variable("text", "1.5", format=2)
    assert said(rendered(stage, TextMessage(text="{p}", variables={"p": price}), contacts=("c0",))) == [written]
