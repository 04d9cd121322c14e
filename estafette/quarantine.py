"""`quarantine list` and `quarantine retry`: what could not be read, and reading it again.

What belongs here: which rows are meant, and what is said of them. The reading is `resources.retry`.
"""

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console

from estafette import show
from estafette.lease import passing
from estafette.session import Session
from journey.clock import civil_time, from_us, zone
from journey.problems import UsageError
from pipelines.take_in import take_in
from resources.retry import asked
from resources.retry import retry as read_again

MOST = 1_000  # rows that a person looks at
SHOWN = 60  # characters of a raw text


def list_rows(session: Session, source: str | None, file: str | None) -> None:
    """Show what is in the quarantine, all of it or of one source or file."""
    with session.open() as home:
        timezone = zone(home.project.settings.timezone)
        with home.ledger.read() as tx:
            rows = asked(tx, (), source, file)
    document = {
        "rows": [
            {
                "id": row.id,
                "source": row.source,
                "file": row.file,
                "line": row.line,
                "reason": row.reason,
                "raw": row.raw,
                "quarantined_at": civil_time(from_us(row.quarantined_at), timezone),
            }
            for row in rows
        ]
    }

    def draw(console: Console) -> None:
        columns = ("id", "source", "file", "line", "reason", "raw")
        told = [(row.id, row.source, row.file, row.line, row.reason, _short(row.raw)) for row in rows[:MOST]]
        if told:
            console.print(show.table(columns, told, grouped=False))
        more = f"; the first {MOST:,} are shown" if len(rows) > MOST else ""
        console.print(f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'}{more}", style="dim")

    session.show(document, draw)


def retry(session: Session, ids: Sequence[int], source: str | None, file: str | None, *, everything: bool) -> None:
    """Read rows again and say what became of them."""
    if not (ids or source or file or everything):
        raise UsageError("no row is named", mend="Name ids (`estafette quarantine list`), --source, --file, or --all")
    with session.open() as home, passing(home.ledger, "quarantine retry", session.note) as lease:
        home.reload()
        now = home.clock()
        with home.ledger.read() as tx:
            wanted = [int(row.id) for row in asked(tx, ids, source, file)]
        unknown = sorted(set(ids) - set(wanted)) if ids else []
        if unknown:
            raise UsageError(f"there is no row {unknown[0]}", mend="`estafette quarantine list` shows what there is")
        take_in(home, lease, now, final=True)  # a file that was mended is read as any file is
        done = read_again(home, lease, wanted, now)
    read = [one for one in done if one.reason is None]
    mended = sum(one.mended for one in read)
    stay = [one for one in done if one.reason is not None]
    document = {"read": len(read) - mended, "mended": mended, "stay": len(stay), "rows": [asdict(one) for one in done]}

    def draw(console: Console) -> None:
        told = f"{len(read) - mended:,} read and taken in"
        told += f"; {mended:,} mended in their files" if mended else ""
        console.print(f"{told}; {len(stay):,} stay.")
        if stay:
            rows = [(one.id, one.file, one.line, one.reason) for one in stay[:MOST]]
            console.print(show.table(("id", "file", "line", "reason"), rows, grouped=False))

    session.show(document, draw)


def _short(raw: str) -> str:
    text = " ".join(raw.split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
