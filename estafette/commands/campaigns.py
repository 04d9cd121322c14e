"""Commands about campaign files and their messages: `check`, `templates pull`, `preview`, `test`, `plan`."""

from pathlib import Path
from typing import Annotated

import typer

templates = typer.Typer(help="Message templates, as Meta has them.", rich_markup_mode=None)

Campaign = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign's name: its file without .yaml.")]


def declare(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (check, preview, test, plan):
        app.command()(command)
    app.add_typer(templates, name="templates")


def check(
    context: typer.Context,
    campaigns: Annotated[
        list[str] | None, typer.Argument(metavar="[CAMPAIGN…]", help="These only; default: all.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nothing over the network, for CI.")] = False,
) -> None:
    """Say everything that can be wrong before launch, by file and line; exit 1 when anything is."""
    from estafette.checking import check

    if not check(context.obj, campaigns or [], offline=offline):
        raise typer.Exit(1)


@templates.command("pull")
def pull(context: typer.Context) -> None:
    """Fetch every template of the senders' accounts into templates/."""
    from estafette.pulling import pull_templates

    pull_templates(context.obj)


def preview(
    context: typer.Context,
    campaign: Campaign,
    step: Annotated[str | None, typer.Argument(metavar="[STEP]", help="Default: the first step.")] = None,
    *,
    contact: Annotated[str, typer.Option(metavar="ID", help="The contact who would get it.")],
    event: Annotated[
        str | None, typer.Option(metavar="JSON", help="Values for variables of the event, as a JSON object.")
    ] = None,
) -> None:
    """Show a message as a contact would see it, and the request body; or why it would be skipped."""
    from estafette.preview import preview

    preview(context.obj, campaign, step, contact, event)


def test(
    context: typer.Context,
    campaign: Campaign,
    step: Annotated[str, typer.Argument(metavar="STEP")],
    to: Annotated[str, typer.Option(metavar="PHONE", help="Your own phone.")],
    contact: Annotated[
        str | None, typer.Option(metavar="ID", help="Whose data fills the message; default: nobody's, so fallbacks.")
    ] = None,
    event: Annotated[
        str | None, typer.Option(metavar="JSON", help="Values for variables of the event, as a JSON object.")
    ] = None,
) -> None:
    """Send one message to yourself. It is counted nowhere."""
    from estafette.preview import send_test

    send_test(context.obj, campaign, step, to, contact, event)


def plan(
    context: typer.Context,
    campaign: Campaign,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Keep it there: summary.json, and Parquet files of messages with their bodies."
        ),
    ] = None,
) -> None:
    """Say what a run would do now, without doing it: audience, skips, messages by branch, time, coupons, cost.

    Nothing is sent and nothing is written into the home. Prices are upper bounds.
    """
    from estafette.planning import plan

    plan(context.obj, campaign, out)
