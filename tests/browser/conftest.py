"""A browser for the tests of the pages: Chromium, and a gateway that serves a home of a stage.

What belongs here: `shop`, a home with something of everything and its gateway, and `tab`, which opens pages in it as
somebody. Whatever a browser complains of fails the test: its console, scripts, the content security policy, dialogs,
requests to anywhere else.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright  # noqa: E402

from gateway.app import Server, address, config, create_app, listen  # noqa: E402
from gateway.signing_in import SESSION  # noqa: E402
from resources.sessions import begin_session  # noqa: E402
from resources.users import add_user  # noqa: E402
from tests.browser.shop import build  # noqa: E402
from tests.stage import NOON, Stage, write_home  # noqa: E402

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
)
PATIENCE = 60_000
"""Milliseconds after which what a page should do is not waited for any longer; machines that test are busy."""
PASSWORD = "correct horse battery"
USERS = {"olga": "operator", "anna": "agent", "vera": "viewer"}
WATCH = """
window.violations = [];
const note = (one) => violations.push(`${one.violatedDirective} ${one.blockedURI}`);
document.addEventListener("securitypolicyviolation", note);
"""


@dataclass
class Shop:
    """A stage, the address of its gateway, and the browser."""

    stage: Stage
    base: str
    browser: Browser
    sessions: dict[str, str]


@dataclass
class Tab:
    """A page of somebody's, and what the browser complained of. `expected`: statuses that are no complaint."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)
    expected: set[int] = field(default_factory=set)

    def go(self, path: str, status: int = 200) -> Page:
        self.expected.add(status)
        answer = self.page.goto(self.base + path)
        assert answer is not None and answer.status == status, (path, answer and answer.status)
        return self.page

    def violations(self) -> list[str]:
        found: list[str] = self.page.evaluate("window.violations || []")
        return found


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, dict[str, str]]]:
    """One home for all tests, and a session of each user: what a test changes it changes back, or it is its own."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no browser at {CHROMIUM}")
    stage = build(lambda **files: Stage(write_home(tmp_path_factory.mktemp("shop") / "home", **files), NOON))
    with stage.home.ledger.write() as tx:
        for name, role in USERS.items():
            add_user(tx, name, role, PASSWORD, stage.us - 86_400_000_000)
        sessions = {name: begin_session(tx, name, stage.us) for name in USERS}
    yield stage, sessions
    stage.home.close()


@pytest.fixture(scope="module")
def shop(stocked: tuple[Stage, dict[str, str]]) -> Iterator[Shop]:
    """That home, served, and a browser. For a module: Playwright's loop must end before other tests run their own."""
    stage, sessions = stocked
    with served(stage) as base, chromium() as browser:
        yield Shop(stage, base, browser, sessions)


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(stage: Stage) -> Iterator[str]:
    """The gateway of a stage on a free port, on the stage's clock."""
    app = create_app(stage.path, app_secret=None, verify_token=None, clock=lambda: stage.now)
    with listen("127.0.0.1", 0) as listening:
        server = Server(config(app), app.state.watch)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield address(listening)
        finally:
            server.should_exit = True
            thread.join(30)


Open = Callable[..., Tab]
expect.set_options(timeout=PATIENCE)


@pytest.fixture
def tab(shop: Shop) -> Iterator[Open]:
    """Opens a tab: `tab("olga")`, or `tab(None)` for somebody who is not logged in; keywords are those of a Playwright
    context (`locale`, `color_scheme`, `viewport`, `java_script_enabled`)."""
    contexts: list[BrowserContext] = []
    tabs: list[Tab] = []

    def open_tab(user: str | None = "olga", **context: Any) -> Tab:
        options: dict[str, Any] = {"locale": "en-GB", "reduced_motion": "reduce", **context}
        contexts.append(shop.browser.new_context(**options))
        contexts[-1].set_default_timeout(PATIENCE)
        contexts[-1].add_init_script(WATCH)
        if user is not None:
            contexts[-1].add_cookies([{"name": SESSION, "value": shop.sessions[user], "url": shop.base}])
        tabs.append(Tab(contexts[-1].new_page(), shop.base))
        complain(tabs[-1])
        return tabs[-1]

    yield open_tab
    said = [(one.page.url, complaint) for one in tabs for complaint in one.complaints + one.violations()]
    for context in contexts:
        context.close()
    assert said == []


def complain(tab: Tab) -> None:
    """Have everything written down that a page should not do."""

    def console(message: Any) -> None:
        if message.type not in ("error", "warning"):
            return
        if any(f"status of {status}" in message.text for status in tab.expected):
            return
        tab.complaints.append(message.text)

    def dialog(shown: Any) -> None:
        tab.complaints.append(f"a dialog: {shown.message}")
        shown.dismiss()

    def request(sent: Any) -> None:
        if not sent.url.startswith((tab.base, "data:")):
            tab.complaints.append(f"a request to {sent.url}")

    tab.page.on("console", console)
    tab.page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.page.on("dialog", dialog)
    tab.page.on("request", request)
