"""An open project home: its files, its three stores and its clock, in one hand.

What belongs here: opening and closing, and the few looks that several verbs share. The verbs themselves are in
`pipelines`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import sqlalchemy as sa

from journey.campaign import Campaign
from journey.problems import SegmentError, UsageError
from resources.bodies import Bodies
from resources.contacts import Contacts
from resources.containing import AGAIN, Troubles
from resources.doing import Evaluating
from resources.events import Events
from resources.lake import Lake
from resources.landing import Landing
from resources.ledger import Ledger
from resources.mark import Mark
from resources.media import MediaChecks
from resources.numbers import know_senders
from resources.posting import Sender as Poster
from resources.project import Paths, Project
from resources.segments import SECONDS, Audience, evaluate, returned
from resources.settings import Secrets, load_secrets
from resources.tables import campaign as campaigns
from resources.tables import lake_file

HOME = "ESTAFETTE_HOME"
NOW = "ESTAFETTE_NOW"
_WHAT_SEGMENTS_SEE = ("contacts", "contacts_delta", "events")


@dataclass(frozen=True, slots=True)
class Clock:
    """The campaign's clock: real time, or standing still at `fixed` (UTC)."""

    fixed: datetime | None = None

    def __call__(self) -> datetime:
        return self.fixed or datetime.now(UTC)

    @property
    def turned(self) -> bool:
        return self.fixed is not None


class Home:
    """One project home. Cheap to make: stores open when they are first asked for."""

    def __init__(self, path: Path, clock: Clock | None = None, wall: Callable[[], float] = time.time) -> None:
        self.path, self.clock, self.wall = path.resolve(), clock or Clock(), wall
        self.paths = Paths(self.path)
        self._members: dict[str, tuple[object, pl.Series | SegmentError]] = {}
        self._failed: dict[str, tuple[object, float, SegmentError]] = {}
        self._said: dict[str, bool] = {}
        self._evaluating: Evaluating | None = None
        self._only_in_real_time(self.secrets)

    def _only_in_real_time(self, secrets: Secrets) -> None:
        if self.clock.turned and secrets.is_meta:
            raise UsageError(
                "the clock can't be turned while messages go to Meta",
                where="--now",
                mend="Leave --now and ESTAFETTE_NOW out, or point WHATSAPP_API_URL at the sandbox",
            )

    @cached_property
    def secrets(self) -> Secrets:
        return load_secrets(self.path)

    @cached_property
    def ledger(self) -> Ledger:
        url = self.secrets.ledger_url
        ledger = Ledger.open(url.get_secret_value() if url is not None else self.paths.ledger, self.wall)
        Mark(ledger, self.paths.data, self.paths.landing).hold_if_older(self.clock)
        return ledger

    @cached_property
    def mark(self) -> Mark:
        return Mark(self.ledger, self.paths.data, self.paths.landing)

    def has_ledger(self) -> bool:
        """Whether there is a ledger already; asking for `ledger` makes one."""
        return self.secrets.ledger_url is not None or self.paths.ledger.exists()

    def ledger_path(self) -> Path:
        """Where the ledger's file is."""
        url = self.secrets.ledger_url
        named = sa.make_url(url.get_secret_value()).database if url is not None else None
        return Path(named).resolve() if named else self.paths.ledger

    @cached_property
    def lake(self) -> Lake:
        return Lake(self.paths.lake, self.ledger, self.wall)

    @cached_property
    def landing(self) -> Landing:
        return Landing(self.paths.landing, self.ledger)

    @cached_property
    def contacts(self) -> Contacts:
        return Contacts(self.lake, self.ledger)

    @cached_property
    def events(self) -> Events:
        return Events(self.lake, self.ledger)

    @cached_property
    def bodies(self) -> Bodies:
        return Bodies(self.lake)

    @cached_property
    def media(self) -> MediaChecks:
        return MediaChecks(self.wall)

    @cached_property
    def troubles(self) -> Troubles:
        return Troubles(self.ledger, self.wall)

    @cached_property
    def project(self) -> Project:
        """The project's files as they were when first asked for; `reload` reads them again."""
        return self._load()

    def reload(self) -> None:
        """Read the project's files again, and make sure that the ledger knows every sender.

        ProjectError: they cannot be used; `project` stays what it was.
        """
        project = self._load()
        with self.ledger.write() as tx:
            know_senders(tx, project.settings.senders)
        self.contacts.stated = dict(project.settings.properties)
        self.__dict__["project"] = project

    def _load(self) -> Project:
        return Project.load(
            self.path, properties=self.contacts.types(), contacts_loaded=self.contacts.loaded(), now=self.clock()
        )

    def close(self) -> None:
        if "ledger" in self.__dict__:
            self.ledger.close()

    # -- looks that several verbs share ------------------------------------------------------------------------------

    def stopped_campaigns(self) -> dict[str, str]:
        """Campaigns that were stopped, and why."""
        with self.ledger.read() as tx:
            rows = tx.execute(
                sa.select(campaigns.c.name, campaigns.c.stopped_why).where(campaigns.c.stopped_at.is_not(None))
            )
            return {row.name: row.stopped_why or "" for row in rows}

    def moving_campaigns(self) -> dict[str, Campaign]:
        """The live campaigns, without those that rest after an error nobody foresaw."""
        return {name: one for name, one in self.project.live_campaigns().items() if not self.troubles.rests(name)}

    def zones(self) -> list[str | None]:
        """The distinct time zones of contacts; None for those without."""
        return self.contacts.frame(columns=["timezone"]).get_column("timezone").unique().to_list()

    def doing(self) -> Evaluating | None:
        """The segment that is being evaluated at this moment; asked from another thread."""
        return self._evaluating

    def segment(self, name: str, now: datetime, seconds: float = SECONDS) -> Audience:
        """Evaluate a segment now. SegmentError where it is refused or fails, or takes longer than `seconds`."""
        settings = self.project.settings
        tables = self.contacts.tables(self.events, settings.consent.default == "opted_in")
        timezone = ZoneInfo(settings.timezone)
        self._evaluating = Evaluating.of(name, self.wall())
        try:
            return evaluate(name, self.project.segments, tables, now, timezone, seconds=seconds)
        finally:
            self._evaluating = None

    def audience(self, name: str, now: datetime) -> Audience:
        """`segment`, for a pass that looks again each second: one that has failed is left alone for a minute (wall)
        while its query, the contacts and the events are the same."""
        known, wall = self._failed.get(name), self.wall()
        state = (self.project.segments, self._seen_by_segments())
        if known is not None and known[0] == state and known[1] <= wall < known[1] + AGAIN:
            raise known[2]
        self._failed.pop(name, None)
        try:
            return self.segment(name, now)
        except SegmentError as error:
            self._failed[name] = (state, wall, error)
            raise

    def _seen_by_segments(self) -> int | None:
        """The newest file of contacts and events."""
        with self.ledger.read() as tx:
            newest = sa.select(sa.func.max(lake_file.c.id)).where(lake_file.c.name.in_(_WHAT_SEGMENTS_SEE))
            return tx.execute(newest).scalar()

    def members(self, name: str, now: datetime) -> pl.Series:
        """The ids of who is in a segment now, evaluated once for all who ask at this time, of the same contacts and
        events. SegmentError where it is refused or fails."""
        state = (now, self._seen_by_segments(), id(self.project))
        known = self._members.get(name)
        if known is None or known[0] != state:
            try:
                found: pl.Series | SegmentError = self.segment(name, now).frame.get_column("contact_id")
            except SegmentError as error:
                found = error
            known = self._members[name] = (state, found)
        if isinstance(known[1], SegmentError):
            raise known[1]
        return known[1]

    def say(self, what: str) -> None:
        """Something that whoever runs this should know, once."""
        self._said.setdefault(what, False)

    def said(self) -> list[str]:
        """What was said and not asked for yet: for the log of the run."""
        news = [what for what, told in self._said.items() if not told]
        self._said.update(dict.fromkeys(news, True))
        return news

    def segment_columns(self, name: str) -> tuple[str, ...]:
        """The further columns that an SQL segment returns, without running it. SegmentError: it can't run."""
        settings = self.project.settings
        tables = self.contacts.tables(self.events, settings.consent.default == "opted_in")
        return returned(self.project.segments[name], tables, self.clock(), ZoneInfo(settings.timezone))

    def prefix(self) -> str:
        """What every callback id begins with that this installation gives now: until the next restore."""
        return f"{self.installation_prefix()}:{self.ledger.meta('epoch')}"

    def installation_prefix(self) -> str:
        """What every callback id of this installation begins with, of whatever epoch."""
        return f"estafette:{self.ledger.meta('installation')}"

    def poster(self) -> Poster:
        """A client for sending; it belongs to the loop in which it is opened. The secrets are read anew: a token that
        was mended in .env counts from the next lane on, also in a pass that lives for an hour."""
        secrets = load_secrets(self.path)
        self._only_in_real_time(secrets)
        token = secrets.whatsapp_token
        if token is None:
            raise UsageError(
                "there is no token to send with",
                where="WHATSAPP_TOKEN",
                mend="Put it in the environment or in .env; `estafette doctor` checks it",
            )
        return Poster(secrets.api_url, secrets.api_version, token)


@contextmanager
def open_home(path: Path, now: datetime | None = None) -> Iterator[Home]:
    """An open home, closed at the end; `now` turns its clock."""
    home = Home(path, Clock(now))
    try:
        yield home
    finally:
        home.close()
