"""Message templates: what Meta's answer says, read once into one model, and the choice of a language.

What belongs here: `Template`, the way from the object that `GET /{waba-id}/message_templates` lists (and that
`templates/NAME.LANGUAGE.json` keeps) to it, and which language of a template a contact gets. What fills a template's
placeholders is `fill`; how bodies are made of it is `render`.

Meta's own examples write `HEADER` and `header`, `MARKETING` and `marketing`; its answers use upper case. Both are read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from journey.problems import Problem

APPROVED = "APPROVED"
ParameterFormat = Literal["POSITIONAL", "NAMED"]

PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}", re.ASCII)
MEDIA = ("IMAGE", "VIDEO", "DOCUMENT")
LOCATION = "LOCATION"
# What needs nothing at send time, or only one text: of the placeholder (URL), or the code to copy (COPY_CODE).
_PLAIN_BUTTONS = ("QUICK_REPLY", "URL", "PHONE_NUMBER", "VOICE_CALL", "COPY_CODE")
_PLAIN_COMPONENTS = ("HEADER", "BODY", "FOOTER", "BUTTONS")


@dataclass(frozen=True, slots=True)
class TemplateHeader:
    """`format` is TEXT, IMAGE, VIDEO, DOCUMENT, LOCATION or what else Meta says; `text` is for TEXT only."""

    format: str
    text: str | None = None
    placeholders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TemplateButton:
    """`index` is the button's place from 0, the number by which a request names it; `text` its label."""

    index: int
    type: str
    text: str
    url: str | None = None
    placeholders: tuple[str, ...] = ()

    @property
    def takes_value(self) -> bool:
        """Whether a send must bring something for it."""
        return bool(self.placeholders) or self.type == "COPY_CODE"


@dataclass(frozen=True, slots=True)
class Template:
    """One template in one language.

    Placeholders are names or numbers as text, in order of first appearance, each once. `status` and `category` are
    Meta's words in upper case, empty where Meta did not say. `unsupported` lists in words what the template holds that
    Estafette cannot fill (a carousel, a product, ...): such a template is known, shown and never sent. `raw` is the
    object as it came.
    """

    name: str
    language: str
    status: str
    category: str
    parameter_format: ParameterFormat
    header: TemplateHeader | None
    body: str
    body_placeholders: tuple[str, ...]
    footer: str | None
    buttons: tuple[TemplateButton, ...]
    quality: str | None
    raw: dict[str, Any]
    unsupported: tuple[str, ...] = ()

    @property
    def approved(self) -> bool:
        """Whether Meta lets it be sent."""
        return self.status == APPROVED

    @property
    def file_name(self) -> str:
        """Its name within `templates/`."""
        return f"{self.name}.{self.language}.json"


def placeholders(text: str) -> tuple[str, ...]:
    """The placeholders of a text, each once, in order of first appearance."""
    return tuple(dict.fromkeys(PLACEHOLDER.findall(text)))


def parse_template(definition: object) -> Template:
    """Reads one template object of Meta's. Raises ValueError with a sentence on what cannot be understood.

    Where `parameter_format` is missing (older answers) a placeholder or an example with a name makes it NAMED.
    """
    given = _object(definition, "a template")
    name, language = _text(given, "name", "a template"), _text(given, "language", "a template")
    components = given.get("components")
    if not isinstance(components, list):
        raise ValueError("a template has a list of `components`, and this one has none")

    found: dict[str, dict[str, Any]] = {}
    unsupported: list[str] = []
    for component in components:
        part = _object(component, "a component")
        kind = _text(part, "type", "a component").upper()
        if kind in found:
            raise ValueError(f"the template has two {kind} components")
        found[kind] = part
        if kind not in _PLAIN_COMPONENTS:
            unsupported.append(f"a component of the type {kind}")

    body = _optional_text(found.get("BODY", {}), "text") or ""
    if not body:
        unsupported.append("a body without text")
    header = _header(found["HEADER"]) if "HEADER" in found else None
    if header is not None and header.format not in ("TEXT", LOCATION, *MEDIA):
        unsupported.append(f"a header of the format {header.format}")
    if header is not None and len(header.placeholders) > 1:
        unsupported.append("a header with several placeholders")
    buttons = _buttons(found["BUTTONS"]) if "BUTTONS" in found else ()
    for button in buttons:
        if button.type not in _PLAIN_BUTTONS:
            unsupported.append(f"a button of the type {button.type}")
        if len(button.placeholders) > 1:
            unsupported.append("a button's URL with several placeholders")

    return Template(
        name=name,
        language=language,
        status=(_optional_text(given, "status") or "").upper(),
        category=(_optional_text(given, "category") or "").upper(),
        parameter_format=_parameter_format(given, found, body, header),
        header=header,
        body=body,
        body_placeholders=placeholders(body),
        footer=_optional_text(found.get("FOOTER", {}), "text"),
        buttons=buttons,
        quality=_quality(given.get("quality_score")),
        raw=dict(definition) if isinstance(definition, dict) else {},
        unsupported=tuple(dict.fromkeys(unsupported)),
    )


def parse_library(files: Mapping[str, object]) -> tuple[dict[tuple[str, str], Template], list[Problem]]:
    """Reads the template files of a project: path within the home → the JSON in it.

    A file holds one definition (as `templates pull` writes them, NAME.LANGUAGE.json), several in a list, or a page as
    Meta's API answers it (`{"data": […]}`); its name does not matter. Returns the templates by (name, language), and a
    finding for each definition that cannot be read or is there twice.
    """
    library: dict[tuple[str, str], Template] = {}
    problems: list[Problem] = []
    pull = "Run `estafette templates pull`, which writes these files."
    for file, content in sorted(files.items()):
        for definition in _definitions(content):
            try:
                template = parse_template(definition)
            except ValueError as error:
                problems.append(Problem(file, 0, "", str(error), pull))
                continue
            if (template.name, template.language) in library:
                what = f"the template {template.name} ({template.language}) is there twice"
                problems.append(Problem(file, 0, "", what, "Remove one of them."))
                continue
            library[template.name, template.language] = template
    return library, problems


def _definitions(content: object) -> list[object]:
    if isinstance(content, dict) and "name" not in content and isinstance(content.get("data"), list):
        content = content["data"]
    return content if isinstance(content, list) else [content]


def resolve_language(
    available: Mapping[str, Template], wanted: str | None, fallback: str | None = None
) -> Template | None:
    """The language of a template that a contact gets, or None where no approved one fits (spec, Language).

    `available` holds one template by its languages. The wanted language exactly (`-` as `_`, in any case), else its
    base (`fr_CA` → `fr`; `zh_Hant_TW` → `zh_Hant` → `zh`), else the fallback exactly; each only if approved. The way is
    never from a base to a region: `fr` does not stand for `fr_CA`.
    """
    by_code = {_code(language): template for language, template in available.items()}
    candidates = []
    if wanted is not None and wanted.strip():
        parts = _code(wanted).split("_")
        candidates = ["_".join(parts[:length]) for length in range(len(parts), 0, -1)]
    if fallback is not None:
        candidates.append(_code(fallback))
    for code in candidates:
        template = by_code.get(code)
        if template is not None and template.approved:
            return template
    return None


def _code(language: str) -> str:
    return language.strip().replace("-", "_").lower()


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is an object, and this is {type(value).__name__}")
    return {str(key).lower(): one for key, one in value.items()}


def _text(given: Mapping[str, Any], key: str, what: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} has a `{key}`, and this one has none")
    return value.strip()


def _optional_text(given: Mapping[str, Any], key: str) -> str | None:
    value = given.get(key)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"`{key}` is text, and this is {type(value).__name__}")
    return value


def _header(part: Mapping[str, Any]) -> TemplateHeader:
    kind = _text(part, "format", "a HEADER").upper()
    text = _optional_text(part, "text") if kind == "TEXT" else None
    if kind == "TEXT" and not text:
        raise ValueError("a HEADER of format TEXT has a `text`, and this one has none")
    return TemplateHeader(kind, text, placeholders(text or ""))


def _buttons(part: Mapping[str, Any]) -> tuple[TemplateButton, ...]:
    listed = part.get("buttons")
    if not isinstance(listed, list):
        raise ValueError("a BUTTONS component has a list of `buttons`, and this one has none")
    buttons = []
    for index, one in enumerate(listed):
        button = _object(one, "a button")
        kind = _text(button, "type", "a button").upper()
        url = _text(button, "url", "a URL button") if kind == "URL" else None
        buttons.append(TemplateButton(index, kind, _optional_text(button, "text") or "", url, placeholders(url or "")))
    return tuple(buttons)


def _parameter_format(
    given: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], body: str, header: TemplateHeader | None
) -> ParameterFormat:
    said = (_optional_text(given, "parameter_format") or "").strip().upper()
    if said == "NAMED":
        return "NAMED"
    if said == "POSITIONAL":
        return "POSITIONAL"
    if said:
        raise ValueError(f"the `parameter_format` is POSITIONAL or NAMED, and this is {said}")
    names = (*placeholders(body), *(header.placeholders if header is not None else ()))
    return "NAMED" if any(not name.isdecimal() for name in names) else "POSITIONAL"


def _quality(score: object) -> str | None:
    if isinstance(score, dict):
        score = score.get("score")
    return score.upper() if isinstance(score, str) and score else None
