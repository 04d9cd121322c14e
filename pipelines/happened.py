"""What happened of all that people at a `wait_for` wait for.

What belongs here: reading events that met a branch, reads, answers and taps, for everyone due at the step at once.
What they decide is `journey.cohort_wait_for`. Reads, answers and taps are those of the newest message of the step that
the branch names, whenever they were, and of none where that step was skipped since: in a loop an old read would else
lead round for ever. An event is written down as met when it comes in (`signals`).
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from journey.answers import answer_keys
from journey.campaign import Campaign
from journey.cohort_wait_for import HAPPENED
from journey.steps import MessageStep, TemplateMessage, WaitBranch, WaitForStep
from resources.home import Home

_NEWEST = """
FROM participant p
CROSS JOIN message m ON m.participant_id = p.id AND m.step = :of
  AND m.visit = (SELECT max(n.visit) FROM message n WHERE n.participant_id = p.id AND n.step = :of)
  AND NOT EXISTS (SELECT 1 FROM skip s WHERE s.participant_id = p.id AND s.step = :of AND s.visit > m.visit)
"""
_EVENTS_SQL = """
SELECT p.id, t.branch, t.met_at FROM participant p
CROSS JOIN met t ON t.participant_id = p.id AND t.step = p.step AND t.visit = p.visit
WHERE {due}
"""
_READS_SQL = f"SELECT p.id, min(m.read_at) {_NEWEST} WHERE {{due}} AND m.read_at IS NOT NULL GROUP BY 1"
_ANSWERS_SQL = f"""SELECT p.id, r.payload, r.text, r.replied_at {_NEWEST}
CROSS JOIN reply r ON r.message_id = m.id AND r.kind <> 'reaction' WHERE {{due}}"""
_TAPS_SQL = f"""SELECT p.id, k.button, m.template, m.language, k.clicked_at {_NEWEST}
CROSS JOIN click k ON k.message_id = m.id WHERE {{due}}"""


def happened(home: Home, campaign: Campaign, step: WaitForStep, due: str, params: Mapping[str, Any]) -> pl.DataFrame:
    """What happened to everyone due at the step (HAPPENED). `due`: the condition of SQL that says who `p` is, of
    `params`."""
    parts = [pl.DataFrame(schema=HAPPENED)]
    numbers = [number for number, branch in enumerate(step.branches, 1) if branch.kind == "event"]
    if numbers:
        met = home.ledger.frame(_EVENTS_SQL.format(due=due), HAPPENED, params)
        parts.append(met.filter(pl.col("branch_number").is_in(numbers)))
    for number, branch in enumerate(step.branches, 1):
        asked = {**params, "of": branch.step}
        match branch.kind:
            case "read":
                columns = {"participant_id": pl.Int64, "happened_at": pl.Int64}
                found = home.ledger.frame(_READS_SQL.format(due=due), columns, asked)
            case "reply":
                found = _answers(home, branch, due, asked)
            case "click":
                found = _taps(home, campaign, branch, due, asked)
            case _:
                continue
        parts.append(found.with_columns(branch_number=pl.lit(number, pl.Int64)).select(list(HAPPENED)))
    return pl.concat(parts)


def _answers(home: Home, branch: WaitBranch, due: str, params: Mapping[str, Any]) -> pl.DataFrame:
    columns = {
        "participant_id": pl.Int64,
        "payload": pl.String,
        "text": pl.String,
        "happened_at": pl.Int64,
    }
    found = home.ledger.frame(_ANSWERS_SQL.format(due=due), columns, params)
    if not branch.answers:
        return found
    return found.filter(answer_keys(found["payload"], found["text"], branch.answers).is_not_null())


def _taps(home: Home, campaign: Campaign, branch: WaitBranch, due: str, params: Mapping[str, Any]) -> pl.DataFrame:
    columns = {
        "participant_id": pl.Int64,
        "button": pl.String,
        "template": pl.String,
        "language": pl.String,
        "happened_at": pl.Int64,
    }
    found = home.ledger.frame(_TAPS_SQL.format(due=due), columns, params)
    if branch.button is None:
        return found
    labels = _labels(home, campaign, branch.step or "", branch.button)
    same = found.join(labels, on=["template", "language", "button"], how="semi")
    return (
        pl.concat([same, found.filter(pl.col("button") == branch.button)]) if isinstance(branch.button, str) else same
    )


def _labels(home: Home, campaign: Campaign, step_name: str, button: str | int) -> pl.DataFrame:
    """What a button, named by its label or its position, is called in each language of the step's template."""
    step = campaign.steps.get(step_name)
    message = step.message if isinstance(step, MessageStep) else None
    name = message.template if isinstance(message, TemplateMessage) else None
    buttons = [
        (template, language, one)
        for (template, language), version in home.project.templates.items()
        if template == name
        for one in version.buttons
    ]
    places = {one.index for _, _, one in buttons if button in (one.index, one.text)}
    rows = [(template, language, one.text) for template, language, one in buttons if one.index in places]
    return pl.DataFrame(rows, schema={"template": pl.String, "language": pl.String, "button": pl.String}, orient="row")
