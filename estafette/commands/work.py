"""Commands that work and look: `import`, `run`, `tick`, `stop`, `resume`, `status`, `report`, `query`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from journey.problems import UsageError

Campaign = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign's name: its file without .yaml.")]


def declare(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("import")(import_)
    for command in (run, tick, stop, resume, status, report, query):
        app.command()(command)


def import_(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="CSV, NDJSON or Parquet.")],
    as_: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="KIND", help="contacts, events, coupons or requests; default: as their columns tell."
        ),
    ] = None,
) -> None:
    """Put files of contacts, events, coupons or requests into the landing zone and take them in.

    A coupon file is named by its pool: autumn.csv fills the pool autumn. Requests are NDJSON; the next pass deals with
    them.
    """
    from estafette.intake import import_

    import_(context.obj, files, as_)


def run(context: typer.Context, campaign: Campaign) -> None:
    """Enter a campaign's audience now, and wait until its first messages are settled."""
    from estafette.running import run

    run(context.obj, campaign)


def tick(
    context: typer.Context,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Make passes until nothing is due at this time.")
    ] = False,
) -> None:
    """Make one pass over all that is due: take in, enter, move, send, publish."""
    from estafette.ticking import tick

    tick(context.obj, until_idle=until_idle)


def stop(
    context: typer.Context,
    campaign: Campaign,
    why: Annotated[str, typer.Option(metavar="TEXT", help="What `status` will say.")] = "stopped by hand",
) -> None:
    """Send no further message of a campaign after those in flight. Nothing is lost."""
    from estafette.stopping import stop

    stop(context.obj, campaign, why)


def resume(
    context: typer.Context,
    campaign: Annotated[str | None, typer.Argument(metavar="[CAMPAIGN]")] = None,
    sender: Annotated[
        str | None, typer.Option(metavar="NAME", help="Resume a sender that Meta's answer stopped.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Let sends go that a restore holds.")] = False,
    send: Annotated[
        bool,
        typer.Option(
            "--send-unconfirmed/--assume-sent",
            help="With --all: what becomes of messages that may have gone out before the restore.",
        ),
    ] = False,
) -> None:
    """Go on with a stopped campaign, with a stopped sender, or (--all) with all sends after a restore."""
    from estafette.stopping import resume, resume_all

    if everything and (campaign is not None or sender is not None):
        raise UsageError("--all stands alone", mend="A campaign or a sender is resumed by a command of its own")
    if everything:
        resume_all(context.obj, send=send)
    else:
        resume(context.obj, campaign, sender)


def status(
    context: typer.Context,
    campaign: Annotated[str | None, typer.Argument(metavar="[CAMPAIGN]", help="This one only; default: all.")] = None,
) -> None:
    """Show who stands where, what was sent and skipped, and what is held and why."""
    from estafette.status import status

    status(context.obj, campaign)


def report(
    context: typer.Context,
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign's name.")],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write it as an HTML file, with charts.")
    ] = None,
    language: Annotated[
        Literal["en", "fr"], typer.Option("--language", metavar="en|fr", help="The language of the HTML file.")
    ] = "en",
) -> None:
    """Show what a campaign has come to: funnel, branches, answers, failures, cost, and what the control group says."""
    from estafette.report import report

    report(context.obj, campaign, html, language)


def query(context: typer.Context, sql: Annotated[str, typer.Argument(metavar="SQL")]) -> None:
    """Run a query on the analyst database, read-only."""
    from estafette.querying import query

    query(context.obj, sql)
