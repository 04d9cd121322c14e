"""`estafette.yaml` and the secrets beside it.

What belongs here: the settings' spelling, their defaults, and where secrets come from (the environment, else `.env` in
the project home). Secrets are `SecretStr` and no message here ever shows a value of one. A new setting is a new key of
`Settings`.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from phonenumbers import SUPPORTED_REGIONS
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    SecretStr,
    ValidationError,
    WithJsonSchema,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from journey.clock import parse_instant
from journey.language_rules import ProjectCap, ProjectSilentHours, Share
from journey.messaging_limit import people
from journey.problems import Problem, ProjectError, UsageError
from journey.properties import PropertyType
from journey.reading import NAME, FileModel, ZoneName, example, read_model, wrong
from journey.source import parse_source

FILE = "estafette.yaml"
ENVIRONMENT = "the environment or .env"
META_API = "https://graph.facebook.com"
API_VERSION = "v25.0"
LIMITS = ["250", "2k", "10k", "100k", "unlimited"]


def _region(value: str) -> str:
    if value not in SUPPORTED_REGIONS:
        mend = f"Write `{value.upper()}`." if value.upper() in SUPPORTED_REGIONS else "Write two letters, e.g. FR."
        raise wrong(f"“{value}” is no country code (ISO 3166)", mend)
    return value


def _digits(value: object) -> object:
    """Ids are long numbers: a file may leave out the quotes."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not (isinstance(value, str) and re.fullmatch(r"[0-9]{1,25}", value)):
        raise wrong("an id of Meta's is digits only", 'Copy it from WhatsApp Manager, in quotes: "106540352242922".')
    return value


def _sender_name(name: str) -> str:
    if not NAME.fullmatch(name):
        mend = "Use up to 64 letters a to z, digits, _ and -, starting with a letter or _."
        raise wrong(f"“{name}” cannot name a sender", mend)
    return name


def _people(value: object) -> int | None:
    """A messaging limit; None where the file says nothing."""
    found = people(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if value is not None and (found is None or found == 0):
        raise wrong("this is no messaging limit", f"Write one of {', '.join(LIMITS)}, or a number of people.")
    return found


def _stop_word(word: str) -> str:
    if not any(character.isalnum() for character in word):
        raise wrong(f"“{word}” has no letter or digit, and only those are compared", "Remove it.")
    return word


Id = Annotated[
    str, BeforeValidator(_digits), Field(json_schema_extra={"type": ["string", "integer"], "pattern": "^[0-9]{1,25}$"})
]
Words = list[Annotated[str, AfterValidator(_stop_word)]]


class Sender(FileModel):
    """A WhatsApp business phone number."""

    model_config = example({"phone_number_id": "106540352242922", "waba_id": "102290129340398"})

    phone_number_id: Id = Field(description="The phone number's id (not the number itself).")
    waba_id: Id = Field(description="The id of the WhatsApp Business Account that owns the number.")
    messages_per_second: int = Field(80, ge=1, le=1000, description="How fast Meta lets it send: 80, or up to 1000.")
    messaging_limit: Annotated[
        int | None, PlainValidator(_people), WithJsonSchema({"type": ["integer", "string"], "examples": LIMITS})
    ] = Field(
        None,
        description="How many people it may write to in 24 hours, where Meta's own word is not to be believed: 250, 2k,"
        " 10k, 100k, unlimited. Default: what Meta says.",
    )
    portfolio: Annotated[str, AfterValidator(_sender_name)] = Field(
        "main", description="The business portfolio at Meta, by a name of your own; its senders share the limit."
    )


class Consent(FileModel):
    """What is assumed of people whose file says nothing."""

    model_config = example({"default": "not_opted_in"})

    default: Literal["opted_in", "not_opted_in"] = Field(description="For people whose file says nothing of consent.")


class StopWords(FileModel):
    """Whole messages by which people opt out and in again; case, accents and punctuation are ignored."""

    all: Words = Field(["STOP", "ARRET", "UNSUBSCRIBE"], description="Opts out of everything.")
    start: Words = Field(["START"], description="Opts in again.")


class Media(FileModel):
    """The care taken of header media."""

    check: bool = Field(True, description="Whether media is looked at, by `check` and before each message.")
    allow_private: bool = Field(False, description="Whether addresses of private networks may be fetched.")


def _base_url(value: object) -> str | None:
    """The gateway's address without a slash at its end; None where there is none."""
    if value == "none":
        return None
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts is None or parts.scheme not in ("https", "http") or not parts.hostname:
        raise wrong("this is no public address", "Write the gateway's, e.g. https://go.example.com; or none.")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise wrong("the address holds more than a host and a path", f"Write e.g. https://{parts.hostname}.")
    return str(value).rstrip("/")


class Links(FileModel):
    """Where the gateway is seen from outside."""

    model_config = example({"base_url": "https://go.example.com"})

    base_url: Annotated[
        str | None,
        PlainValidator(_base_url),
        WithJsonSchema({"type": "string", "examples": ["https://go.example.com"]}),
    ] = Field(None, description="The gateway's public address, https://…; or none: there are no counted links then.")


class Settings(FileModel):
    """The settings of a project. `silent_hours`, `frequency_cap` and `links.base_url` are None where the file has none;
    `holdout` is a share (0.05)."""

    region: Annotated[str, AfterValidator(_region)] = Field(
        description="The country of phone numbers written the national way, e.g. FR."
    )
    timezone: ZoneName = Field(description="For times written without a zone, and where nothing closer is known.")
    senders: dict[Annotated[str, AfterValidator(_sender_name)], Sender] = Field(
        min_length=1, description="The phone numbers that send, by a name of your own."
    )
    consent: Consent = Field(description="What is assumed of people whose file says nothing.")
    stop_words: StopWords = Field(StopWords(), description="Words by which people opt out and in again.")
    media: Media = Field(Media(), description="The care taken of header media.")
    properties: dict[str, PropertyType] = Field(
        {}, description="Types of contact properties that must not be guessed, e.g. {zip: text}."
    )
    silent_hours: ProjectSilentHours = Field(
        None, description="When no message goes out; a campaign may set its own. Default: none."
    )
    frequency_cap: ProjectCap = Field(
        None, description="How many templates a person gets at most; campaigns and messages may differ. Default: none."
    )
    holdout: Share = Field(
        0.0,
        description="The share of people whom no marketing campaign ever messages: 5%.",
        json_schema_extra={"default": "0%"},
    )
    links: Links = Field(Links(), description="Counted links.")


def load_settings(text: str, file: str = FILE) -> tuple[Settings | None, list[Problem]]:
    """Reads `estafette.yaml`: the settings, or None and the findings that forbid them."""
    source, problems = parse_source(text, file)
    if source is None:
        return None, problems
    return read_model(source, Settings)


class Secrets(BaseSettings):
    """What must not stand in files under version control. Build it with `load_secrets`."""

    model_config = SettingsConfigDict(
        case_sensitive=True,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        env_file_encoding="utf-8",
    )

    whatsapp_token: SecretStr | None = Field(None, validation_alias="WHATSAPP_TOKEN")
    whatsapp_app_secret: SecretStr | None = Field(None, validation_alias="WHATSAPP_APP_SECRET")
    whatsapp_verify_token: SecretStr | None = Field(None, validation_alias="WHATSAPP_VERIFY_TOKEN")
    ledger_url: SecretStr | None = Field(None, validation_alias="ESTAFETTE_LEDGER_URL")
    api_url: str = Field(META_API, validation_alias="WHATSAPP_API_URL")
    api_version: str = Field(API_VERSION, validation_alias="WHATSAPP_API_VERSION")

    @field_validator("api_url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("is no address; write e.g. https://graph.facebook.com")
        if parts.username or parts.password:
            raise ValueError("holds a password; Meta's API takes none there")
        return value.rstrip("/")

    @field_validator("api_version")
    @classmethod
    def _version(cls, value: str) -> str:
        if not re.fullmatch(r"v[0-9]{1,3}\.[0-9]{1,2}", value):
            raise ValueError(f"is no version of the Graph API; write e.g. {API_VERSION}")
        return value

    @property
    def is_meta(self) -> bool:
        """Whether messages go to Meta itself, not to a stand-in such as the sandbox."""
        host = (urlsplit(self.api_url).hostname or "").rstrip(".")
        return any(host == one or host.endswith("." + one) for one in ("facebook.com", "whatsapp.com", "meta.com"))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over `.env`; nothing else is asked."""
        return env_settings, dotenv_settings


def load_secrets(home: Path) -> Secrets:
    """Secrets and addresses from the environment, else from `.env` in `home`.

    Raises ProjectError that names each variable that cannot be used, and shows no value.
    """
    dotenv = home / ".env"
    options: dict[str, Any] = {"_env_file": dotenv if dotenv.is_file() else None}
    try:
        return Secrets(**options)
    except ValidationError as error:
        problems = []
        for one in error.errors(include_url=False, include_input=False, include_context=False):
            name = str(one["loc"][0])
            what, _, mend = one["msg"].removeprefix("Value error, ").partition("; ")
            problems.append(Problem(ENVIRONMENT, 0, name, f"{name} {what}", _sentence(mend) or f"Correct {name}."))
        raise ProjectError(problems) from None
    except (OSError, UnicodeError) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else "it is not UTF-8 text"
        problem = Problem(".env", 0, "", f"it cannot be read: {what}", "Correct the file or its permissions.")
        raise ProjectError([problem]) from None


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def read_now(home: Path, text: str) -> datetime:
    """The time at which `--now` or ESTAFETTE_NOW puts the clock (UTC); without a zone it is in the settings' timezone.

    UsageError: it is no time.
    """
    try:
        settings, _ = load_settings((home / FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeError):
        settings = None
    try:
        return parse_instant(text, ZoneInfo(settings.timezone if settings is not None else "UTC"))
    except ValueError as error:
        what, _, mend = str(error).partition("; ")
        mend = (mend or "write e.g. 2026-12-01T10:00:00Z").capitalize()
        raise UsageError(what, where="--now", mend=mend.replace("2026-12-01 10:00", "2026-12-01T10:00Z")) from None
