"""The way from a campaign file's text to a `Campaign`.

What belongs here: reading the file's models (`language`) and putting together what they become. Whether the campaign
can run is `check`.
"""

from hashlib import sha256
from pathlib import PurePosixPath

from journey.campaign import Campaign
from journey.language import CampaignFile
from journey.language_variables import variables
from journey.problems import Problem
from journey.reading import NAME, read_model
from journey.source import Source, parse_source


def load_campaign(text: str, file: str) -> tuple[Campaign | None, list[Problem]]:
    """Reads a campaign file. `file` is its path within the project home, `campaigns/NAME.yaml`.

    Returns the campaign, or None where its shape cannot be understood; and every finding. A campaign that comes with
    findings is good for further checking, and not for running.
    """
    campaign, _, problems = read_campaign(text, file)
    return campaign, problems


def read_campaign(text: str, file: str) -> tuple[Campaign | None, Source | None, list[Problem]]:
    """`load_campaign`, with the source that knows the lines (`check` wants it). The source is None where YAML fails."""
    source, problems = parse_source(text, file)
    if source is None:
        return None, None, problems
    read, problems = read_model(source, CampaignFile)
    if read is None:
        return None, source, problems
    stem = PurePosixPath(file).stem
    if not NAME.fullmatch(stem):
        what = f"the file's name “{stem}” cannot name a campaign"
        mend = "Use up to 64 letters a to z, digits, _ and -, starting with a letter or _."
        problems.append(Problem(file, source.line(("name",)), "name", what, mend))
    elif read.name != stem:
        what = f"the name is “{read.name}” and the file is “{PurePosixPath(file).name}”"
        problems.append(Problem(file, source.line(("name",)), "name", what, f"Write `name: {stem}`, or rename it."))
    version = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return _campaign(read, version, file), source, problems


def _campaign(read: CampaignFile, version: str, file: str) -> Campaign:
    return Campaign(
        name=read.name,
        description=read.description,
        sender=read.sender,
        draft=read.draft,
        entries=tuple(one.entry() for one in read.entries),
        variables=variables(read.variables),
        settings=read.settings.settings(),
        steps={name: one.step() for name, one in read.steps.items()},
        version=version,
        file=file,
    )
