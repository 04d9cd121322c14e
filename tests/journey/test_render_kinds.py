"""Free text, locations, coupons and counted links: what is sent, what is skipped and why, how it looks."""

import json
from typing import Any

import polars as pl
import pytest

from journey.marks import VOUCHER, VOUCHER_IN_URL, fill_marks, link_mark
from journey.problems import ProjectError
from journey.render import MessageSpec, ShownButton, needs, render, show, spec_for, text_spec_for
from journey.steps import Coupons, Header, Link, Location, TemplateMessage, TextMessage
from journey.template import Template, parse_template
from journey.variables import Variable
from journey.words import Case

PHONE = "+33612345678"
NAME = Variable("user", "first_name", Case.CapitalizeFirst, fallback="cher client")
COUPONS = Coupons(pool="autumn")


def template(body: str, *components: dict[str, Any], buttons: list[dict[str, Any]] | None = None) -> Template:
    listed = [*components, {"type": "BODY", "text": body}]
    if buttons:
        listed.append({"type": "BUTTONS", "buttons": buttons})
    about = {"name": "offer", "language": "fr", "status": "APPROVED", "category": "MARKETING"}
    return parse_template({**about, "components": listed})


def url(address: str, label: str = "Acheter") -> dict[str, Any]:
    return {"type": "URL", "text": label, "url": address}


COPY = {"type": "COPY_CODE", "text": "Copier le code", "example": ["A1"]}


def message(**parts: Any) -> TemplateMessage:
    return TemplateMessage(template="offer", language="fr", **parts)


def people(**columns: list[Any]) -> pl.DataFrame:
    length = len(next(iter(columns.values()), [None]))
    named = {name.replace("__", "."): values for name, values in columns.items()}
    return pl.DataFrame({"phone": [PHONE] * length, **named})


def skips(rendered: pl.DataFrame) -> list[tuple[str | None, str | None]]:
    return list(rendered.select("skip_reason", "skip_detail").iter_rows())


def text_spec(text: str, shared: dict[str, Variable] | None = None, **own: Variable) -> Any:
    return text_spec_for(TextMessage(text=text, variables=own), shared or {}, "fr")


# -- free text ---------------------------------------------------------------------------------------------------------


def test_a_free_text_is_sent_as_it_is_written_with_its_variables() -> None:
    spec = text_spec(
        'Voici {{ votre }} offre,\n"{first_name}" ! {price} €',
        {"first_name": NAME},
        price=Variable("event", "p", format=2),
    )

    rendered = render(spec, people(user__first_name=["léa", None], event__p=[12.5, 3]))

    assert [json.loads(body) for body in rendered["body"]] == [
        {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": PHONE,
            "type": "text",
            "text": {"preview_url": False, "body": f'Voici {{ votre }} offre,\n"{name}" ! {price} €'},
        }
        for name, price in (("Léa", "12,50"), ("cher client", "3,00"))
    ]
    assert needs(spec) == {("user", "first_name"), ("event", "p")}
    assert show(None, rendered["body"][0]).body == 'Voici { votre } offre,\n"Léa" ! 12,50 €'


def test_lines_and_spaces_of_values_stay_as_they_are_in_free_text() -> None:
    address = Variable("user", "address", Case.CapitalizeAllFirst)

    rendered = render(text_spec("À :\n{address}", address=address), people(user__address=[" 1  rue x\n\n\tparis "]))

    assert show(None, rendered["body"][0]).body == "À :\n 1  Rue X\n\n\tParis "


def test_a_free_text_with_an_address_is_shown_with_its_page() -> None:
    def preview(spec: Any, **columns: list[Any]) -> list[bool]:
        return [json.loads(body)["text"]["preview_url"] for body in render(spec, people(**columns))["body"]]

    assert preview(text_spec("Voir https://x.example")) == [True]
    assert preview(text_spec("Voir {url}", url=Variable("user", "url")), user__url=["HTTP://x.example", "là"]) == [
        True,
        False,
    ]


def test_a_blank_in_free_text_is_never_sent() -> None:
    spec = text_spec("{a} et {b}", a=Variable("user", "a"), b=Variable("user", "b", fallback="rien"))

    assert skips(render(spec, people(user__a=["x", " \n"], user__b=[None, None]))) == [
        (None, None),
        ("missing_variable", "variable a (user property a) is empty and has no fallback"),
    ]


def test_a_free_text_may_have_4096_characters_and_no_more() -> None:
    spec = text_spec("{a}!{a}", a=Variable("user", "a"))

    assert skips(render(spec, people(user__a=["é" * 2047, "é" * 2048]))) == [
        (None, None),
        ("too_long", "the text would have 4097 characters; at most 4096 are allowed"),
    ]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("Bonjour {first_name}", "variables.first_name", "nothing fills the placeholder {first_name} of the text"),
        ("Bonjour {own} }", "text", "a } stands alone"),
        ("Bonjour", "variables.own", "the text has no placeholder {own}"),
        (" \n", "text", "there is no text"),
    ],
)
def test_a_hole_in_a_free_text_is_refused_with_its_place(text: str, place: str, words: str) -> None:
    with pytest.raises(ProjectError) as refused:
        text_spec_for(TextMessage(text=text, variables={"own": NAME}), {}, "fr", path="steps.more.message")

    said = {one.field: one.message for one in refused.value.problems}
    assert words in said[f"steps.more.message.{place}"]


# -- locations ---------------------------------------------------------------------------------------------------------

PLACE = Location(
    latitude=Variable("event", "lat"),
    longitude=Variable("text", "2.35"),
    name=Variable("user", "shop", fallback="Boutique"),
    address=Variable("user", "street"),
)
AT = template("Venez.", {"type": "HEADER", "format": "LOCATION"})


def located() -> MessageSpec:
    return spec_for(message(header=Header(kind="location", location=PLACE)), {}, AT)


def test_a_location_goes_whole() -> None:
    rendered = render(located(), people(event__lat=[48.85], user__shop=[None], user__street=["1 rue\nde la Paix"]))

    (header,) = json.loads(rendered["body"][0])["template"]["components"]
    location = {"latitude": "48.85", "longitude": "2.35", "name": "Boutique", "address": "1 rue de la Paix"}
    assert header == {"type": "header", "parameters": [{"type": "location", "location": location}]}
    shown = show(AT, rendered["body"][0])
    assert (shown.header_kind, shown.header) == ("location", "Boutique\n1 rue de la Paix\n48.85, 2.35")
    assert rendered["media"].to_list() == [None]


def test_a_location_that_is_not_whole_or_not_on_earth_is_skipped() -> None:
    latitudes = ["48.85", None, "91", "48,85", "-90.0", "nord"]
    frame = people(event__lat=latitudes, user__shop=["x"] * 6, user__street=["y"] * 5 + [None])

    rendered = render(located(), frame)

    assert rendered["skip_reason"].to_list() == [None, *["missing_media"] * 3, None, "missing_media"]
    details = rendered["skip_detail"].to_list()
    assert details[1] == "the location's latitude (event property lat) is empty and has no fallback"
    assert details[2] == "the location's latitude (event property lat) is no number from -90 to 90: 91"
    assert details[5] == "the location's address (user property street) is empty and has no fallback"


def test_decimals_of_a_coordinate_have_a_point_in_every_language() -> None:
    place = PLACE.model_copy(update={"latitude": Variable("event", "lat", format=2)})
    spec = spec_for(message(header=Header(kind="location", location=place)), {}, AT)

    rendered = render(spec, people(event__lat=[48.856], user__shop=["x"], user__street=["y"]))

    assert '"latitude":"48.86"' in rendered["body"][0]


# -- coupons -----------------------------------------------------------------------------------------------------------


def test_one_code_goes_to_every_place_of_the_voucher() -> None:
    whole = template(
        "{{first_name}}, votre code : {{voucher}}.",
        {"type": "HEADER", "format": "TEXT", "text": "Code {{voucher}}"},
        buttons=[url("https://x.example/?c={{voucher}}"), {"type": "QUICK_REPLY", "text": "Non"}, COPY],
    )
    spec = spec_for(message(coupons=COUPONS), {"first_name": NAME, "voucher": NAME}, whole)
    rendered = render(spec, people(user__first_name=["léa", "zoé"]))

    assert spec.takes_voucher
    assert needs(spec) == {("user", "first_name")}
    filled = fill_marks(rendered["body"], pl.Series(['A "1', "B"]))
    first = json.loads(filled[0])["template"]["components"]
    assert first == [
        {"type": "header", "parameters": [{"type": "text", "parameter_name": "voucher", "text": 'A "1'}]},
        {
            "type": "body",
            "parameters": [
                {"type": "text", "parameter_name": "first_name", "text": "Léa"},
                {"type": "text", "parameter_name": "voucher", "text": 'A "1'},
            ],
        },
        {"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": "A%20%221"}]},
        {
            "type": "button",
            "sub_type": "COPY_CODE",
            "index": "2",
            "parameters": [{"type": "coupon_code", "coupon_code": 'A "1'}],
        },
    ]
    shown = show(whole, filled[1])
    assert (shown.header, shown.body) == ("Code B", "Zoé, votre code : B.")
    assert [button.url for button in shown.buttons] == ["https://x.example/?c=B", None, None]
    assert shown.buttons[2] == ShownButton("COPY_CODE", "Copier le code", code="B")


def test_a_value_that_looks_like_a_mark_stays_a_value() -> None:
    spec = spec_for(message(coupons=COUPONS), {"first_name": NAME}, template("{{first_name}} {{voucher}}."))

    rendered = render(spec, people(user__first_name=[VOUCHER, VOUCHER_IN_URL, link_mark(0)]))

    shown = [show(spec.template, body).body for body in fill_marks(rendered["body"], pl.Series(["K"] * 3))]
    assert shown == [f"{one} K." for one in (VOUCHER, VOUCHER_IN_URL, link_mark(0))]


def test_a_coupon_code_counts_twenty_characters_before_it_is_known() -> None:
    spec = spec_for(message(coupons=COUPONS), {"x": Variable("user", "x")}, template("{{x}}{{voucher}}"))

    assert render(spec, people(user__x=["y" * 1004, "y" * 1005]))["skip_reason"].to_list() == [None, "too_long"]


def test_a_code_to_copy_may_be_the_same_for_all_and_has_at_most_twenty_characters() -> None:
    spec = spec_for(
        message(buttons={"Copier le code": Variable("user", "code")}), {}, template("Voici.", buttons=[COPY])
    )

    rendered = render(spec, people(user__code=["A" * 20, "A" * 21]))

    assert '"coupon_code":"AAAAAAAAAAAAAAAAAAAA"' in rendered["body"][0]
    assert skips(rendered)[1] == (
        "too_long", "the code of button Copier le code would have 21 characters; at most 20 are allowed"
    )  # fmt: skip


# -- counted links -----------------------------------------------------------------------------------------------------

SHOP = template("Voici.", buttons=[{"type": "QUICK_REPLY", "text": "Non"}, url("https://links.example/r/{{1}}")])


def linked(address: str, shared: dict[str, Variable] | None = None, **own: Variable) -> MessageSpec:
    return spec_for(message(buttons={"Acheter": Link(url=address, variables=own)}), shared or {}, SHOP)


def test_a_counted_link_takes_a_code_and_leads_to_each_persons_own_address() -> None:
    spec = linked("https://shop.example/é/{id}?a={{x}}&n={name}", {"name": NAME}, id=Variable("user", "id"))

    rendered = render(spec, people(user__first_name=["léa", None], user__id=["sac à dos", "a/b&c=%41"]))

    assert rendered["link.1"].to_list() == [
        "https://shop.example/%C3%A9/sac%20%C3%A0%20dos?a=%7Bx%7D&n=L%C3%A9a",
        "https://shop.example/%C3%A9/a/b&c=%41?a=%7Bx%7D&n=cher%20client",
    ]
    assert rendered["label.1"].to_list() == ["Acheter"] * 2
    bodies = fill_marks(rendered["body"], None, {1: pl.Series(["k1", "k2"])})
    shown = show(SHOP, bodies[1], {1: rendered["link.1"][1]})
    assert shown.buttons[1] == ShownButton("URL", "Acheter", "https://links.example/r/k2", rendered["link.1"][1])


def test_a_blank_in_a_link_and_a_link_to_nowhere_are_never_sent() -> None:
    rendered = render(linked("{page}{id}", page=Variable("user", "page"), id=Variable("user", "id")), people(
        user__page=["https://x.example/", "https://x.example/", "javascript:alert(1)//"], user__id=["7", None, "7"],
    ))  # fmt: skip

    assert skips(rendered) == [
        (None, None),
        (
            "missing_variable",
            "variable id in the link of button Acheter (user property id) is empty and has no fallback",
        ),
        ("missing_variable", "the link of button Acheter is no http(s) address: javascript:alert(1)//7"),
    ]
    assert rendered["link.1"].to_list() == ["https://x.example/7", None, None]


def test_a_link_may_carry_the_coupon_code() -> None:
    both = template("{{voucher}}", buttons=[url("https://links.example/r/{{1}}")])
    link = Link(url="https://shop.example/?code={voucher}")
    spec = spec_for(message(coupons=COUPONS, buttons={0: link}), {}, both)

    rendered = render(spec, people(x=[1]))

    assert fill_marks(rendered["link.0"], pl.Series(["A 1"])).to_list() == ["https://shop.example/?code=A%201"]


# -- holes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "of", "place", "words"),
    [
        (message(coupons=COUPONS), template("x"), "coupons", "has no {{voucher}} and no button that copies a code"),
        (message(), template("{{voucher}}"), "variables.voucher", "nothing fills the placeholder {{voucher}}"),
        (message(), template("x", buttons=[COPY]), "buttons.Copier le code", "nothing gives the code"),
        (
            message(coupons=COUPONS, variables={"voucher": NAME}),
            template("{{voucher}}"),
            "variables.voucher",
            "filled twice, here and by `coupons`",
        ),
        (
            message(coupons=COUPONS, buttons={"Copier le code": NAME}),
            template("x", buttons=[COPY]),
            "buttons.Copier le code",
            "filled twice, here and by `coupons`",
        ),
        (
            message(coupons=COUPONS, header=Header(kind="text", value=NAME)),
            template("x", {"type": "HEADER", "format": "TEXT", "text": "{{voucher}}"}),
            "header",
            "filled twice, here and by `coupons`",
        ),
        (
            message(buttons={"Acheter": Link(url="https://x/{id}")}),
            SHOP,
            "buttons.Acheter.variables.id",
            "nothing fills the placeholder {id} of the link",
        ),
        (
            message(buttons={"Acheter": Link(url="https://x/", variables={"id": NAME})}),
            SHOP,
            "buttons.Acheter.variables.id",
            "the link has no placeholder {id}",
        ),
        (message(buttons={"Acheter": Link(url="https://x/{")}), SHOP, "buttons.Acheter.link", "stands alone"),
        (message(buttons={"Acheter": Link(url="ftp://x")}), SHOP, "buttons.Acheter.link", "no public address"),
        (
            message(header=Header(kind="image", value=NAME)),
            AT,
            "header",
            "has a header of the kind location",
        ),
        (
            message(header=Header(kind="location", location=PLACE)),
            template("x", {"type": "HEADER", "format": "IMAGE"}),
            "header",
            "has a header of the kind image",
        ),
    ],
)  # fmt: skip
def test_a_hole_is_refused_with_its_place(given: TemplateMessage, of: Template, place: str, words: str) -> None:
    with pytest.raises(ProjectError) as refused:
        spec_for(given, {}, of, path="steps.offer.message")

    said = {one.field: one.message for one in refused.value.problems}
    assert words in said[f"steps.offer.message.{place}"]
