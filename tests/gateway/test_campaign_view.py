"""The picture of a campaign with every kind of step: each way has words, in both languages."""

import pytest

from gateway.campaign_view import START, graph_view
from gateway.words import Words
from journey.campaign_reading import read_campaign
from resources.campaign_results import Results

EVERYTHING = """
name: everything
sender: main
entries:
  - audience: {segment: loyal, when: {cron: "0 10 * * MON", timezone: contact}}
  - trigger: {event: signed_up}
  - api: {attributes: []}
settings: {re_entry: once, control_group: 5%}
steps:
  hello:
    message: {template: hello, language: fr}
    on_reply:
      within: 2d
      answers: {"Oui": profile, "Non": nudge}
      other: profile
      silence: nudge
    on_skip: {frequency_capped: nudge, opted_out: end, too_late: end, else: rest}
  profile:
    split:
      branches:
        - {segment: loyal, next: tested}
        - {user: {country: FR, city: Paris}, next: tested}
        - {event: {amount: {at_least: 3}}, next: end}
      else: rest
  tested: {experiment: {soft: {weight: 70, next: offer}, hard: {weight: 30, next: last}}}
  offer:
    message: {template: hello, language: {user: locale, fallback: fr}}
    on_read: {within: 1d, read: wait, not_read: nudge, undelivered: end}
  wait:
    wait_for:
      within: 5d
      branches:
        - {event: purchase, next: mark}
        - {reply_to: offer, next: last}
        - {read: offer, next: nudge}
        - {click: offer, next: nudge}
      else: last
  nudge: {delay: {for: 3d}, next: hello}
  rest: {delay: {until: "mon 10:00"}, next: last}
  dated: {delay: {until: {event: at}, shift: -24h}, next: end}
  last:
    message: {text: "Voici {first_name}", variables: {first_name: {user: first_name}}}
  mark: {update: {set: {status: warm, old: null}, add_tags: [bought], remove_tags: [cold]}, next: end}
"""


def labels(language: str) -> dict[str, dict[str, int]]:
    campaign, _, problems = read_campaign(EVERYTHING, "campaigns/everything.yaml")
    assert campaign is not None, problems
    results = Results(
        entries={"audience": 5, "api": 2},
        moves={("hello", "on_skip", "end"): 3, ("hello", "on_skip", "rest"): 4, ("wait", "2", "last"): 6,
               ("profile", "else", "rest"): 1, ("gone", "next", "end"): 9},
        here={"wait": 2},
    )  # fmt: skip
    view = graph_view(campaign, results, Words(language))
    assert view.old == (("gone", "next" if language == "en" else "suite", "end", 9),)
    assert view.steps["wait"].here == 2
    return {name: {way.full: way.count for way in step.ways} for name, step in view.steps.items()}


def test_every_way_is_named_and_counted() -> None:
    found = labels("en")
    assert found[START] == {"audience": 5, "event": 0, "API": 2}
    assert found["hello"] == {
        "“Oui”": 0, "“Non”": 0, "other answer": 0, "no answer": 0, "skipped: frequency_capped": 0,
        "skipped: opted_out, too_late": 3, "skipped otherwise": 4, "failed": 0,
    }  # fmt: skip
    assert found["profile"] == {"in loyal": 0, "contact: country, city": 0, "entry: amount": 0, "otherwise": 1}
    assert found["tested"] == {"soft · 70%": 0, "hard · 30%": 0}
    assert found["offer"] == {"read": 0, "not read": 0, "undelivered": 0, "skipped": 0, "failed": 0}
    assert found["wait"] == {
        "event purchase": 0, "answer to offer": 6, "offer read": 0, "tap in offer": 0, "otherwise": 0,
    }  # fmt: skip


@pytest.mark.parametrize("language", ["en", "fr"])
def test_boxes_say_what_their_steps_do(language: str) -> None:
    campaign, _, _ = read_campaign(EVERYTHING, "campaigns/everything.yaml")
    assert campaign is not None
    view = graph_view(campaign, Results(), Words(language))
    facts = {name: " | ".join(step.facts) for name, step in view.steps.items()}
    assert facts["mark"] == "status = warm | old = ∅ | + bought | − cold"
    assert ("3 days" if language == "en" else "3 jours") in facts["nudge"]
    assert ("10:00" in facts["rest"] and "at" in facts["dated"] and "24" in facts["dated"]) or "1 " in facts["dated"]
    assert "0 10 * * MON" in facts[START] and "Voici {first_name}" in facts["last"]
    assert len(view.drawing.lines) == sum(way.target is not None for step in view.steps.values() for way in step.ways)
