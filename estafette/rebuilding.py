"""`rebuild`: everything that derives from something else, made again; what is lost, listed.

What belongs here: what the command says. The making is `resources.rebuild`; publishing is the pass's own.
"""

from rich.console import Console

from estafette import show
from estafette.lease import passing
from estafette.session import Session
from pipelines.publish import publish
from resources.rebuild import rebuild as make_again

MOST = 1_000  # lost files that a person looks at


def rebuild(session: Session) -> None:
    """Make again what is derived, publish it, and say what is lost. Nothing is started or sent."""
    with session.open() as home, passing(home.ledger, "rebuild", session.note) as lease:
        home.reload()
        done = make_again(home, lease, home.clock())
        published = publish(home, lease)
    document = {
        "made_again": done.rows,
        "planned_anew": done.planned_anew,
        "published": dict(published.counts),
        "lost": [{"file": file, "rows": rows, "what": what} for file, rows, what in done.lost],
    }

    def draw(console: Console) -> None:
        console.print(show.counts("Made again", done.rows))
        if done.planned_anew:
            console.print(
                f"{done.planned_anew:,} messages that wait had lost their texts; the next pass plans them anew."
            )
        console.print(f"Published for analysts: {sum(published.counts.values()):,} rows.")
        if done.lost:
            console.print(f"Lost, {len(done.lost):,} files:", style="red")
            console.print(show.table(("file", "rows", "what was in it"), done.lost[:MOST]))

    session.show(document, draw)
