"""`estafette`: the commands put together, the options that all of them take, and errors as sentences.

What belongs here: assembly. Commands are declared in `estafette.commands`, thin; what they do is in the rooms beside
this one, imported when a command runs.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from estafette.commands import campaigns, home, servers, work
from estafette.session import Session, console, print_json
from journey.problems import EstafetteError, ProjectError, UsageError

DEBUG = "ESTAFETTE_DEBUG"
VALUED = ("--home", "--now")
SECRETS = ("WHATSAPP_TOKEN", "WHATSAPP_APP_SECRET", "WHATSAPP_VERIFY_TOKEN", "ESTAFETTE_LEDGER_URL")
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
for room in (home, campaigns, work, servers):
    room.declare(app)


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
) -> None:
    context.obj = Session(home, now, json)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code: 0 done, 1 refused or failed, 2 wrong usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in _before_dashes(given)
    try:
        code = typer.main.get_command(app).main(hoisted(given), prog_name="estafette", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except typer.Exit as end:
        return end.exit_code
    except typer.TyperException as error:  # typer's own, and its parser's
        return fail(_usage(error), as_json)
    except EstafetteError as error:
        return fail(error, as_json)
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("stopped\n")
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us has gone: nothing more to say, and nothing to say it to
        return 1
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        return fail(_unforeseen(error), as_json)


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


def fail(error: EstafetteError, as_json: bool) -> int:
    """Say what is wrong: a sentence on stderr, and with --json a document on stdout. Gives the exit code."""
    code = 2 if isinstance(error, UsageError) else 1
    text = _without_secrets(str(error)) or type(error).__name__
    out = console(stderr=True)
    for line in text.splitlines():
        out.print(f"estafette: {line}", style="red", soft_wrap=True)
    if as_json:
        problems = [_problem(one) for one in error.problems] if isinstance(error, ProjectError) else []
        said = {"message": error.message, "where": error.where, "mend": error.mend}
        document = {key: _without_secrets(value) for key, value in said.items()}
        print_json({"error": {**document, **({"problems": problems} if problems else {})}})
    return code


def _usage(error: typer.TyperException) -> UsageError:
    """What the parser refused, and where the right use is written."""
    context: typer.Context | None = getattr(error, "ctx", None)
    said = error.format_message() if hasattr(error, "format_message") else str(error)
    path = context.command_path if context is not None else "estafette"
    return UsageError(said.strip().rstrip("."), mend=f"See `{path} --help`")


def _problem(problem: object) -> dict[str, object]:
    from estafette.checking import document

    return document(problem)  # type: ignore[arg-type]


def _unforeseen(error: Exception) -> EstafetteError:
    """What no room foresaw, or what a room foresaw and Dagster wrapped."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, EstafetteError):
            return cause
        cause = cause.__cause__ or cause.__context__
    first = (str(error).strip().splitlines() or [""])[0]
    return EstafetteError(
        f"something went wrong that should not have: {type(error).__name__}: {first}",
        mend=f"Set {DEBUG}=1 to see where, and report it",
    )


def _without_secrets(text: str) -> str:
    """An error's text without any secret that it may quote, wherever the secret stands."""
    from dotenv import dotenv_values

    given = [one.partition("=")[2] for one in sys.argv if one.startswith("--home=")]
    given += [sys.argv[place] for place, one in enumerate(sys.argv[1:], 2) if one == "--home" and place < len(sys.argv)]
    dotenv = Session(given[-1] if given else None).home / ".env"
    known = {**(dotenv_values(dotenv) if dotenv.is_file() else {}), **os.environ}
    for name in SECRETS:
        secret = known.get(name)
        if secret and len(secret) >= SHORTEST:
            text = text.replace(secret, "…")
    return text


def _before_dashes(arguments: Sequence[str]) -> list[str]:
    found = list(arguments)
    return found[: found.index("--")] if "--" in found else found
