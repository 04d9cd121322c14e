"""How a campaign file spells its entries.

What belongs here: audiences with their schedules, triggers, and the API. A new kind of entry is a new key of
`EntryFile` and a model of its own. What they become is `campaign`.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from journey.campaign import ApiEntry, AudienceEntry, Entry, TriggerEntry, When
from journey.language_basics import Conditions, Name, one_of
from journey.reading import FileModel, SomeTime, example, wrong

_KINDS = ("audience", "trigger", "api")


class WhenFile(FileModel):
    """When the segment enters: exactly one of at and cron."""

    model_config = example({"cron": "0 10 * * MON"}, {"at": "2026-12-01 10:00"}, one_of=("at", "cron"))

    at: Name | None = Field(None, description="Once, at a date and time: 2026-12-01 10:00.")
    cron: Name | None = Field(None, description='Again and again: minute hour day month weekday, e.g. "0 10 * * MON".')
    timezone: Name | None = Field(
        None, description="Of at and cron: an IANA zone, or contact for each one's own. Default: the settings'."
    )
    fallback: Name | None = Field(None, description="The zone of contacts without one. Default: the settings'.")
    if_past: Literal["skip", "now", "next_day"] = Field(
        "skip", description="For contacts where the time is over already."
    )
    late: SomeTime = Field("2h", validate_default=True, description="How late a contact may still enter.")
    not_after: Name | None = Field(None, description="No one enters after this: 2026-12-01 18:00.")

    @model_validator(mode="after")
    def _one_schedule(self) -> "WhenFile":
        one_of(self, ("at", "cron"), "`when`", 'cron: "0 10 * * MON"')
        return self


class AudienceFile(FileModel):
    """Enters everyone whom a segment names."""

    model_config = example({"segment": "loyal"})

    segment: Name = Field(description="A file of segments/, without its ending.")
    when: WhenFile | None = Field(None, description="When to enter them; without it, by `estafette run` only.")


class ActiveFile(FileModel):
    """The days within which events start the journey."""

    model_config = example({"from": "2026-11-01", "to": "2026-12-31"})

    start: Name | None = Field(None, alias="from", description="From this day (or time) on: 2026-11-01.")
    end: Name | None = Field(None, alias="to", description="Until the end of this day (or until this time).")

    @model_validator(mode="after")
    def _some_bound(self) -> "ActiveFile":
        if self.start is None and self.end is None:
            raise wrong("`active` has neither `from` nor `to`", "Write one of them, e.g. {to: 2026-12-31}.")
        return self


class PeopleFile(FileModel):
    """Who enters, where it is not the one who did it."""

    model_config = example({"event": "member_ids"})

    event: Name = Field(description="The event's property that names them: an id, or a list of ids.")


class TriggerFile(FileModel):
    """An event enters whoever did it."""

    model_config = example({"event": "order_status_changed", "where": {"status": "ready"}, "key": "order_number"})

    event: Name = Field(description="The event's name.")
    where: Conditions | None = Field(None, description="Conditions on the event's properties; all must hold.")
    key: Name | None = Field(
        None, description="The event's property that tells passages of one person apart, e.g. the order's number."
    )
    active: ActiveFile | None = Field(None, description="When events start the journey: {from, to}; default: always.")
    max_age: SomeTime = Field(
        "24h", validate_default=True, description="How old an event may be when it comes in; older ones enter no one."
    )
    contacts: PeopleFile | None = Field(
        None, description="{event: member_ids}: enters the people named in the event instead of whoever did it."
    )

    def entry(self) -> TriggerEntry:
        """What the house knows it as."""
        return TriggerEntry(
            event=self.event,
            where=self.where or {},
            key=self.key,
            active_from=self.active.start if self.active is not None else None,
            active_to=self.active.end if self.active is not None else None,
            max_age=self.max_age,
            contacts=self.contacts.event if self.contacts is not None else None,
        )


def _once_each(names: list[str]) -> list[str]:
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise wrong(f"`{twice[0]}` is there twice", "Keep one of the two.")
    return names


class ApiFile(FileModel):
    """A request (an HTTP POST, or a line in landing/requests/) enters the people it names."""

    model_config = example({"attributes": ["offer", "survey_id"]})

    attributes: Annotated[list[Name], AfterValidator(_once_each)] = Field(
        [], description="The attributes that each request must bring; a request with others is refused."
    )


class EntryFile(FileModel):
    """One way into the campaign."""

    model_config = example(
        {"audience": {"segment": "loyal"}}, {"trigger": {"event": "purchase"}}, {"api": {}}, one_of=_KINDS
    )

    audience: AudienceFile | None = Field(None, description="Enters everyone whom a segment names.")
    trigger: TriggerFile | None = Field(None, description="Enters whoever did something, soon after it.")
    api: ApiFile | None = Field(None, description="Enters the people whom a request names.")

    @model_validator(mode="after")
    def _one_kind(self) -> "EntryFile":
        one_of(self, _KINDS, "an entry", "audience: {segment: loyal}")
        return self

    def entry(self) -> Entry:
        """What the house knows it as."""
        if self.trigger is not None:
            return self.trigger.entry()
        if self.api is not None:
            return ApiEntry(attributes=tuple(self.api.attributes))
        assert self.audience is not None
        when = self.audience.when
        return AudienceEntry(segment=self.audience.segment, when=When(**dict(when)) if when is not None else None)
