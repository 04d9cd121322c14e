"""Commands about single people: `why`, `drop`, `export`, `forget`."""

from pathlib import Path
from typing import Annotated

import typer


def declare(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (why, drop, export, forget):
        app.command()(command)


def why(
    context: typer.Context,
    contact: Annotated[str, typer.Argument(metavar="CONTACT", help="Their id, or their phone.")],
    campaign: Annotated[
        str | None, typer.Argument(metavar="[CAMPAIGN]", help="In this one only; default: all.")
    ] = None,
) -> None:
    """Show everything that happened to one contact and why, and what they wait for now."""
    from estafette.why import why

    why(context.obj, contact, campaign)


def drop(
    context: typer.Context,
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign's name: its file without .yaml.")],
    contacts: Annotated[list[str], typer.Argument(metavar="CONTACT…", help="Their ids, or their phones.")],
) -> None:
    """Take people out of a campaign: their passages end, and what was planned for them is cancelled."""
    from estafette.dropping import drop

    drop(context.obj, campaign, contacts)


def export(
    context: typer.Context,
    contact: Annotated[str, typer.Argument(metavar="CONTACT", help="Their id, or their phone.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to; default: the screen.")] = None,
) -> None:
    """Write down everything that is known of a person, as one JSON document."""
    from estafette.person import export

    export(context.obj, contact, out)


def forget(
    context: typer.Context,
    contact: Annotated[str, typer.Argument(metavar="CONTACT", help="Their id, or their phone.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Erase a person everywhere. Counts stay, and a keyed hash of the phone where they had opted out."""
    from estafette.person import forget_person

    forget_person(context.obj, contact, yes=yes)
