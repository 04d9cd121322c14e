"""`GET /openapi.json`, and `GET /docs/api`: the same as a page, made here, that needs nothing from elsewhere.

What belongs here: how the page looks. What it says is the OpenAPI document (`api_schema`).
"""

import json
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, Response

from gateway.api_schema import describe

SHORT = 100  # characters of JSON that stand on one line
STYLE = """:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 52rem; padding: 1.5rem; }
h2 { border-top: 1px solid color-mix(in srgb, currentColor 25%, transparent); margin-top: 2.5rem; padding-top: 1rem; }
code, pre { font: 0.875rem/1.45 ui-monospace, monospace; }
pre { background: color-mix(in srgb, currentColor 8%, transparent); border-radius: 0.4rem; overflow-x: auto;
  padding: 0.75rem 1rem; }
.method { border: 1px solid currentColor; border-radius: 0.3rem; font-size: 0.8rem; padding: 0.1rem 0.4rem; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 0.3rem 0.75rem 0.3rem 0; text-align: left; vertical-align: top; }
tr + tr > * { border-top: 1px solid color-mix(in srgb, currentColor 15%, transparent); }
"""


def api_page_routes(app: FastAPI) -> APIRouter:
    """The doors that describe `app`'s API; anyone may read them."""
    routes = APIRouter()

    @routes.get("/openapi.json", include_in_schema=False, response_model=None)
    async def document() -> Response:
        return JSONResponse(describe(app))

    @routes.get("/docs/api", include_in_schema=False, response_model=None)
    async def page() -> Response:
        return HTMLResponse(api_page(describe(app)))

    @routes.get("/docs/api.css", include_in_schema=False, response_model=None)
    async def style() -> Response:
        return Response(STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})

    return routes


def api_page(document: dict[str, Any]) -> str:
    """An OpenAPI document as a page."""
    info = document["info"]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<title>Estafette: the API</title><link rel="stylesheet" href="/docs/api.css"></head><body><main>',
        f"<h1>{escape(info['title'])}: the API</h1>",
        *(f"<p>{_text(one)}</p>" for one in info["description"].split("\n\n")),
        '<p>The same for machines: <a href="/openapi.json">openapi.json</a>.</p><nav><ul>',
    ]
    listed = [(path, method, one) for path, methods in document["paths"].items() for method, one in methods.items()]
    for _, _, one in listed:
        parts.append(f'<li><a href="#{escape(one["operationId"])}">{escape(one["summary"])}</a></li>')
    parts.append("</ul></nav>")
    for path, method, one in listed:
        parts += _operation(path, method, one)
    parts.append("<h2>Shapes</h2>")
    for name, schema in document["components"]["schemas"].items():
        parts.append(f'<h3 id="{escape(name)}">{escape(name)}</h3>{_json(schema)}')
    return "".join([*parts, "</main></body></html>"])


def _operation(path: str, method: str, one: dict[str, Any]) -> list[str]:
    parts = [
        f'<h2 id="{escape(one["operationId"])}">{escape(one["summary"])}</h2>',
        f'<p><span class="method">{method.upper()}</span> <code>{escape(path)}</code></p>',
        f"<p>{_text(one['description'])}</p>",
    ]
    if one.get("parameters"):
        rows = [
            (f"<code>{escape(p['name'])}</code> ({escape(p['in'])})", _text(p.get("description", "")))
            for p in one["parameters"]
        ]
        parts.append(_table("Parameters", rows))
    for body in one.get("requestBody", {}).get("content", {}).values():
        parts.append(f"<h3>Body: {_link(body['schema'])}</h3>")
        for example in body["examples"].values():
            parts.append(f"<p>{escape(example['summary'])}:</p>{_json(example['value'])}")
    parts.append("<h3>Answers</h3>")
    rows = []
    for code, answer in one["responses"].items():
        content: dict[str, Any] = next(iter(answer.get("content", {}).values()), {})
        rows.append((f"<code>{escape(str(code))}</code>", _text(answer["description"]) + _json(content.get("example"))))
    parts.append(_table("", rows))
    return parts


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    body = "".join(f'<tr><th scope="row">{head}</th><td>{cell}</td></tr>' for head, cell in rows)
    return (f"<h3>{escape(title)}</h3>" if title else "") + f"<table>{body}</table>"


def _link(schema: dict[str, Any]) -> str:
    name = escape(schema["$ref"].rpartition("/")[2])
    return f'<a href="#{name}">{name}</a>'


def _text(text: str) -> str:
    """Text with `code` in it."""
    return "".join(
        f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(escape(text, quote=False).split("`"))
    )


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if len(text) > SHORT:
        text = json.dumps(value, ensure_ascii=False, indent=2)
    return f"<pre>{escape(text, quote=False)}</pre>"
