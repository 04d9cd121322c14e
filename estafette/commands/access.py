"""Commands about who gets in: `tokens add`, `tokens list`, `tokens revoke`."""

from typing import Annotated

import typer

tokens = typer.Typer(help="Who may use the API of the gateway.", rich_markup_mode=None, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the token is for, e.g. shop.")]


def declare(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(tokens, name="tokens")


@tokens.command("add")
def add(context: typer.Context, name: Name) -> None:
    """Make a token and print it. It is shown this once; what is kept is a hash of it."""
    from estafette.tokens import add

    add(context.obj, name)


@tokens.command("list")
def list_(context: typer.Context) -> None:
    """Say which tokens there are, when each was last used, and which were revoked."""
    from estafette.tokens import tokens

    tokens(context.obj)


@tokens.command("revoke")
def revoke(context: typer.Context, name: Name) -> None:
    """End a token: within seconds nobody gets in with it."""
    from estafette.tokens import revoke

    revoke(context.obj, name)
