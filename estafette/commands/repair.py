"""Commands that repair: `backup`, `restore`."""

from pathlib import Path
from typing import Annotated

import typer


def declare(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (backup, restore):
        app.command()(command)


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
