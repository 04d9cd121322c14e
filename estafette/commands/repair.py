"""Commands that repair: `backup`, `restore`, `rebuild`, `quarantine list|retry`."""

from pathlib import Path
from typing import Annotated

import typer

quarantine = typer.Typer(help="What could not be read.", rich_markup_mode=None, no_args_is_help=True)

Source = Annotated[
    str | None, typer.Option(metavar="KIND", help="contacts, events, coupons, requests or webhooks only.")
]
File = Annotated[str | None, typer.Option(metavar="FILE", help="This landing file only, e.g. contacts/people.csv.")]


def declare(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (backup, restore, rebuild):
        app.command()(command)
    app.add_typer(quarantine, name="quarantine")


def backup(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is empty or not there yet.")],
) -> None:
    """Copy the ledger, the lake, the landing zone and the project's files into a folder, while everything runs."""
    from estafette.backing_up import backup

    backup(context.obj, directory)


def restore(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `backup` made.")],
) -> None:
    """Put a backup back. What is here is moved aside; nothing is sent until `resume --all`."""
    from estafette.backing_up import restore

    restore(context.obj, directory)


def rebuild(context: typer.Context) -> None:
    """Make again whatever derives from the ledger, the landing zone and the lake, and list what is lost."""
    from estafette.rebuilding import rebuild

    rebuild(context.obj)


@quarantine.command("list")
def list_(context: typer.Context, source: Source = None, file: File = None) -> None:
    """Show what could not be read, and why."""
    from estafette.quarantine import list_rows

    list_rows(context.obj, source, file)


@quarantine.command("retry")
def retry(
    context: typer.Context,
    ids: Annotated[list[int] | None, typer.Argument(metavar="[ID…]", help="These rows.")] = None,
    source: Source = None,
    file: File = None,
    everything: Annotated[bool, typer.Option("--all", help="All rows.")] = False,
) -> None:
    """Read rows again, after a mend: what reads now is taken in once, what does not stays with its reason."""
    from estafette.quarantine import retry

    retry(context.obj, ids or [], source, file, everything=everything)
