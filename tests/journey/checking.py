"""What the tests of `check` share: reading a campaign, what it is checked against, and its findings."""

from collections.abc import Mapping
from typing import Any

from journey.campaign import Campaign
from journey.campaign_reading import read_campaign
from journey.check import CheckContext, check, holes
from journey.problems import Problem
from journey.source import Source
from journey.template import Template, parse_template

FILE = "campaigns/autumn.yaml"


def template(
    name: str,
    language: str,
    body: str,
    *,
    status: str = "APPROVED",
    header: Mapping[str, Any] | None = None,
    buttons: list[dict[str, Any]] | None = None,
) -> Template:
    components: list[Mapping[str, Any]] = [{"type": "BODY", "text": body}]
    if header is not None:
        components.append({"type": "HEADER", **header})
    if buttons is not None:
        components.append({"type": "BUTTONS", "buttons": buttons})
    return parse_template(
        {"name": name, "language": language, "status": status, "category": "MARKETING", "components": components}
    )


def read(text: str, file: str = FILE) -> tuple[Campaign, Source]:
    campaign, source, problems = read_campaign(text, file)
    assert campaign is not None and source is not None and not problems, problems
    return campaign, source


def context(templates: list[Template], **other: Any) -> CheckContext:
    given: dict[str, Any] = {
        "timezone": "Europe/Paris",
        "senders": {"main", "second"},
        "templates": {(one.name, one.language): one for one in templates},
        "segments": {"loyal", "staff"},
        "properties": {"first_name", "product_id", "order", "zip"},
    }
    return CheckContext(**{**given, **other})


def found(text: str, given: CheckContext, file: str = FILE) -> list[Problem]:
    problems = check(*read(text, file), given)
    for problem in problems:
        assert problem.file == file
        assert 1 <= problem.line <= text.count("\n")
        assert problem.mend.endswith((".", "?")), problem
        assert not problem.message.endswith("."), problem
    return problems


def found_holes(text: str, given: CheckContext) -> list[Problem]:
    return holes(*read(text), given)


def one(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]
