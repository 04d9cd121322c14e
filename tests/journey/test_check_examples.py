"""Whole campaigns as people write them, against the templates of this project."""

import json
from pathlib import Path

import pytest

from journey.problems import Problem
from journey.template import Template, parse_library
from tests.journey import checking

FOLDER = Path(__file__).parent.parent.parent / "templates"

WIN_BACK = """\
name: win_back
description: An audience, a coupon, quick replies, and a reminder to who says nothing
sender: main
entries:
  - audience:
      segment: away
      when: {cron: "0 10 * * MON", timezone: contact, fallback: Europe/Paris, if_past: next_day}
variables:
  first_name: {user: first_name, case: CapitalizeFirst, fallback: chère cliente}
settings:
  re_entry: {times: 1, per: 90d}
  silent_hours: {from: 20:30, to: 09:00, days_off: [sun], timezone: contact}
  frequency_cap: {messages: 2, per: 7d}
  goals: [{event: purchase, within: 14d, ends_journey: true}]
  control_group: 10%
steps:
  gift:
    message:
      template: autumn_offer_coupon
      language: fr
      header: {image: "https://shop.example.com/images/gift.jpg"}
      variables:
        product_name: {user: favourite_product, fallback: nos bottes}
        discount: {text: "15 %"}
      buttons:
        Acheter maintenant: {user: product_id, fallback: accueil}
      coupons: {pool: autumn, tag: has_code}
    on_reply:
      within: 24h
      answers:
        "Oui, ça m'intéresse": details
        "non, merci": end
        "En savoir plus": more
      silence: reminder
  details:
    message: {text: "{first_name}, tout est ici : https://shop.example.com/automne"}
  more:
    message:
      template: product_info
      language: fr
      variables: {1: {user: favourite_product, fallback: nos bottes}}
  reminder:
    message: {template: autumn_reminder, language: fr}
    on_read: {within: 2d, read: end, not_read: last}
  last:
    message: {template: autumn_last_call, language: fr}
"""

APPOINTMENT = """\
name: appointment
description: A day before a time that the event brings
sender: main
entries:
  - trigger: {event: booked, key: booking}
settings:
  exit_on: [{event: unbooked}]
steps:
  eve: {delay: {until: {event: starts_at}, shift: -24h, if_past: continue}, next: remind}
  remind:
    message:
      template: appointment_reminder
      language: fr
      variables:
        "1": {user: first_name, fallback: chère cliente}
        "2": {event: starts_at, format: "%d/%m à %H:%M"}
    on_reply:
      within: 12h
      answers: {Je confirme: end, Annuler: unbook}
  unbook: {update: {add_tags: [wants_to_cancel]}}
"""

PICK_UP = """\
name: pick_up
description: Two orders of one person are two passages; not ready again within two hours, a second word
sender: main
entries:
  - trigger: {event: order_status, where: {status: Prête}, key: number}
settings:
  frequency_cap: ignore
  when_unknown: {after: 10m, then: resend}
steps:
  ready:
    message:
      template: order_ready
      language: {user: locale, fallback: fr}
      variables:
        1: {user: first_name, case: CapitalizeAllFirst, fallback: chère cliente}
        2: {event: number}
      buttons:
        0: {event: number}
    next: fetched
  fetched:
    wait_for:
      within: 3d
      branches:
        - {event: order_status, where: {status: Retirée}, next: end}
        - {reply_to: ready, next: end}
      else: place
  place:
    message:
      template: store_location
      language: fr
      header: {location: {latitude: 48.8566, longitude: 2.3522, name: Boutique, address: "1 rue de Rivoli, Paris"}}
      variables: {1: {event: number}}
"""

SURVEY = """\
name: survey
description: A request after a survey, a segment, an experiment
sender: main
entries:
  - api: {attributes: [score, offer]}
variables:
  offer: {event: offer}
steps:
  who:
    split:
      branches:
        - {segment: loyal, next: vip}
        - {event: {score: {at_most: 3}}, next: end}
      else: test
  test: {experiment: {now: {weight: 70, next: thanks}, later: {weight: 30, next: morning}}}
  morning: {delay: {until: 10:00}, next: thanks}
  vip:
    message:
      template: survey_vip
      language: fr
      variables: {first_name: {user: first_name, case: UPPERCASE, fallback: CHÈRE CLIENTE}}
  thanks:
    message: {template: survey_thanks, language: fr}
    on_read: {within: 7d, read: end, not_read: again}
  again: {delay: {for: 2d}, next: vip}
"""


@pytest.fixture(scope="module")
def templates() -> list[Template]:
    library, problems = parse_library(
        {path.name: json.loads(path.read_text("utf-8")) for path in FOLDER.glob("*.json")}
    )
    assert not problems
    return list(library.values())


def found(text: str, templates: list[Template]) -> list[Problem]:
    given = checking.context(
        templates,
        segments={"away", "loyal"},
        columns={"away": ()},
        properties={"first_name", "favourite_product", "product_id"},
        pools={"autumn": 100},
    )
    return checking.found(text, given, f"campaigns/{text.splitlines()[0].removeprefix('name: ')}.yaml")


@pytest.mark.parametrize("text", [WIN_BACK, APPOINTMENT, PICK_UP, SURVEY], ids=lambda text: text.split()[1])
def test_campaigns_as_people_write_them_have_no_findings(text: str, templates: list[Template]) -> None:
    assert found(text, templates) == []


@pytest.mark.parametrize(
    ("text", "old", "new", "field"),
    [
        (WIN_BACK, "autumn_offer_coupon", "autumn_offer", "steps.gift.message.coupons"),
        (WIN_BACK, "      coupons: {pool: autumn, tag: has_code}\n", "", "steps.gift.message.variables"),
        (WIN_BACK, "{first_name}, tout", "{firstname}, tout", "steps.details.message.text"),
        (
            APPOINTMENT,
            '        "2": {event: starts_at, format: "%d/%m à %H:%M"}\n',
            "",
            "steps.remind.message.variables",
        ),
        (PICK_UP, "        0: {event", "        1: {event", "steps.ready.message.buttons"),
        (PICK_UP, "latitude: 48.8566", "latitude: 488566", "steps.place.message.header.location.latitude"),
        (SURVEY, "offer: {event: offer}", "offer: {event: ofer}", "variables.offer.event"),
        (SURVEY, "later: {weight: 30, next: morning}", "later: {weight: 30, next: thanks}", "steps.morning"),
    ],
)
def test_what_is_spoilt_in_them_is_found(text: str, old: str, new: str, field: str, templates: list[Template]) -> None:
    assert old in text
    assert field in {problem.field for problem in found(text.replace(old, new), templates) if problem.level == "error"}
