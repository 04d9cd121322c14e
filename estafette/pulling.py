"""`templates pull`: Meta's templates into templates/.

What belongs here: showing what a pull changed. The pull itself is `resources.template_cache`.
"""

from dataclasses import asdict

from rich.console import Console

from estafette.session import Session
from journey.problems import EstafetteError
from resources.home import Home
from resources.template_cache import pull


def pull_templates(session: Session) -> None:
    """Pull, and say what changed. CloudApiError: Meta can't be asked; then nothing was written."""
    with session.open() as home:
        need_token(home)
        pulled = pull(home)

    def draw(console: Console) -> None:
        for name in pulled.changed:
            console.print(f"changed  templates/{name}")
        for name in pulled.gone:
            console.print(f"gone     templates/{name}")
        for what in pulled.unread:
            console.print(f"unread   {what}")
        same = pulled.templates - len(pulled.changed)
        console.print(f"{pulled.templates} templates: {len(pulled.changed)} new or changed, {same} as they were.")

    session.show(asdict(pulled), draw)


def need_token(home: Home) -> None:
    """EstafetteError where there is no token to speak to Meta with."""
    if home.secrets.whatsapp_token is None:
        raise EstafetteError(
            "there is no token",
            where="WHATSAPP_TOKEN",
            mend="Put it in the environment or in .env (for the sandbox: cp .env.example .env)",
        )
