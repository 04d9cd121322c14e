"""How things look on a terminal: tables, lists of pairs, findings, message bubbles, the progress of a pass.

What belongs here: drawing with rich. What is drawn is found elsewhere. Everything is drawn as text: nothing that comes
from a file, a phone or Meta is read as markup.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich import box
from rich.align import Align
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from estafette.terminal import harmless
from journey.problems import Problem
from journey.shown import ShownButton, ShownMessage

BUBBLE = 54  # columns
PAUSE = 0.5  # seconds between two looks of a progress bar
MARKS = {"ok": ("ok  ", "green"), "warn": ("warn", "yellow"), "FAIL": ("FAIL", "bold red")}
_HEADERS = {"image": "Image", "video": "Video", "document": "Document", "location": "Location"}


def cell(value: object, *, grouped: bool = True) -> str:
    """A value as a table shows it: numbers in groups of three, times to the second, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}" if grouped else str(value)
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return harmless(str(value))  # before its width is counted


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, grouped: bool = True) -> Table:
    """A table; columns in which every value is a number stand to the right, their digits `grouped` or not."""
    kept = [list(row) for row in rows]
    made = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for place, name in enumerate(columns):
        values = [row[place] for row in kept if row[place] is not None]
        numeric = bool(values) and all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
        made.add_column(Text(harmless(name)), justify="right" if numeric else "left", overflow="fold")
    for row in kept:
        made.add_row(*[Text(cell(value, grouped=grouped)) for value in row])
    return made


def counts(title: str, found: Mapping[str, int]) -> Text:
    """`title: 3 read, 2 sent`, on one line; "none" where there is nothing."""
    listed = ", ".join(f"{number:,} {name}" for name, number in found.items() if number)
    return Text.assemble((f"{title}: ", "bold"), listed or "none")


def heading(console: Console, text: str) -> None:
    """A line that begins a part."""
    console.print()
    console.print(Rule(Text(text, style="bold"), align="left", style="dim"))


def problems(console: Console, found: Sequence[Problem]) -> None:
    """Findings under the file that they are in: `file:line field: message. mend`."""
    by_file: dict[str, list[Problem]] = {}
    for one in found:
        by_file.setdefault(one.file, []).append(one)
    for number, group in enumerate(by_file.values()):
        if number:
            console.print()
        for one in group:
            style = "red" if one.level == "error" else "yellow"
            text = Text.assemble((one.level, style), " ", str(one))
            console.print(text, soft_wrap=True)


def funnel(found: Mapping[str, int]) -> Table:
    """Steps of a funnel with bars, relative to the first."""
    most = max(found.values(), default=0) or 1
    made = Table.grid(padding=(0, 2))
    made.add_column()
    made.add_column(justify="right")
    made.add_column()
    for name, number in found.items():
        made.add_row(Text(name), Text(f"{number:,}"), Text("█" * round(30 * number / most), style="green"))
    return made


def bubble(message: ShownMessage) -> RenderableType:
    """A message as WhatsApp shows it: header, text, footer in a bubble, and buttons under it."""
    parts: list[RenderableType] = []
    if message.header is not None and message.header_kind == "text":
        parts += [Text(message.header, style="bold"), Text("")]
    elif message.header_kind is not None:
        kind = _HEADERS.get(message.header_kind, message.header_kind)
        name = f"{message.filename}\n" if message.filename else ""
        picture = Text(f"{kind}\n{name}{message.header or ''}", justify="center", style="dim", overflow="fold")
        parts += [Panel(picture, box=box.SQUARE, border_style="dim"), Text("")]
    parts.append(Text(harmless(message.body)))
    if message.footer:
        parts += [Text(""), Text(message.footer, style="dim")]
    parts.append(Align.right(Text("12:00 ✓✓", style="dim")))
    panels: list[RenderableType] = [Panel(Group(*parts), box=box.ROUNDED, width=BUBBLE, border_style="green")]
    panels += [Panel(_button(one), box=box.ROUNDED, width=BUBBLE, border_style="cyan") for one in message.buttons]
    return Group(*panels)


def _button(button: ShownButton) -> Text:
    text = Text(button.text, style="cyan", justify="center", overflow="fold")
    for line in (button.url, f"→ {button.leads_to}" if button.leads_to else None, button.code):
        if line:
            text.append(f"\n{line}", style="dim")
    return text


@contextmanager
def progress(console: Console, title: str, look: Callable[[], tuple[int, int]]) -> Iterator[None]:
    """A progress bar on a terminal while the block works. `look` gives (done, of how many), asked from a thread twice a
    second, less often where it takes long; nothing at all where stderr is no terminal."""
    if not console.is_terminal:
        yield
        return
    over = threading.Event()
    bar = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=console, transient=True,
    )  # fmt: skip
    task = bar.add_task(title, total=None)

    def follow() -> None:
        pause = PAUSE
        while not over.wait(pause):
            began = time.monotonic()
            done, most = look()
            pause = max(PAUSE, 5 * (time.monotonic() - began))
            bar.update(task, completed=done, total=most or None)

    thread = threading.Thread(name="progress", target=follow, daemon=True)
    with bar:
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def document_of(message: ShownMessage) -> dict[str, Any]:
    """A bubble as a JSON document."""
    buttons = [
        {"type": one.type, "text": one.text, "url": one.url, "leads_to": one.leads_to, "code": one.code}
        for one in message.buttons
    ]
    return {
        "header_kind": message.header_kind,
        "header": message.header,
        "filename": message.filename,
        "body": message.body,
        "footer": message.footer,
        "buttons": buttons,
    }
