"""`stop` and `resume`: a campaign, or a sender, put on hold and let go again; and all sends after a restore.

What belongs here: what the commands say. The writes are `resources.stopping` and `resources.hold`.
"""

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from rich.console import Console

from estafette.lease import passing
from estafette.session import Session
from journey.clock import show_duration, to_us
from journey.problems import EstafetteError, UsageError
from journey.spelling import suggest
from pipelines.turn import turn
from resources.hold import LetGo, held, let_go
from resources.home import Home
from resources.ledger import US
from resources.stopping import resume_campaign, resume_sender, stop_campaign


def stop(session: Session, name: str, why: str) -> None:
    """Stop a campaign. One that is stopped stays so, with its first reason."""
    with session.open() as home:
        done = stop_campaign(home.ledger, home.project, name, why, to_us(home.clock()))
    document = {
        "campaign": name,
        "stopped": True,
        "already": done.already,
        "waiting": done.waiting,
        "in_flight": done.in_flight,
    }

    def draw(console: Console) -> None:
        console.print(f"{name} {'was stopped already' if done.already else 'is stopped'}.")
        said = f"{done.waiting:,} messages wait; {done.in_flight:,} in flight still end."
        console.print(f"{said} Go on with: estafette resume {name}")

    session.show(document, draw)


def resume(session: Session, name: str | None, sender: str | None) -> None:
    """Go on with a campaign, a sender, or both. What waited expires later by as long as the campaign was stopped."""
    if name is None and sender is None:
        raise UsageError(
            "nothing is named", mend="Write `estafette resume CAMPAIGN` or `estafette resume --sender NAME`"
        )
    document: dict[str, Any] = {}
    lines: list[str] = []
    with session.open() as home:
        if sender is not None:
            resumed = _sender(home, sender)
            document |= {"sender": sender, "sender_resumed": resumed}
            lines.append(
                f"The sender {sender} "
                + ("sends again." if resumed else "was not stopped, and its bulk does not rest.")
            )
        if name is not None:
            done = resume_campaign(home.ledger, home.project, name, to_us(home.clock()))
            document |= {"campaign": name, "campaign_resumed": done.stood is not None, "waiting": done.waiting}
            lines.append(
                f"{name} was not stopped."
                if done.stood is None
                else f"{name} goes on after {show_duration(timedelta(seconds=done.stood // US))};"
                f" {done.waiting:,} messages wait. The next pass sends them."
            )
    session.show(document, lambda console: console.print("\n".join(lines)))


def resume_all(session: Session, *, send: bool) -> None:
    """Let sends go after a restore, once everything until now is taken in. What may have gone out before it is taken as
    sent, or with `send` goes out."""
    with session.open() as home:
        with home.ledger.read() as tx:
            is_held = held(tx) is not None
        done = LetGo(0, send, 0, 0)
        if is_held:
            with passing(home.ledger, "resume --all", session.note) as lease:
                home.reload()
                turn(home, lease, final=True)
                done = let_go(home.ledger, lease, to_us(home.clock()), send=send)
    document = {"was_held": is_held, **asdict(done)}

    def draw(console: Console) -> None:
        if not is_held:
            console.print("Nothing is held by a restore. A campaign goes on with: estafette resume CAMPAIGN")
            return
        verb = "go out now" if send else "are taken as sent: they are `unknown`, and their people go on"
        console.print(f"Sends go on. {done.in_doubt:,} messages that may have gone out before {verb}.")
        if done.foreign:
            console.print(
                f"{done.foreign:,} messages went out that this ledger does not know; a second `run` would send them"
                " again.",
                style="yellow",
            )
        console.print(f"{done.waiting:,} messages wait. The next pass sends them.")

    session.show(document, draw)


def _sender(home: Home, name: str) -> bool:
    names = list(home.project.settings.senders)
    if name not in names:
        raise EstafetteError(f"there is no sender `{name}` in estafette.yaml", mend=suggest(name, names, none=""))
    return resume_sender(home.ledger, name)
