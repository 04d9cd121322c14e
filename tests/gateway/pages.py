"""The pages as a browser would have them: cookies kept, forms filled from what the page holds."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from typing import Any

import httpx

from gateway.app import create_app
from gateway.look import ROOM
from resources.users import add_user
from tests.stage import Stage

PASSWORD = "correct horse battery"
HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')


class Browser:
    """A browser at the gateway of a stage's home. It follows no redirect by itself."""

    def __init__(self, stage: Stage, client: httpx.AsyncClient) -> None:
        self.stage, self.http = stage, client

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.http.get(path, **more)

    async def submit(self, path: str, to: str | None = None, form: str | None = None, **fields: str) -> httpx.Response:
        """Open a page and send its form: what is hidden in it, and `fields`. `to`: the form's address, if another."""
        page = await self.http.get(path)
        text = page.text
        if form is not None:
            text = text[text.index(f'action="{form}"') :]
            text = text[: text.index("</form>")]
        elif 'action="/logout"' in text:
            text = text.replace(text[text.index('action="/logout"') : text.index("</form>")], "", 1)
        hidden = {name: unescape(value) for name, value in HIDDEN.findall(text)}
        return await self.http.post(to or path, data={**hidden, **fields})

    async def log_in(self, name: str = "olga", password: str = PASSWORD, to: str = "/") -> httpx.Response:
        return await self.submit(f"/login?to={to}", "/login", name=name, password=password)


def make_user(stage: Stage, name: str = "olga", role: str = "operator", password: str = PASSWORD) -> None:
    with stage.home.ledger.write() as tx:
        add_user(tx, name, role, password, stage.us)


@asynccontextmanager
async def browsing(
    stage: Stage, base: str = "http://pages.test", address: str = "192.0.2.7", **headers: str
) -> AsyncIterator[Browser]:
    """A browser; its clock is the stage's."""
    app = create_app(stage.path, app_secret=None, verify_token=None, clock=lambda: stage.now)
    transport = httpx.ASGITransport(app, client=(address, 5_000))
    try:
        async with httpx.AsyncClient(transport=transport, base_url=base, headers=headers, timeout=60) as client:
            yield Browser(stage, client)
    finally:
        app.state.store.close()


def templates() -> list[str]:
    """All but the report, which is a file to pass on and bears its own style."""
    pages = sorted(path for path in (ROOM / "pages").iterdir() if path.name != "report.html")
    return [path.read_text(encoding="utf-8") for path in pages]
