"""A campaign as its page shows it: boxes with their numbers and ways, ready for the template.

What belongs here: the way from a campaign's file and its results to texts and places. Pure: what is known comes in. The
layout is `graph`, the texts are `words`, the numbers come from `resources.campaign_results`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.graph import Box, Drawing, Exit, Node, draw
from gateway.words import Words
from journey.steps import (
    ELSE,
    DelayStep,
    ExperimentStep,
    LanguageByContact,
    MessageStep,
    SplitStep,
    Step,
    TemplateMessage,
    UpdateStep,
    WaitForStep,
)
from journey.words import END, Branch

if TYPE_CHECKING:
    from journey.campaign import Campaign
    from resources.campaign_results import Results

START = ""  # the box of the entries: no step can be called so
SHORT = 24  # characters of a way's label, of a line in a box
LINE = 34


@dataclass(frozen=True, slots=True)
class Way:
    """A way out as it is shown: `label` short enough for its row, `full` as it is."""

    key: str
    label: str
    full: str
    target: str | None
    count: int
    faint: bool


@dataclass(frozen=True, slots=True)
class StepView:
    """A step as it is shown. `facts`: lines of what it does; `counts`: pairs of a label and a number."""

    name: str
    title: str
    kind: str
    facts: tuple[str, ...]
    counts: tuple[tuple[str, int], ...]
    here: int
    ways: tuple[Way, ...]

    @property
    def pairs(self) -> list[tuple[tuple[str, int], ...]]:
        """The counts two in a line."""
        return [self.counts[place : place + 2] for place in range(0, len(self.counts), 2)]


@dataclass(frozen=True, slots=True)
class GraphView:
    """The whole picture: views by box, the layout, and moves whose way is no longer in the file."""

    steps: Mapping[str, StepView]
    drawing: Drawing
    old: tuple[tuple[str, str, str, int], ...]

    def box(self, name: str) -> Box:
        return self.drawing.boxes[name]


def graph_view(campaign: "Campaign", results: "Results", t: Words) -> GraphView:
    """The picture of a campaign with its numbers."""
    views = {START: _entries(campaign, results, t)}
    for name, step in campaign.steps.items():
        views[name] = StepView(
            name,
            _short(name, SHORT),
            t(f"kind_{step.kind}"),
            tuple(_short(one, LINE) for one in _facts(step, t)),
            tuple(_counts(step, results.steps.get(name, {}), t)),
            results.here.get(name, 0),
            tuple(_ways(name, step, results, t)),
        )
    drawing = draw(
        [
            Node(name, tuple(Exit(way.key, way.target) for way in view.ways), len(view.facts) + len(view.pairs))
            for name, view in views.items()
        ]
    )
    known = {(view.name, way.key) for view in views.values() for way in view.ways}
    old = tuple(
        (step, _fixed(branch, t), to, count)
        for (step, branch, to), count in results.moves.items()
        if (step, _key(branch, to)) not in known
    )
    return GraphView(views, drawing, old)


def _entries(campaign: "Campaign", results: "Results", t: Words) -> StepView:
    kinds = list(dict.fromkeys([*(str(entry.kind) for entry in campaign.entries), *results.entries]))
    ways = tuple(
        Way(
            kind,
            t(f"entry_kind_{kind}"),
            t(f"entry_kind_{kind}"),
            campaign.first_step,
            results.entries.get(kind, 0),
            False,
        )
        for kind in kinds
    )
    facts = tuple(_short(one, LINE) for one in entry_lines(campaign, t))
    if results.control or campaign.settings.control_group:
        facts += (t("control_count", count=results.control),)
    return StepView(START, t("start"), t("kind_start"), facts, (), 0, ways)


def entry_lines(campaign: "Campaign", t: Words) -> Iterator[str]:
    """Who enters, and when."""
    for entry in campaign.entries:
        if entry.kind == "audience":
            when = entry.when
            rule = t("when_run") if when is None else when.cron or when.at or ""
            yield t("entry_audience", segment=entry.segment)
            yield rule
        elif entry.kind == "trigger":
            yield t("entry_trigger", event=entry.event)
        else:
            yield t("entry_api")


def _facts(step: Step, t: Words) -> Iterator[str]:
    if isinstance(step, MessageStep):
        message = step.message
        if isinstance(message, TemplateMessage):
            language = message.language
            shown = language.user if isinstance(language, LanguageByContact) else language
            yield f"{message.template} · {shown}"
        else:
            yield f"{t('free_text')} · {message.text}"
        wait = step.on_read or step.on_reply
        if wait is not None:
            yield t("within", length=t.duration(wait.within))
    elif isinstance(step, DelayStep):
        yield _delay(step, t)
    elif isinstance(step, WaitForStep):
        yield t("within", length=t.duration(step.within))
    elif isinstance(step, UpdateStep):
        parts = [f"{name} = {value}" if value is not None else f"{name} = ∅" for name, value in step.set.items()]
        parts += [f"+ {tag}" for tag in step.add_tags] + [f"− {tag}" for tag in step.remove_tags]
        yield from parts


def _delay(step: DelayStep, t: Words) -> str:
    until = step.until
    if until is None:
        return t("wait_length", length=t.duration(step.length)) if step.length is not None else ""
    if until.clock is not None:
        moment = f"{until.clock:%H:%M}"
        if until.weekday is not None:
            moment = t("wait_weekday", day=t("days").split(",")[until.weekday], moment=moment)
    else:
        moment = until.at or until.event or until.user or ""
    shift = ""
    if step.shift:
        shift = (" + " if step.shift.total_seconds() > 0 else " − ") + t.duration(abs(step.shift))
    return t("wait_until", moment=moment) + shift


def _counts(step: Step, counts: Mapping[str, int], t: Words) -> Iterator[tuple[str, int]]:
    """Message counts; what is nothing and seldom is left out."""
    if not isinstance(step, MessageStep):
        return
    for name in ("planned", "skipped", "accepted", "failed", "delivered", "replied", "read"):
        yield t(name), counts.get(name, 0)
    for name in ("clicked", "unknown"):
        if counts.get(name):
            yield t(name), counts[name]


def _ways(name: str, step: Step, results: "Results", t: Words) -> Iterator[Way]:
    """The ways out, those that can't be told apart afterwards (skip reasons with one target) as one."""
    merged: dict[str, tuple[list[str], str, str]] = {}
    for path, branch, target, _ in step.ways():
        key = _key(branch, target)
        labels = merged.setdefault(key, ([], branch, target))[0]
        labels.append(_label(step, path, branch, t))
    several = sum(branch == Branch.on_skip for _, branch, _ in merged.values()) > 1
    for key, (labels, branch, target) in merged.items():
        if branch == Branch.on_skip:
            reasons = [one for one in labels if one != ELSE]
            if ELSE in labels:
                full = t("way_on_skip_else" if several else "way_on_skip")
            else:
                full = t("way_on_skip_reasons", reasons=", ".join(reasons))
        else:
            full = ", ".join(dict.fromkeys(labels))
        faint = branch in (Branch.on_skip, Branch.on_failure)
        count = results.moves.get((name, branch, target), 0)
        yield Way(key, _short(full, SHORT), full, None if target == END else target, count, faint)


def _label(step: Step, path: tuple[str | int, ...], branch: str, t: Words) -> str:
    if branch == Branch.on_skip:
        return str(path[-1])
    if isinstance(step, MessageStep) and "answers" in path:
        return f"« {branch} »" if t.language == "fr" else f"“{branch}”"
    if isinstance(step, ExperimentStep):
        whole = sum(arm.weight for arm in step.arms.values()) or 1
        return f"{branch} · {t.percent(step.arms[branch].weight / whole)}"
    if isinstance(step, WaitForStep) and branch.isdecimal():
        one = step.branches[int(branch) - 1]
        if one.match is not None:
            return t("way_event", event=one.match.event)
        if one.kind == "reply":
            return ", ".join(one.answers) or t("way_reply", step=one.step)
        return t("way_branch_read" if one.kind == "read" else "way_click", step=one.step)
    if isinstance(step, SplitStep) and branch.isdecimal():
        question = step.branches[int(branch) - 1]
        if question.segment is not None:
            return t("way_segment", segment=question.segment)
        if question.user is not None:
            return t("way_user", names=", ".join(question.user))
        return t("way_attributes", names=", ".join(question.event or ()))
    return _fixed(branch, t)


def _fixed(branch: str, t: Words) -> str:
    return t(f"way_{branch}") if branch in Branch.__members__.values() else branch


def _key(branch: str, target: str) -> str:
    return f"{branch}\x1f{target}"


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
