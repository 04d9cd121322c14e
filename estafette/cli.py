"""`estafette`: the commands put together, the options that all of them take, and errors as sentences.

What belongs here: assembly. Commands are declared in `estafette.commands`, thin; what they do is in the rooms beside
this one, imported when a command runs.
"""

import contextlib
import os
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from itertools import pairwise
from typing import Annotated

import typer

from estafette.commands import access, campaigns, home, people, repair, servers, work
from estafette.session import Session, console, print_json
from journey.problems import EstafetteError, ProjectError, UsageError, foreseen
from journey.spelling import nearest
from resources.disk_trouble import disk_trouble

DEBUG = "ESTAFETTE_DEBUG"
INTERRUPTED = 130
GOES_ON = "stopped; nothing is lost, and `estafette tick` goes on with what was left\n"
ANEW = "stopped; nothing is lost: the same command begins anew, or goes on\n"
STOPPED = {
    **dict.fromkeys(("run", "tick", "import"), GOES_ON),
    **dict.fromkeys(("backup", "restore", "rebuild", "forget", "quarantine", "templates", "demo"), ANEW),
}
"""What Ctrl-C leaves, by command; what only looks leaves nothing."""
VALUED = ("--home", "--now")
SECRETS = ("WHATSAPP_TOKEN", "WHATSAPP_APP_SECRET", "WHATSAPP_VERIFY_TOKEN", "ESTAFETTE_LEDGER_URL")
NO_COMMAND = re.compile(r"No such command '([^']+)'")
SHORTEST = 4  # characters of a secret; less would blank out half the sentence

app = typer.Typer(
    name="estafette",
    help="WhatsApp campaigns for data teams: campaigns are files, audiences are queries, results are tables.",
    epilog="--home, --now and --json may also stand after the command. Settings come from estafette.yaml, secrets from"
    " the environment or .env.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 110},
)
for room in (home, campaigns, work, people, servers, access, repair):
    room.declare(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"estafette {metadata.version('estafette')}")
        raise typer.Exit(0)


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    home: Annotated[
        str | None, typer.Option(metavar="DIR", help="The project home (default: ESTAFETTE_HOME, else this folder).")
    ] = None,
    now: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Let the clock stand still at this time (also ESTAFETTE_NOW); not for Meta."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    context.obj = Session(home, now, json)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code: 0 done, 1 refused or failed, 2 wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = typer.main.get_command(app).main(hoisted(given), prog_name="estafette", standalone_mode=False)
        if code == INTERRUPTED:  # what typer makes of a KeyboardInterrupt
            sys.stderr.write(_stopped(given))
        return code if isinstance(code, int) else 0
    except typer.Exit as end:
        return end.exit_code
    except typer.TyperException as error:  # typer's own, and its parser's
        return fail(_usage(error), given)
    except EstafetteError as error:
        return fail(error, given)
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write(_stopped(given))
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us has gone: nothing more to say, and nothing to say it to
        return 1
    except BaseException as error:
        panic = type(error).__name__ == "PanicException"  # how Polars says that it failed
        if os.environ.get(DEBUG) or not (panic or isinstance(error, Exception)):
            raise
        return fail(_unforeseen(error), given)


def hoisted(arguments: Sequence[str]) -> list[str]:
    """The options of every command put in front of the command, where they are declared."""
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for one in waiting:
        if one == "--":
            return [*front, *rest, one, *waiting]
        if one in VALUED:
            value = next(waiting, None)
            if value is None:
                raise UsageError("a value is missing", where=one, mend="See `estafette --help`")
            front += [one, value]
        elif one == "--json" or one.startswith(tuple(f"{name}=" for name in VALUED)):
            front.append(one)
        else:
            rest.append(one)
    return front + rest


def _stopped(arguments: Sequence[str]) -> str:
    """What Ctrl-C leaves of this command."""
    words = hoisted(arguments)
    while words and words[0].startswith("--"):
        del words[: 2 if words[0] in VALUED else 1]
    return STOPPED.get(words[0] if words else "", "stopped\n")


def fail(error: EstafetteError, arguments: Sequence[str]) -> int:
    """Say what is wrong: a sentence on stderr, and with --json a document on stdout. Gives the exit code."""
    code = 2 if isinstance(error, UsageError) else 1
    secrets = _secrets(arguments)
    text = _without(secrets, str(error)) or type(error).__name__
    out = console(stderr=True)
    for line in text.splitlines():
        out.print(f"estafette: {line}", style="red", soft_wrap=True)
    if "--json" in _before_dashes(arguments):
        problems = [_problem(one) for one in error.problems] if isinstance(error, ProjectError) else []
        said = {"message": error.message, "where": error.where, "mend": error.mend}
        document = {key: _without(secrets, value) for key, value in said.items()}
        print_json({"error": {**document, **({"problems": problems} if problems else {})}})
    return code


def _usage(error: typer.TyperException) -> UsageError:
    """What the parser refused, and where the right use is written."""
    context: typer.Context | None = getattr(error, "ctx", None)
    said = error.format_message() if hasattr(error, "format_message") else str(error)
    path = context.command_path if context is not None else "estafette"
    unknown = NO_COMMAND.match(said)
    if unknown is not None:
        names = [str(one) for one in typer.main.get_command(app).commands]  # type: ignore[attr-defined]
        near = nearest(unknown[1], names)
        if near is not None:
            return UsageError(f"there is no command `{unknown[1]}`", mend=f"Did you mean `{near}`?")
    return UsageError(said.strip().rstrip("."), mend=f"See `{path} --help`")


def _problem(problem: object) -> dict[str, object]:
    from estafette.checking import document

    return document(problem)  # type: ignore[arg-type]


def _unforeseen(error: BaseException) -> EstafetteError:
    """What no room foresaw, or what a room foresaw and Dagster wrapped."""
    known = foreseen(error) or disk_trouble(error)
    if known is not None:
        return known
    first = (str(error).strip().splitlines() or [""])[0]
    return EstafetteError(
        f"something went wrong that should not have: {type(error).__name__}: {first}",
        mend=f"Set {DEBUG}=1 to see where, and report it",
    )


def _secrets(arguments: Sequence[str]) -> list[str]:
    """Every secret that an error could quote, from the environment and from `.env` of the home that was named."""
    from dotenv import dotenv_values

    given = [one.partition("=")[2] for one in arguments if one.startswith("--home=")]
    given += [value for name, value in pairwise(arguments) if name == "--home"]
    dotenv = Session(given[-1] if given else None).home / ".env"
    written: dict[str, str | None] = {}
    with contextlib.suppress(OSError, UnicodeError):
        written = dotenv_values(dotenv) if dotenv.is_file() else {}
    found = [values.get(name) for values in (written, os.environ) for name in SECRETS]
    return [one for one in found if one and len(one) >= SHORTEST]


def _without(secrets: Sequence[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "…")
    return text


def _before_dashes(arguments: Sequence[str]) -> list[str]:
    found = list(arguments)
    return found[: found.index("--")] if "--" in found else found
