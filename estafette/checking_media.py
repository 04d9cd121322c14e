"""Whether the media that campaigns name can be fetched, for `check`.

What belongs here: which addresses those are (constants and fallbacks of headers), and the findings about them. Looking
is `resources.media`. What is unreachable is an error of `check` and no hole: what is live holds its messages.
"""

from collections.abc import Iterable, Iterator

from journey.campaign import Campaign
from journey.problems import Problem
from journey.source import Path, dotted
from journey.steps import TemplateMessage
from journey.variables import Variable
from resources.media import NOT_IN_TIME, MediaChecks
from resources.project import Project

SECONDS = 60.0  # for all of them: a person waits
KINDS = ("image", "video", "document")


def check_media(project: Project, names: Iterable[str]) -> list[Problem]:
    """The findings about the media of these campaigns, which are looked at over the network; none where the settings
    have `media: {check: false}`."""
    settings = project.settings_or_none
    if settings is None or not settings.media.check:
        return []
    places = [
        (name, path, kind, url)
        for name in names
        if name in project.campaigns
        for path, kind, url in _addresses(project.campaigns[name])
    ]
    checks = MediaChecks(seconds=SECONDS)
    troubles = {
        (kind, url): trouble
        for kind in KINDS
        for url, trouble in checks.troubles(
            kind, [url for *_, of, url in places if of == kind], allow_private=settings.media.allow_private
        ).items()
    }
    problems: list[Problem] = []
    for name, path, kind, url in places:
        trouble = troubles.get((kind, url))
        if trouble is None:
            continue
        source = project.sources[name]
        place = source.path(path)
        what, mend = f"{url} cannot be fetched: {trouble.why}", "Correct the address, or put the file there."
        if trouble.private:
            mend = "Write a public address; `media: {allow_private: true}` in estafette.yaml is for tests."
        if trouble is NOT_IN_TIME:
            mend = "Check again, or use --offline."
        problems.append(Problem(source.file, source.line(place), dotted(place), what, mend))
    return problems


def _addresses(campaign: Campaign) -> Iterator[tuple[Path, str, str]]:
    """Where an address stands, of which kind of media it is, and the address."""
    for name, step in campaign.message_steps().items():
        header = step.message.header if isinstance(step.message, TemplateMessage) else None
        if header is None or header.kind not in KINDS or header.value is None:
            continue
        path = ("steps", name, "message", "header", header.kind, "url")
        for url in filter(None, _constants(header.value)):
            if url.lower().startswith(("http://", "https://")):  # what is no address at all is said already
                yield path, header.kind, url


def _constants(value: Variable) -> tuple[str | None, ...]:
    return (value.name if value.source == "text" else None), value.fallback
