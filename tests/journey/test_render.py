"""Bodies for a frame of people: what is sent, what is skipped and why, and how it looks."""

import json
from typing import Any

import polars as pl
import pytest

from journey.problems import ProjectError
from journey.render import MessageSpec, ShownButton, needs, render, show, spec_for, with_callback
from journey.steps import Header, TemplateMessage
from journey.template import Template, parse_template
from journey.variables import Variable
from journey.words import Case

PHONE = "+33612345678"
FIRST_NAME = Variable("user", "first_name", Case.CapitalizeFirst, fallback="cher client")
PRODUCT = Variable("user", "favourite_product")


def template(body: str = "Bonjour, {{1}} !", *components: dict[str, Any], **changes: Any) -> Template:
    whole = {
        "name": "offer",
        "language": "fr",
        "status": "APPROVED",
        "category": "MARKETING",
        "components": [*components, {"type": "BODY", "text": body}],
    }
    return parse_template(whole | changes)


def header(kind: str, text: str | None = None) -> dict[str, Any]:
    return {"type": "HEADER", "format": kind} | ({"text": text} if text is not None else {})


def url_button(*, label: str = "Acheter", url: str = "https://shop.example.com/p/{{1}}") -> dict[str, Any]:
    buttons = [{"type": "QUICK_REPLY", "text": "Non"}, {"type": "URL", "text": label, "url": url}]
    return {"type": "BUTTONS", "buttons": buttons}


def people(**columns: list[Any]) -> pl.DataFrame:
    """One person a value, with the columns of names like `user__first_name`."""
    length = len(next(iter(columns.values()), [None]))
    base: dict[str, list[Any]] = {"phone": [PHONE] * length, "locale": ["fr"] * length, "timezone": [None] * length}
    named = {name.replace("__", "."): values for name, values in columns.items()}
    return pl.DataFrame(base | named, schema_overrides={"timezone": pl.String})


def request(spec: MessageSpec, **columns: list[Any]) -> dict[str, Any]:
    rendered = render(spec, people(**columns))
    assert rendered["skip_reason"].to_list() == [None] * len(rendered)
    body: dict[str, Any] = json.loads(rendered["body"][0])
    return body


def components(spec: MessageSpec, **columns: list[Any]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = request(spec, **columns)["template"]["components"]
    return listed


def skips(rendered: pl.DataFrame) -> list[tuple[str | None, str | None]]:
    return list(rendered.select("skip_reason", "skip_detail").iter_rows())


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}


def test_a_missing_first_name_is_written_as_the_fallback() -> None:
    named = template("Bonjour, {{first_name}} !\nVos {{product_name}} vous attendent : {{discount}}.")
    message = TemplateMessage(
        template="offer",
        language="fr",
        variables={"product_name": Variable("user", "product"), "discount": Variable("text", "20\u00a0%")},
    )
    spec = spec_for(message, {"first_name": FIRST_NAME, "unused": FIRST_NAME}, named)

    rendered = render(spec, people(user__first_name=[None, "jean dupont"], user__product=["chaussures"] * 2))

    shown = [show(named, body).body for body in rendered["body"]]
    assert shown == [
        "Bonjour, cher client !\nVos chaussures vous attendent : 20\u00a0%.",
        "Bonjour, Jean dupont !\nVos chaussures vous attendent : 20\u00a0%.",
    ]


def test_a_body_is_what_the_cloud_api_wants() -> None:
    spec = MessageSpec(
        template("Bonjour {{1}}, la commande {{2}} est prête.", header("IMAGE"), url_button()),
        "image",
        Variable("text", "https://cdn.example.com/a.jpg"),
        None,
        {"1": FIRST_NAME, "2": Variable("event", "order.number")},
        {1: Variable("event", "order.number")},
    )

    assert request(spec, user__first_name=["léa"], event__order__number=[1042]) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": PHONE,
        "type": "template",
        "template": {
            "name": "offer",
            "language": {"code": "fr"},
            "components": [
                {
                    "type": "header",
                    "parameters": [{"type": "image", "image": {"link": "https://cdn.example.com/a.jpg"}}],
                },
                {"type": "body", "parameters": [text("Léa"), text("1042")]},
                {"type": "button", "sub_type": "url", "index": "1", "parameters": [text("1042")]},
            ],
        },
    }


def test_a_template_without_placeholders_has_no_components() -> None:
    assert request(MessageSpec(template("Bonjour !")))["template"] == {"name": "offer", "language": {"code": "fr"}}


def test_positional_parameters_go_in_the_order_of_their_numbers() -> None:
    body = " ".join(f"{{{{{number}}}}}" for number in (10, 2, 1, 3, 4, 5, 6, 7, 8, 9, 2))
    spec = MessageSpec(template(body), body={str(n): Variable("text", f"v{n}") for n in range(1, 11)})

    assert components(spec) == [{"type": "body", "parameters": [text(f"v{n}") for n in range(1, 11)]}]


def test_named_parameters_carry_their_names() -> None:
    named = template("Bonjour {{first_name}}.", header("TEXT", "Soldes {{sale}}"))
    spec = MessageSpec(named, "text", Variable("text", "d'hiver"), None, {"first_name": FIRST_NAME})

    assert components(spec, user__first_name=["léa"]) == [
        {"type": "header", "parameters": [{"type": "text", "parameter_name": "sale", "text": "d'hiver"}]},
        {"type": "body", "parameters": [{"type": "text", "parameter_name": "first_name", "text": "Léa"}]},
    ]


def test_a_document_goes_by_link_with_its_file_name() -> None:
    spec = MessageSpec(
        template("Voici.", header("DOCUMENT")), "document", Variable("user", "url"), Variable("user", "file")
    )

    assert components(spec, user__url=[" https://x.example/f 1.pdf "], user__file=['le "bon".pdf']) == [
        {
            "type": "header",
            "parameters": [
                {"type": "document", "document": {"link": "https://x.example/f%201.pdf", "filename": 'le "bon".pdf'}}
            ],
        }
    ]


def test_a_button_takes_what_a_url_may_hold() -> None:
    spec = MessageSpec(template("Voici.", url_button()), buttons={1: Variable("user", "path", fallback="à la une")})
    paths = ["été 20%?a=b&c=/d#e", "\n", "déjà%20là"]

    rendered = render(spec, people(user__path=paths))

    assert [show(spec.template, body).buttons[1].url for body in rendered["body"]] == [
        "https://shop.example.com/p/%C3%A9t%C3%A9%2020%25?a=b&c=/d#e",
        "https://shop.example.com/p/%C3%A0%20la%20une",
        "https://shop.example.com/p/d%C3%A9j%C3%A0%20l%C3%A0",
    ]


def test_rows_keep_their_order_and_keys_and_lose_their_properties() -> None:
    frame = people(user__first_name=["a", None, "c"], event__x=[1, 2, 3]).with_columns(participant=pl.Series([7, 5, 6]))

    rendered = render(MessageSpec(template(), body={"1": FIRST_NAME}), frame)

    assert rendered.columns == [
        "phone", "locale", "timezone", "participant", "body", "skip_reason", "skip_detail", "media",
    ]  # fmt: skip
    assert rendered["participant"].to_list() == [7, 5, 6]
    assert [show(template(), body).body for body in rendered["body"]] == [
        "Bonjour, A !", "Bonjour, cher client !", "Bonjour, C !",
    ]  # fmt: skip
    assert rendered.select("body", "skip_reason", "skip_detail").dtypes == [pl.String] * 3


def test_nobody_to_render_gives_a_frame_with_its_columns() -> None:
    rendered = render(MessageSpec(template(), body={"1": FIRST_NAME}), people(user__first_name=["a"]).clear())

    assert rendered.is_empty()
    assert rendered.schema["body"] == pl.String


def test_an_empty_variable_without_a_fallback_is_skipped_by_name() -> None:
    spec = MessageSpec(
        template("{{first_name}}, {{product_name}} et {{price}}.", url_button()),
        body={"first_name": FIRST_NAME, "product_name": PRODUCT, "price": Variable("event", "p.eur", format=2)},
        buttons={1: Variable("event", "p.id", fallback=" ")},
    )
    rendered = render(
        spec,
        people(
            user__first_name=[None, None, None, None],
            user__favourite_product=["x", "\u00a0", None, "x"],
            event__p__eur=["1.5", "1.5", None, "cher"],
            event__p__id=["7", "7", None, "7"],
        ),
    )

    assert rendered["body"].is_null().to_list() == [False, True, True, True]
    product = "variable product_name (user property favourite_product) is empty and has no fallback"
    price = "variable price (event property p.eur) is empty or cannot be read by its format and has no fallback"
    button = "the URL of button Acheter (event property p.id) is empty and has no fallback"
    assert skips(rendered) == [
        (None, None),
        ("missing_variable", product),
        ("missing_variable", f"{product}; {price}; {button}"),
        ("missing_variable", price),
    ]


def test_a_blank_constant_is_skipped_too() -> None:
    rendered = render(MessageSpec(template(), body={"1": Variable("text", " ")}), people())

    assert skips(rendered) == [("missing_variable", "variable 1 (constant text) is empty and has no fallback")]


def test_a_header_without_an_address_is_skipped() -> None:
    spec = MessageSpec(template("Voici.", header("VIDEO")), "video", Variable("user", "clip"))

    rendered = render(spec, people(user__clip=["https://x.example/a.mp4", None, "a.mp4", "HTTP://x.example/b.mp4"]))

    assert skips(rendered) == [
        (None, None),
        ("missing_media", "header video (user property clip) is empty and has no fallback"),
        ("missing_media", "header video (user property clip) is not an http(s) address: a.mp4"),
        (None, None),
    ]


@pytest.mark.parametrize(
    "phone", ["33612345678", "+0612345678", "+33 6 12 34 56 78", "+336", "+123456", "+33612345678٣", "", "+1" * 9]
)
def test_a_phone_that_is_not_e164_is_skipped(phone: str) -> None:
    rendered = render(MessageSpec(template("Voici.")), people(x=[1]).with_columns(phone=pl.lit(phone)))

    assert skips(rendered) == [("invalid_phone", f"phone {phone} is not E.164 with +")]


def test_no_phone_is_skipped() -> None:
    nobody = people(x=[1]).with_columns(phone=pl.lit(None))

    assert skips(render(MessageSpec(template("Voici.")), nobody)) == [("invalid_phone", "phone is missing")]


def test_a_filled_text_may_be_as_long_as_meta_allows_and_no_longer() -> None:
    spec = MessageSpec(
        template("{{1}} {{1}}.", header("TEXT", "Re: {{1}}"), url_button(url="https://x.example/{{1}}")),
        "text",
        Variable("user", "title"),
        None,
        {"1": Variable("user", "text")},
        {1: Variable("user", "path")},
    )
    rendered = render(
        spec,
        people(
            user__text=["é" * 511, "é" * 512, "x", "x", "x", "x"],
            user__title=["x", "x", "😀" * 56, "😀" * 57, "x", "x"],
            user__path=["x", "x", "x", "x", "y" * 1982, "é" * 331],
        ),
    )

    assert skips(rendered) == [
        (None, None),
        ("too_long", "the body would have 1026 characters; at most 1024 are allowed"),
        (None, None),
        ("too_long", "the header would have 61 characters; at most 60 are allowed"),
        (None, None),
        ("too_long", "the URL of button Acheter would have 2004 characters; at most 2000 are allowed"),
    ]


def test_of_several_reasons_the_first_in_the_documented_order_counts() -> None:
    spec = MessageSpec(
        template("{{1}} {{2}}", header("IMAGE")),
        "image",
        Variable("user", "image"),
        None,
        {"1": Variable("user", "one"), "2": Variable("text", "y" * 1024)},
    )
    frame = people(user__image=[None, None, None, "https://x"], user__one=[None, None, "x", "x"]).with_columns(
        phone=pl.Series([None, PHONE, PHONE, PHONE])
    )

    reasons = render(spec, frame)["skip_reason"].to_list()

    assert reasons == ["invalid_phone", "missing_variable", "missing_media", "too_long"]


def test_times_and_numbers_are_written_in_the_language_of_the_template() -> None:
    variables = {
        "1": Variable("event", "at", format="%A %d/%m à %H:%M", fallback="bientôt"),
        "2": Variable("event", "price", format=2),
        "3": Variable("text", "2026-12-24 09:00", format="%H:%M"),
    }
    spec = MessageSpec(template("Le {{1}} : {{2}} ({{3}})."), body=variables)
    frame = people(event__at=["2026-12-24T09:00", "?"], event__price=[12.5, 3]).with_columns(
        timezone=pl.Series(["America/New_York", None])
    )

    rendered = render(spec, frame, default_timezone="Europe/Paris")

    assert [show(spec.template, body).body for body in rendered["body"]] == [
        "Le jeudi 24/12 à 09:00 : 12,50 (09:00).",
        "Le bientôt : 3,00 (09:00).",
    ]


def test_a_contacts_own_columns_serve_as_properties() -> None:
    spec = MessageSpec(template("{{1}} {{2}}."), body={"1": Variable("user", "phone"), "2": Variable("user", "locale")})

    assert needs(spec) == {("user", "phone"), ("user", "locale")}
    assert components(spec)[0]["parameters"] == [text(PHONE), text("fr")]


def test_a_message_says_which_columns_it_needs() -> None:
    spec = MessageSpec(
        template("{{1}} {{2}}", header("DOCUMENT"), url_button()),
        "document",
        Variable("user", "link"),
        Variable("event", "file.name"),
        {"1": FIRST_NAME, "2": Variable("text", "first_name")},
        {1: Variable("event", "id")},
    )

    assert needs(spec) == {("user", "link"), ("event", "file.name"), ("user", "first_name"), ("event", "id")}


def test_a_column_that_is_not_there_is_an_error_and_no_skip() -> None:
    with pytest.raises(ValueError, match=r"no column user\.first_name"):
        render(MessageSpec(template(), body={"1": FIRST_NAME}), people())
    with pytest.raises(ValueError, match="no column phone"):
        render(MessageSpec(template("x")), pl.DataFrame({"k": [1]}))


def test_callback_data_is_the_last_key() -> None:
    body = render(MessageSpec(template(), body={"1": FIRST_NAME}), people(user__first_name=["a}"]))["body"][0]

    sent = json.loads(with_callback(body, 'est:1:"a"\\é'))

    assert list(sent)[-1] == "biz_opaque_callback_data"
    assert sent.pop("biz_opaque_callback_data") == 'est:1:"a"\\é'
    assert sent == json.loads(body)
    with pytest.raises(ValueError, match="at most 512"):
        with_callback(body, "x" * 513)


def test_a_message_is_shown_with_everything_that_a_person_sees() -> None:
    whole = template(
        "{{2}} puis {{1}}.", header("IMAGE"), {"type": "FOOTER", "text": "STOP pour arrêter"}, url_button()
    )
    spec = MessageSpec(
        whole,
        "image",
        Variable("text", "https://x.example/a.jpg"),
        None,
        {"1": Variable("text", "un"), "2": Variable("text", "deux")},
        {1: Variable("text", "7")},
    )
    body = render(spec, people())["body"][0]

    shown = show(whole, with_callback(body, "x"))

    assert (shown.header_kind, shown.header, shown.filename) == ("image", "https://x.example/a.jpg", None)
    assert (shown.body, shown.footer) == ("deux puis un.", "STOP pour arrêter")
    assert shown.buttons == (
        ShownButton("QUICK_REPLY", "Non"),
        ShownButton("URL", "Acheter", "https://shop.example.com/p/7"),
    )


def test_a_text_header_is_shown_filled_and_a_static_one_as_it_is() -> None:
    filled = template("x", header("TEXT", "Soldes {{1}}"))
    body = render(MessageSpec(filled, "text", Variable("text", "d'été")), people())["body"][0]

    assert show(filled, body).header == "Soldes d'été"
    static = template("x", header("TEXT", "Soldes"))
    assert show(static, render(MessageSpec(static), people())["body"][0]).header == "Soldes"


def test_a_text_message_is_not_shown_as_a_template() -> None:
    with pytest.raises(ValueError, match="no template message"):
        show(template("x"), '{"type":"text","text":{"body":"Bonjour"}}')


def message(**parts: Any) -> TemplateMessage:
    return TemplateMessage(template="offer", language="fr", **parts)


def test_a_messages_own_variable_goes_before_the_shared_one() -> None:
    own, shared = Variable("text", "own"), Variable("text", "shared")

    spec = spec_for(message(variables={"a": own}), {"a": shared, "b": shared, "c": shared}, template("{{a}} {{b}}"))

    assert spec.body == {"a": own, "b": shared}


@pytest.mark.parametrize("key", ["Acheter", 1])
def test_a_button_is_found_by_label_or_by_position(key: str | int) -> None:
    spec = spec_for(message(buttons={key: PRODUCT}), {}, template("x", url_button()))

    assert spec.buttons == {1: PRODUCT}


IMAGE = Header(kind="image", value=Variable("text", "https://x"))


@pytest.mark.parametrize(
    ("given", "of", "place", "words"),
    [
        (message(), template("{{1}}"), "variables.1", "nothing fills the placeholder {{1}}"),
        (message(variables={"2": PRODUCT}), template("x"), "variables.2", "no placeholder {{2}}"),
        (message(), template("x", header("IMAGE")), "header", "nothing fills the image header"),
        (message(), template("x", header("TEXT", "{{1}}")), "header", "nothing fills the text header"),
        (message(header=IMAGE), template("x"), "header", "has nothing to fill"),
        (message(header=IMAGE), template("x", header("TEXT", "Soldes")), "header", "has nothing to fill"),
        (message(header=IMAGE), template("x", header("VIDEO")), "header", "has a header of the kind video"),
        (message(), template("x", url_button()), "buttons.Acheter", "nothing fills the placeholder in the URL"),
        (message(buttons={"Non": PRODUCT}), template("x", url_button()), "buttons.Non", "nothing to fill"),
        (message(buttons={"Oui": PRODUCT}), template("x", url_button()), "buttons.Oui", "no button Oui"),
        (message(buttons={5: PRODUCT}), template("x", url_button()), "buttons.5", "no button 5"),
        (message(buttons={1: PRODUCT, "Acheter": PRODUCT}), template("x", url_button()), "buttons.Acheter", "twice"),
        (message(), template("x", header("LOCATION")), "header", "nothing fills the location header"),
        (message(), template("x", header("PRODUCT")), "template", "a header of the format PRODUCT"),
        (
            message(variables={"1": Variable("user", "day", format="%Q")}),
            template("{{1}}"),
            "variables.1.format",
            "%Q, which is not known",
        ),
        (
            message(header=Header(kind="image", value=IMAGE.value, filename=PRODUCT)),
            template("x", header("IMAGE")),
            "header",
            "only a document has a file name",
        ),
    ],
)
def test_a_hole_is_refused_with_its_place(given: TemplateMessage, of: Template, place: str, words: str) -> None:
    with pytest.raises(ProjectError) as refused:
        spec_for(given, {}, of, file="campaigns/a.yaml", path="steps.offer.message")

    said = {one.field: one for one in refused.value.problems}
    assert said[f"steps.offer.message.{place}"].file == "campaigns/a.yaml"
    assert words in said[f"steps.offer.message.{place}"].message


def test_every_hole_is_told_at_once() -> None:
    with pytest.raises(ProjectError) as refused:
        spec_for(message(variables={"b": PRODUCT}), {}, template("{{a}}", header("IMAGE"), url_button()))

    assert {one.field for one in refused.value.problems} == {
        "variables.a", "variables.b", "header", "buttons.Acheter",
    }  # fmt: skip
