"""Commands about single people: `why`, `drop`."""

from typing import Annotated

import typer


def declare(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (why, drop):
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
