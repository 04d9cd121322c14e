"""Reading Meta's template objects, and the choice of a language."""

from typing import Any

import pytest

from journey.template import Template, parse_library, parse_template, placeholders, resolve_language


def definition(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "name": "autumn_offer",
        "language": "fr",
        "status": "APPROVED",
        "category": "MARKETING",
        "parameter_format": "NAMED",
        "id": "1192339204654487",
        "quality_score": {"score": "GREEN", "date": 1758754645},
        "components": [
            {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::aW1hZ2U="]}},
            {"type": "BODY", "text": "Bonjour {{first_name}}, {{product}} vous attend. À bientôt, {{first_name}} !"},
            {"type": "FOOTER", "text": "Répondez STOP pour ne plus rien recevoir"},
            {
                "type": "BUTTONS",
                "buttons": [
                    {"type": "QUICK_REPLY", "text": "Non, merci"},
                    {"type": "URL", "text": "Acheter", "url": "https://shop.example.com/p/{{1}}", "example": ["x"]},
                    {"type": "PHONE_NUMBER", "text": "Appeler", "phone_number": "33123456789"},
                ],
            },
        ],
    }
    return whole | changes


def with_components(*components: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return definition(components=list(components), **changes)


def in_language(language: str, status: str = "APPROVED") -> Template:
    return parse_template(definition(language=language, status=status))


def test_a_template_is_read_whole() -> None:
    template = parse_template(definition())

    assert (template.name, template.language, template.file_name) == ("autumn_offer", "fr", "autumn_offer.fr.json")
    assert (template.status, template.category, template.quality) == ("APPROVED", "MARKETING", "GREEN")
    assert template.approved
    assert template.header is not None and template.header.format == "IMAGE"
    assert template.footer == "Répondez STOP pour ne plus rien recevoir"
    assert [(button.index, button.type, button.text) for button in template.buttons] == [
        (0, "QUICK_REPLY", "Non, merci"),
        (1, "URL", "Acheter"),
        (2, "PHONE_NUMBER", "Appeler"),
    ]
    assert template.buttons[1].url == "https://shop.example.com/p/{{1}}"
    assert template.buttons[1].placeholders == ("1",)
    assert template.unsupported == ()
    assert template.raw == definition()


def test_a_placeholder_that_stands_twice_counts_once() -> None:
    assert parse_template(definition()).body_placeholders == ("first_name", "product")
    assert placeholders("{{2}} {{1}} {{2}} {{ 3 }} {4} {{not one}}") == ("2", "1", "3")


def test_keys_and_words_in_other_cases_are_read_alike() -> None:
    template = parse_template(
        {
            "NAME": "hello",
            "Language": "en_US",
            "status": "approved",
            "category": "utility",
            "parameter_format": "positional",
            "components": [
                {"TYPE": "header", "format": "text", "TEXT": "Order {{1}}"},
                {"type": "body", "text": "Hi {{1}}, see {{2}}."},
                {"type": "buttons", "buttons": [{"type": "url", "text": "See", "URL": "https://x.example/{{1}}"}]},
            ],
        }
    )

    assert (template.status, template.category, template.parameter_format) == ("APPROVED", "UTILITY", "POSITIONAL")
    assert template.header is not None
    assert (template.header.format, template.header.placeholders) == ("TEXT", ("1",))
    assert template.buttons[0].type == "URL"
    assert template.buttons[0].placeholders == ("1",)


@pytest.mark.parametrize(
    ("body", "expected"),
    [("Hi {{1}}.", "POSITIONAL"), ("Hi {{first_name}}.", "NAMED"), ("Hi there.", "POSITIONAL")],
)
def test_a_missing_parameter_format_is_told_by_the_placeholders(body: str, expected: str) -> None:
    older = definition(components=[{"type": "BODY", "text": body}])
    del older["parameter_format"]

    assert parse_template(older).parameter_format == expected


def test_a_name_in_the_header_alone_makes_it_named() -> None:
    older = with_components({"type": "HEADER", "format": "TEXT", "text": "{{sale}}"}, {"type": "BODY", "text": "Hi."})
    del older["parameter_format"]

    assert parse_template(older).parameter_format == "NAMED"


def test_what_meta_did_not_say_is_empty_and_never_approved() -> None:
    bare = parse_template({"name": "x", "language": "fr", "components": [{"type": "BODY", "text": "Bonjour."}]})

    assert (bare.status, bare.category, bare.quality, bare.header, bare.footer) == ("", "", None, None, None)
    assert not bare.approved


def test_a_location_and_a_code_to_copy_can_be_filled() -> None:
    buttons = [{"type": "QUICK_REPLY", "text": "Stop"}, {"type": "COPY_CODE", "text": "Copier", "example": ["A1"]}]
    given = with_components(
        {"type": "HEADER", "format": "LOCATION"}, {"type": "BODY", "text": "x"}, {"type": "BUTTONS", "buttons": buttons}
    )

    template = parse_template(given)

    assert template.unsupported == ()
    assert [button.takes_value for button in template.buttons] == [False, True]


@pytest.mark.parametrize(
    ("components", "part"),
    [
        (
            [
                {"type": "BODY", "add_security_recommendation": True},
                {"type": "FOOTER", "code_expiration_minutes": 10},
                {"type": "BUTTONS", "buttons": [{"type": "OTP", "otp_type": "COPY_CODE", "text": "Copy"}]},
            ],
            "a body without text",
        ),
        ([{"type": "BODY", "text": "x"}, {"type": "CAROUSEL", "cards": []}], "a component of the type CAROUSEL"),
        ([{"type": "HEADER", "format": "PRODUCT"}, {"type": "BODY", "text": "x"}], "a header of the format PRODUCT"),
        (
            [{"type": "BODY", "text": "x"}, {"type": "BUTTONS", "buttons": [{"type": "CATALOG", "text": "Voir"}]}],
            "a button of the type CATALOG",
        ),
        (
            [
                {"type": "BODY", "text": "x"},
                {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "a", "url": "https://x.example/{{1}}/{{2}}"}]},
            ],
            "a button's URL with several placeholders",
        ),
    ],
)
def test_a_kind_that_cannot_be_filled_is_kept_and_named(components: list[dict[str, Any]], part: str) -> None:
    given = with_components(*components)
    template = parse_template(given)

    assert part in template.unsupported
    assert template.raw == given


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "a template is an object"),
        ({"language": "fr", "components": []}, "`name`"),
        ({"name": "x", "components": []}, "`language`"),
        ({"name": "x", "language": "fr"}, "`components`"),
        (with_components({"text": "x"}), "`type`"),
        (with_components({"type": "BODY", "text": "x"}, {"type": "body", "text": "y"}), "two BODY"),
        (with_components({"type": "BODY", "text": 5}), "`text` is text"),
        (with_components({"type": "HEADER", "format": "TEXT"}, {"type": "BODY", "text": "x"}), "format TEXT"),
        (with_components({"type": "BUTTONS", "buttons": [{"type": "URL", "text": "a"}]}), "`url`"),
        (with_components({"type": "BUTTONS"}), "list of `buttons`"),
        (definition(parameter_format="BOTH"), "POSITIONAL or NAMED"),
    ],
)
def test_what_cannot_be_understood_is_said_in_a_sentence(given: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_template(given)


def test_a_library_is_read_by_name_and_language() -> None:
    library, problems = parse_library(
        {
            "templates/autumn_offer.fr.json": definition(),
            "templates/autumn_offer.en_US.json": definition(language="en_US"),
        }
    )

    assert set(library) == {("autumn_offer", "fr"), ("autumn_offer", "en_US")}
    assert problems == []


def test_a_file_that_cannot_be_used_is_a_finding_and_the_others_come_in() -> None:
    library, problems = parse_library(
        {
            "templates/a.fr.json": {"name": "a"},
            "templates/autumn_offer.fr.json": definition(),
            "templates/copy.fr.json": definition(),
            "templates/named_otherwise.json": definition(name="other"),
        }
    )

    assert set(library) == {("autumn_offer", "fr"), ("other", "fr")}
    assert [(problem.file, problem.message) for problem in problems] == [
        ("templates/a.fr.json", "a template has a `language`, and this one has none"),
        ("templates/copy.fr.json", "the template autumn_offer (fr) is there twice"),
    ]


def test_a_page_as_meta_answers_it_and_a_list_are_template_files_too() -> None:
    page = {"data": [definition(), definition(language="en_US")], "paging": {"cursors": {"after": "x"}}}
    library, problems = parse_library({"templates/page.json": page, "templates/list.json": [definition(name="other")]})

    assert set(library) == {("autumn_offer", "fr"), ("autumn_offer", "en_US"), ("other", "fr")}
    assert problems == []


@pytest.mark.parametrize(
    ("wanted", "fallback", "expected"),
    [
        ("fr", None, "fr"),
        ("fr-CA", None, "fr_CA"),
        ("FR_ca", None, "fr_CA"),
        ("fr_BE", None, "fr"),
        ("zh-Hant-TW", None, "zh_Hant"),
        ("en_GB", "fr", "fr"),
        (None, "fr-ca", "fr_CA"),
        ("", "fr", "fr"),
        ("en_GB", None, None),
        (None, None, None),
        ("en_GB", "de", None),
        ("pt", None, None),  # never from the base to a region
    ],
)
def test_a_language_is_found_exactly_then_by_its_base_then_by_the_fallback(
    wanted: str | None, fallback: str | None, expected: str | None
) -> None:
    available = {code: in_language(code) for code in ("fr", "fr_CA", "zh_Hant", "pt_BR")}

    found = resolve_language(available, wanted, fallback)

    assert (found.language if found is not None else None) == expected


def test_a_language_that_is_not_approved_is_passed_over() -> None:
    available = {"fr_CA": in_language("fr_CA", "PAUSED"), "fr": in_language("fr"), "en": in_language("en", "PENDING")}

    assert resolve_language(available, "fr_CA") is available["fr"]
    assert resolve_language(available, "en", "fr") is available["fr"]
    assert resolve_language(available, "en", "en") is None
