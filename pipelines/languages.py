"""Which language of a template each contact gets: the approved one, or the one to hold for.

What belongs here: asking the contact's property and the project's templates. The rule itself, what stands for what, is
`journey.template.resolve_language`.
"""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from journey.steps import LanguageByContact, TemplateMessage
from journey.template import Template, resolve_language
from resources.home import Home

MENDING = ("PAUSED", "PENDING", "IN_APPEAL", "FLAGGED", "REINSTATED")
"""Template states that may end by themselves: they hold a message until it expires."""

APPROVED, MISSING = "APPROVED", "missing"


def languages_of(home: Home, message: TemplateMessage) -> dict[str, Template]:
    """The message's template in every language that it has."""
    return {language: one for (name, language), one in home.project.templates.items() if name == message.template}


def asked_language(message: TemplateMessage, people: pl.DataFrame) -> pl.Series:
    """The language that each is to get (String; null: their property says nothing)."""
    if isinstance(message.language, LanguageByContact):
        return people.get_column(f"user.{message.language.user}").cast(pl.String)
    return pl.Series([message.language] * people.height, dtype=pl.String)


def fallback_of(message: TemplateMessage) -> str | None:
    """The language for those whose own is missing or not approved."""
    return message.language.fallback if isinstance(message.language, LanguageByContact) else None


def template_for(
    library: Mapping[str, Template], wanted: str | None, fallback: str | None
) -> tuple[Template | None, str]:
    """The template to send, or the one to hold for; else None and why."""
    found = resolve_language(library, wanted, fallback)
    if found is not None:
        return found, APPROVED
    for mending in (True, False):  # the same way, as if those that may be approved again were; then as if all were
        as_if = {
            language: replace(template, status=APPROVED)
            for language, template in library.items()
            if template.status in MENDING or not mending
        }
        found = resolve_language(as_if, wanted, fallback)
        if found is not None:
            template = library[found.language]
            return (template if mending else None), template.status
    return None, MISSING
