"""Commands about a project home as a whole: `init`, `schema`, `doctor`, `demo`."""

from pathlib import Path
from typing import Annotated

import typer

from estafette.session import Session


def declare(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (demo, init, schema, doctor):
        app.command()(command)


def demo(
    context: typer.Context,
    contacts: Annotated[
        int, typer.Option(min=50, max=100_000, help="How many people the made-up population has.")
    ] = 5_000,
) -> None:
    """Play the main job on sample data against the sandbox, in .demo/ (or --home), and say where to look."""
    from estafette.demo import demo

    session: Session = context.obj
    demo(session, contacts)


def init(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is empty or not there yet.")],
) -> None:
    """Make a new project home with one example of everything."""
    from estafette.scaffold import init

    init(context.obj, directory)


def schema(
    context: typer.Context,
    kind: Annotated[str | None, typer.Argument(metavar="[campaign|segment|settings]", help="One of them only.")] = None,
) -> None:
    """Print the JSON Schemas of campaign, segment and settings files, for editors that complete and check them."""
    from estafette.checking import schema

    schema(context.obj, kind)


def doctor(context: typer.Context) -> None:
    """Check the token, the senders, the templates, the contacts, the folders: whatever could be wrong now."""
    from estafette.doctor import doctor

    if not doctor(context.obj):
        raise typer.Exit(1)
