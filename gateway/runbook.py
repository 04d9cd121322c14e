"""`GET /runbook`: the page of the docs that says what to do, where the links of all pages lead.

What belongs here: showing a file of this repository. It says nothing of any home, so nobody need be logged in: it is
wanted most where nobody can be.
"""

import re
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup

from gateway.look import PageRoute, error_page, page, words_of
from journey.failures import RUNBOOK

ROOT = Path(__file__).parent.parent
_HEADING = re.compile(r"^(#{2,3}) (.+)$")
_LINK = re.compile(r'(\()?<a href="([a-z-]+\.(?:md|yaml))[^"]*">(.*?)</a>(\))?')
_SHORT = re.compile(r"<code>([^<]{1,24})</code>")


def runbook_routes() -> APIRouter:
    """The page."""
    routes = APIRouter(route_class=PageRoute)

    @routes.get("/runbook", include_in_schema=False, response_model=None)
    async def runbook(request: Request) -> Response:
        text = shown()
        if text is None:
            return error_page(request, 404, words_of(request)("runbook_missing"))
        return page(request, "runbook.html", text=text)

    return routes


def anchors(text: str) -> list[str]:
    """The anchors of a page's headings, in their order, as GitHub makes them."""
    found = [_HEADING.match(line) for line in text.splitlines()]
    return [_anchor(one[2]) for one in found if one]


def _anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")


def _named(link: re.Match[str]) -> str:
    """A link to another page of the docs as text with the page's file; in brackets of its own, the file alone."""
    opened, file, text, closed = link.groups()
    place = f"<code>docs/{file}</code>"
    return f"({place})" if opened and closed else f"{opened or ''}{text} ({place}){closed or ''}"


@lru_cache(1)
def shown() -> Markup | None:
    """The runbook as HTML; None where the repository's docs are not installed. Links to other pages name their file:
    those are not served."""
    from markdown_it import MarkdownIt

    try:
        text = (ROOT / RUNBOOK).read_text(encoding="utf-8")
    except OSError:
        return None
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(text)
    names = iter(anchors(text))
    for token in tokens:
        if token.type == "heading_open" and token.tag in ("h2", "h3"):
            token.attrSet("id", next(names))
    html = reader.renderer.render(tokens, reader.options, {})
    html = _SHORT.sub(r'<code class="whole">\1</code>', _LINK.sub(_named, html))
    return Markup(html.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>"))  # noqa: S704 - our own file
