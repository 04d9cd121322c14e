"""Checks of texts with {name} placeholders: free text, and the addresses to which counted links lead.

What belongs here: whatever can be told without a template. Whether the template's button leads to the gateway is
`check_template`.
"""

from collections.abc import Mapping

from journey.braces import cut
from journey.campaign import Campaign
from journey.check_values import Place
from journey.findings import Findings
from journey.message_spec import VOUCHER_NAME
from journey.spelling import suggest
from journey.steps import Link, TextMessage
from journey.variables import Variable

TEXT_LENGTH = 4096


def check_text(message: TextMessage, path: Place, campaign: Campaign, findings: Findings) -> set[str]:
    """Adds the findings about a free text. Gives the names of its placeholders."""
    pieces = _pieces(message.text, (*path, "text"), findings)
    if pieces is None:
        return set(message.variables) | set(campaign.variables)  # what it uses is not known: nothing is said of it
    filled = {**campaign.variables, **message.variables}
    _placeholders(pieces[1::2], message.variables, filled, "the text", path, findings)
    length = _length(pieces, filled)
    if length > TEXT_LENGTH:
        what = f"with its constants the text has at least {length:,} characters; Meta takes {TEXT_LENGTH:,}"
        findings.hole((*path, "text"), what, "Shorten it.")
    return set(pieces[1::2])


def check_link(link: Link, path: Place, campaign: Campaign, findings: Findings, *, coupons: bool) -> set[str]:
    """Adds the findings about the address of a counted link. Gives the names of its placeholders."""
    pieces = _pieces(link.url, (*path, "link"), findings)
    if pieces is None:
        return set(campaign.variables)
    start = pieces[0].lower()
    if start.strip() and not start.startswith(("http://", "https://")):
        findings.hole((*path, "link"), f"“{link.url}” is no public address", "Start it with https://.")
    filled: dict[str, object] = {**campaign.variables, **link.variables, **({VOUCHER_NAME: None} if coupons else {})}
    _placeholders(pieces[1::2], link.variables, filled, "the link", path, findings)
    return set(pieces[1::2])


def _pieces(text: str, path: Place, findings: Findings) -> list[str] | None:
    try:
        return cut(text)
    except ValueError as error:
        what, _, mend = str(error).partition("; ")
        findings.hole(path, what, f"{mend[:1].upper()}{mend[1:]}.")
        return None


def _placeholders(
    names: list[str],
    own: Mapping[str, Variable],
    filled: Mapping[str, object],
    of: str,
    path: Place,
    findings: Findings,
) -> None:
    key = "text" if of == "the text" else "link"
    for name in dict.fromkeys(names):
        if name not in filled:
            what = f"nothing fills the placeholder {{{name}}} of {of}"
            near = suggest(name, filled, none="")
            mend = f"Add it under `variables`, e.g. {name}: {{user: {name}, fallback: …}}."
            findings.hole((*path, key), what, f"{near} Or add it under `variables`." if "Did" in near else mend)
    for name in own:
        if name not in names:
            missing = [one for one in names if one not in filled]
            mend = suggest(name, missing or names, none="It has none at all: remove this variable.")
            findings.hole((*path, "variables", name), f"{of} has no placeholder {{{name}}}", mend)


def _length(pieces: list[str], filled: Mapping[str, Variable]) -> int:
    """The shortest that the text can be once filled: constants as they are, anything else one character."""
    length = sum(len(one) for one in pieces[::2])
    for name in pieces[1::2]:
        variable = filled.get(name)
        length += len(variable.name) if variable is not None and variable.source == "text" else 1
    return length
