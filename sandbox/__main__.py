"""`python -m sandbox`: a Cloud API on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from sandbox.app import serve
from sandbox.clock import TimeError, parse_time
from sandbox.config import Config
from sandbox.population import mix_from

ANY = "any"


def parser() -> argparse.ArgumentParser:
    default = Config()
    made = argparse.ArgumentParser(prog="sandbox", description="A strict, seeded WhatsApp Cloud API on localhost.")
    made.add_argument("--host", default=default.host)
    made.add_argument("--port", type=int, default=default.port, help="0: any free port")
    made.add_argument("--token", default=default.token, help="the Bearer token that is good; 'any' takes all")
    made.add_argument("--app-secret", default=default.app_secret, help="signs the webhooks")
    made.add_argument("--callback", help="URL that gets the webhooks")
    made.add_argument("--webhook-log", type=Path, help="file that gets the webhooks, one body a line")
    made.add_argument("--now", help="where the clock starts and stands, e.g. 2026-12-01T10:00:00Z; default: real time")
    made.add_argument("--ticking", action="store_true", help="let the clock run on from --now")
    made.add_argument("--seed", type=int, default=default.seed)
    made.add_argument("--mode", choices=["auto", "manual", "silent"], default=default.mode)
    made.add_argument("--mix", help="lively, perfect, JSON, or a JSON file")
    made.add_argument("--rate", type=int, default=default.rate, help="messages a second and number; 0: no limit")
    made.add_argument("--pair-rate", action="store_true", help="at most one message in 6 s to one person (131056)")
    made.add_argument("--tier", type=int, help="people in 24 h outside a service window")
    made.add_argument("--latency-ms", type=float, default=default.latency_ms)
    made.add_argument("--batch", type=int, default=default.batch, help="updates in one webhook at most")
    made.add_argument("--phone-number-id", default=default.phone_number_id)
    made.add_argument("--waba-id", default=default.waba_id)
    made.add_argument("--certfile")
    made.add_argument("--keyfile")
    return made


def config_from(arguments: list[str] | None = None) -> Config:
    """The config of a command line; a wrong one ends the process with status 2."""
    made = parser()
    given = vars(made.parse_args(arguments))
    try:
        mix = given.pop("mix")
        if mix and not mix.lstrip().startswith("{") and mix.endswith(".json"):
            mix = Path(mix).read_text(encoding="utf-8")
        given["mix"] = mix_from(json.loads(mix) if mix and mix.lstrip().startswith("{") else mix)
        if given["now"] is not None:
            parse_time(given["now"])
    except (ValueError, TimeError, OSError) as error:
        made.error(str(error))
    given["ticking"] = True if given["ticking"] else None
    if given["token"] == ANY:
        given["token"] = None
    return Config(**given)


def main() -> int:
    config = config_from()
    try:
        serve(config, lambda url: print(f"sandbox: {url} (token {config.token or ANY})", flush=True))  # noqa: T201
    except OSError as error:
        print(f"sandbox: {config.host}:{config.port}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
