"""`check` and `schema`: what is wrong with the project's files, and what may stand in them.

What belongs here: choosing findings and showing them. They are found by `resources.project`.
"""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from estafette import show
from estafette.checking_media import check_media
from estafette.session import Session
from journey.clock import to_us
from journey.problems import Problem, SegmentError, UsageError
from journey.spelling import suggest
from resources.coupons import left
from resources.home import Home
from resources.project import Project, schemas
from resources.stopping import known


def check(session: Session, names: Sequence[str], *, offline: bool = False) -> bool:
    """Show every finding, or those about some campaigns and what all of them rest on. False where one is an error.

    `offline`: media are not looked at.
    """
    with session.open(settings=False) as home:
        project, failing, codes = _project(home)
    for name in names:
        known(project, name)
    checked = [name for name in _campaigns(project) if not names or name in names]
    media = [] if offline else check_media(project, checked)
    found = [*failing, *(one for one in project.problems if not names or _concerns(one, names)), *media]
    errors = [one for one in found if one.level == "error"]
    live = [name for name in project.live_campaigns() if name in checked]
    drafts = [name for name in checked if name in project.campaigns and project.campaigns[name].draft]
    coupons = [one for one in codes if one["campaign"] in checked]

    def draw(console: Console) -> None:
        show.problems(console, found)
        if found:
            console.print()
        for one in coupons:
            need = f", for an audience of {one['needed']:,}" if one["needed"] is not None else ""
            console.print(f"{one['campaign']}: the pool {one['pool']} has {one['free']:,} free codes{need}.")
        warnings = len(found) - len(errors)
        console.print(
            f"{_count(len(checked), 'campaign')}: {len(live)} live, {_count(len(drafts), 'draft')},"
            f" {sum(name in project.holes for name in checked)} with holes;"
            f" {_count(len(errors), 'error')}, {_count(warnings, 'warning')}."
        )

    document_of = {
        "ok": not errors,
        "campaigns": {name: state(project, name) for name in checked},
        "coupons": coupons,
        "problems": [document(one) for one in found],
    }
    session.show(document_of, draw)
    return not errors


def schema(session: Session, kind: str | None) -> None:
    """Print the JSON Schemas, or one of them: always JSON."""
    from estafette.session import print_json

    made = schemas()
    if kind is None:
        print_json(made)
    elif kind in made:
        print_json(made[kind])
    else:
        raise UsageError(f"there is no schema `{kind}`", mend=suggest(kind, made, none=""))
    del session


def document(problem: Problem) -> dict[str, Any]:
    """A finding as a JSON document."""
    return {
        "file": problem.file,
        "line": problem.line,
        "field": problem.field,
        "level": problem.level,
        "message": problem.message,
        "mend": problem.mend,
    }


def describe_state(home: Home, name: str) -> str:
    """What a campaign is now: stopped, live, draft, holes, or gone (its file)."""
    found = state(home.project, name)
    return "stopped" if name in home.stopped_campaigns() and found != "gone" else found


def _project(home: Home) -> tuple[Project, list[Problem], list[dict[str, Any]]]:
    """The project's files, the SQL segments that can't run on the contacts and events there are, and for each campaign
    and pool how many codes are free and needed.

    A home that has no ledger yet gets none by being checked, as in CI.
    """
    if not home.has_ledger():
        return Project.load(home.path, properties=set(), contacts_loaded=False, now=home.clock()), [], []
    if home.project.settings_or_none is None or not home.contacts.loaded():
        return home.project, [], []
    columns: dict[str, tuple[str, ...]] = {}
    failing: list[Problem] = []
    for name, segment in home.project.segments.items():
        if segment.kind == "sql":
            try:
                columns[name] = home.segment_columns(name)
            except SegmentError as error:
                file, _, line = (error.where or segment.file).partition(":")
                mend = error.mend or "Correct the query"
                failing.append(Problem(file, int(line or 1), "", error.message, f"{mend}."))
    pools, people = _coupons(home)
    types = home.contacts.types()
    loaded = Project.load(home.path, properties=types, returned=columns, pools=pools, people=people, now=home.clock())
    return loaded, failing, _needs(loaded, pools, people)


def _needs(project: Project, pools: Mapping[str, int], people: Mapping[str, int]) -> list[dict[str, Any]]:
    """Free codes of each pool that a campaign takes codes from, and the people of its largest audience now."""
    found = []
    for name, campaign in sorted(project.campaigns.items()):
        sizes = [people[entry.segment] for _, entry in campaign.audiences() if entry.segment in people]
        needed = max(sizes, default=None)
        found += [
            {"campaign": name, "pool": pool, "free": pools.get(pool, 0), "needed": needed} for pool in campaign.pools()
        ]
    return found


def _coupons(home: Home) -> tuple[dict[str, int], dict[str, int]]:
    """The free codes of the pools that campaigns name and that have any, and the people of the audiences that are to
    get them, by segment."""
    pools: dict[str, int] = {}
    people: dict[str, int] = {}
    now = home.clock()
    for campaign in home.project.campaigns.values():
        coupons = campaign.pools()
        with home.ledger.read() as tx:
            for pool in set(coupons) - set(pools):
                codes = left(tx, pool, to_us(now))
                if codes.total:
                    pools[pool] = codes.free
        for _, entry in campaign.audiences() if coupons else ():
            if entry.segment in home.project.segments and entry.segment not in people:
                with contextlib.suppress(SegmentError):  # said already
                    people[entry.segment] = home.segment(entry.segment, now).frame.height
    return pools, people


def _campaigns(project: Project) -> list[str]:
    return sorted({*project.campaigns, *project.holes})


def state(project: Project, name: str) -> str:
    """What a campaign's file makes of it: live, draft, holes, or gone."""
    if name in project.holes:
        return "holes"
    if name not in project.campaigns:
        return "gone"
    return "draft" if project.campaigns[name].draft else "live"


def _concerns(problem: Problem, names: Sequence[str]) -> bool:
    """Whether a finding is about one of these campaigns, or about what every campaign rests on."""
    return not problem.file.startswith("campaigns/") or problem.file in {f"campaigns/{name}.yaml" for name in names}


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
