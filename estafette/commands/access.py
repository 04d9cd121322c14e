"""Commands about who gets in: `tokens add|list|revoke`, `users add|list|password|remove`."""

from typing import Annotated

import typer

tokens = typer.Typer(help="Who may use the API of the gateway.", rich_markup_mode=None, no_args_is_help=True)

users = typer.Typer(help="Who may log in to the gateway's pages.", rich_markup_mode=None, no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the token is for, e.g. shop.")]
UserName = Annotated[str, typer.Argument(metavar="NAME", help="What they log in as, e.g. alice.")]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Take the password from the first line of standard input.")
]


def declare(app: typer.Typer) -> None:
    """Add these commands."""
    app.add_typer(tokens, name="tokens")
    app.add_typer(users, name="users")


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


@users.command("add")
def add_user(
    context: typer.Context,
    name: UserName,
    role: Annotated[
        str,
        typer.Option(help="viewer: reads; agent: also answers people; operator: also stops and resumes campaigns."),
    ],
    password_stdin: FromStdin = False,
) -> None:
    """Make a user. The password is asked for; what is kept is a hash of it."""
    from estafette.users import add

    add(context.obj, name, role, from_stdin=password_stdin)


@users.command("list")
def list_users(context: typer.Context) -> None:
    """Say which users there are, with their roles, and which were removed."""
    from estafette.users import users

    users(context.obj)


@users.command("password")
def password(context: typer.Context, name: UserName, password_stdin: FromStdin = False) -> None:
    """Give a user another password, and log them out everywhere."""
    from estafette.users import password

    password(context.obj, name, from_stdin=password_stdin)


@users.command("remove")
def remove(context: typer.Context, name: UserName) -> None:
    """Let a user in no longer, at once. What they did keeps their name."""
    from estafette.users import remove

    remove(context.obj, name)
