"""Commands that stay: `serve`, `sandbox`."""

from typing import Annotated

import typer

Host = Annotated[str, typer.Option(help="The address to listen on.")]


def declare(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (serve, sandbox):
        app.command()(command)


def serve(
    context: typer.Context,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 8000,
    trust_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="A reverse proxy, or its network, whose X-Forwarded-For and -Proto are believed; may be repeated.",
            envvar="ESTAFETTE_TRUST_PROXY",
        ),
    ] = None,
) -> None:
    """Start the gateway (webhooks, API, pages), and keep it until Ctrl-C."""
    from estafette.serving import serve

    serve(context.obj, host, port, trust_proxy or [])


def sandbox(
    context: typer.Context,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 8001,
    callback: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where webhooks go; default: the gateway on this machine. none: nowhere."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the people's behaviour.")] = 1,
    mode: Annotated[
        str, typer.Option(help="auto: people behave; manual: only what is scripted; silent: nothing.")
    ] = "auto",
    mix: Annotated[str | None, typer.Option(help="lively, perfect, or a JSON object of shares.")] = None,
    rate: Annotated[int, typer.Option(min=0, help="Messages a second that a number may send; 0: no limit.")] = 80,
    ticking: Annotated[bool, typer.Option("--ticking", help="Let the clock run on from --now.")] = False,
) -> None:
    """Start the stand-in for Meta's Cloud API, and keep it until Ctrl-C. docs/sandbox.md says what it plays."""
    from estafette.serving import sandbox

    sandbox(
        context.obj, host=host, port=port, callback=callback, seed=seed, mode=mode, mix=mix, rate=rate, ticking=ticking
    )
