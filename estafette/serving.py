"""`serve` and `sandbox`: the two servers, until Ctrl-C.

What belongs here: their options. The servers are `gateway.app` and `sandbox.app`.
"""

import json
import sys
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from estafette.session import SETTINGS, Session, print_json
from journey.problems import EstafetteError, UsageError

CALLBACK = "http://127.0.0.1:8000/webhooks/whatsapp"
NONE = "none"


def serve(session: Session, host: str, port: int, proxies: Sequence[str] = ()) -> None:
    """The gateway. `proxies`: whose headers are believed. EstafetteError where the address can't be had."""
    from gateway.app import serve as run
    from resources.settings import load_secrets

    for one in proxies:
        try:
            ip_network(one)
        except ValueError:
            mend = "Write an address or a network, e.g. 127.0.0.1 or 10.0.0.0/8"
            raise UsageError(f"`{one}` is no address", where="--trust-proxy", mend=mend) from None
    path, now = session.look(), session.now
    if not _has_settings(path):
        with session.open():  # says what is wrong with them
            pass
    secrets = load_secrets(path)
    for name, value in (
        ("WHATSAPP_APP_SECRET", secrets.whatsapp_app_secret),
        ("WHATSAPP_VERIFY_TOKEN", secrets.whatsapp_verify_token),
    ):
        if value is None:
            session.note(f"{name} is not set: its door stays shut. Put it in the environment or in .env.")
    run(
        path,
        host,
        port,
        now,
        app_secret=secrets.whatsapp_app_secret,
        verify_token=secrets.whatsapp_verify_token,
        proxies=proxies,
        ready=lambda url: _ready(
            session,
            "gateway",
            url,
            {"pages": f"{url}/", "webhooks": f"{url}/webhooks/whatsapp", "api": f"{url}/docs/api"},
        ),
    )


def _has_settings(home: Path) -> bool:
    """Whether the settings can be used. Nothing else of the home is opened before the gateway listens: the libraries of
    its stores would take nearly half of the start."""
    from resources.settings import load_settings

    try:
        return load_settings((home / SETTINGS).read_text(encoding="utf-8"))[0] is not None
    except (OSError, UnicodeError):
        return False


def sandbox(
    session: Session,
    *,
    host: str,
    port: int,
    callback: str | None,
    seed: int,
    mode: str,
    mix: str | None,
    rate: int,
    ticking: bool,
) -> None:
    """The sandbox, with the token and the secret of the home (as .env or .env.example have them)."""
    from typing import get_args

    from resources.settings import load_secrets
    from sandbox.app import serve as run
    from sandbox.config import Config, Mode
    from sandbox.population import mix_from

    if mode not in get_args(Mode):
        raise UsageError(f"there is no mode `{mode}`", where="--mode", mend=f"Known: {', '.join(get_args(Mode))}")
    secrets, standard, now = load_secrets(session.home), Config(), session.now
    try:
        people = mix_from(json.loads(mix) if mix and mix.lstrip().startswith("{") else mix)
    except ValueError as error:
        raise UsageError(str(error), where="--mix") from None
    local = urlsplit(secrets.api_url).hostname in ("127.0.0.1", "localhost", "::1")
    token = secrets.whatsapp_token if local else None  # a real token is not for a stand-in to know
    app_secret = secrets.whatsapp_app_secret
    config = Config(
        host=host,
        port=port,
        token=token.get_secret_value() if token is not None else standard.token,
        app_secret=app_secret.get_secret_value() if app_secret is not None and local else standard.app_secret,
        callback=None if callback == NONE else callback or CALLBACK,
        now=now.isoformat() if now is not None else None,
        ticking=True if ticking else None,
        seed=seed,
        mode=mode,  # type: ignore[arg-type]
        mix=people,
        rate=rate,
    )
    try:
        run(config, lambda url: _ready(session, "sandbox", url, {"callback": config.callback}))
    except OSError as error:
        raise EstafetteError(
            f"the sandbox can't listen on {host}:{port} ({error.strerror or error})",
            mend="Choose another with --port, or end what listens there",
        ) from None
    except KeyboardInterrupt:  # uvicorn has ended in good order, and passes the signal on
        return


def _ready(session: Session, name: str, url: str, more: dict[str, str | None]) -> None:
    if session.json:
        print_json({name: url, **more})
        return
    told = ", ".join(f"{key} {value}" for key, value in more.items() if value)
    sys.stdout.write(f"{name}: {url}" + (f" ({told})" if told else "") + "\n")
    sys.stdout.flush()
