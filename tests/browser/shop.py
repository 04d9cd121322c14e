"""A home with something of everything that the pages can show, for tests with a browser.

What belongs here: files, people and what happened to them. Every text that somebody else than us writes carries markup
that would do something if a page believed it.
"""

from collections.abc import Callable
from datetime import timedelta

from journey.outcome import Outcome
from resources.claim import Claimed
from tests.gateway.test_campaigns import publish
from tests.stage import OFFER, Outcomes, Stage, accepted, person, refused, template

Make = Callable[..., Stage]

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"
LONG = "Wolfeschlegelsteinhausenbergerdorff" * 3

SPRING = f"""
name: spring
description: Every kind of step, and {EVIL}
sender: main
entries:
  - audience: {{segment: everyone}}
  - trigger: {{event: ordered}}
  - api: {{}}
settings:
  control_group: 10%
  goals: [{{event: purchase, within: 30d}}]
steps:
  hello:
    message:
      template: ask
      language: fr
      header: {{image: "https://cdn.example.com/spring.jpg"}}
      variables: {{first_name: {{user: first_name, fallback: vous}}}}
    on_reply:
      within: 1d
      answers: {{Oui: details, Non merci: end}}
      other: value
      silence: pause
    on_skip: {{opted_out: end, frequency_capped: pause, else: end}}
  details:
    message:
      text: "Voici votre offre, {{first_name}} !"
      variables: {{first_name: {{user: first_name, fallback: vous}}}}
    next: bought
  pause: {{delay: {{for: 2h}}, next: draw}}
  draw: {{experiment: {{a: {{weight: 50, next: reminder}}, b: {{weight: 50, next: hello}}}}}}
  reminder:
    message: {{template: reminder, language: fr}}
    on_read: {{within: 2d, read: end, not_read: value}}
  value: {{split: {{branches: [{{user: {{country: FR}}, next: mark}}], else: end}}}}
  mark: {{update: {{set: {{status: warm}}, add_tags: [spring]}}, next: bought}}
  bought:
    wait_for:
      within: 14d
      branches: [{{event: purchase, next: end}}, {{reply_to: hello, is: [Oui], next: end}}]
      else: end
"""
DRAFT = OFFER.replace("name: offer", "name: autumn\ndraft: true")
BROKEN = OFFER.replace("name: offer", "name: broken").replace("template: hello", "template: nothing")
OTHER = OFFER.replace("name: offer", "name: offer\ndescription: Un message pour tous")

ASK = template(
    "ask",
    body=f"Bonjour {{{{first_name}}}}, content de vous revoir.\n\nÇa vous dit ? {EVIL}",
    header={"type": "HEADER", "format": "IMAGE"},
    buttons=[
        {"type": "QUICK_REPLY", "text": "Oui"},
        {"type": "QUICK_REPLY", "text": "Non merci"},
        {"type": "URL", "text": "Voir", "url": "https://shop.example.com/printemps"},
    ],
)
ASK["components"].insert(2, {"type": "FOOTER", "text": "STOP pour arrêter"})

NAMES = (
    ("Élodie", "Durand"),
    ("Karim", "Benali"),
    (EVIL, "Noir"),
    ("יעל", "כהן"),
    ("ليلى", "العربي"),
    (LONG, "Senior"),
    ("😀 Zoé", "🎉🎉"),
    ("Jean-Baptiste", "de La Fontaine"),
    ("", ""),
    ("Ana", "García"),
    ("Max", "Muster"),
    ("Iris", "Blanc"),
)
PEOPLE = [
    person(number, first_name=first, last_name=last, opted_in=number != 12)
    for number, (first, last) in enumerate(NAMES, 1)
]
PHONES = {number: f"+33600{number:06d}" for number in range(20)}


def build(make_home: Make) -> Stage:
    """Twelve people were written to by two campaigns; some read, some answered, one wants nothing more."""
    stage = make_home(
        campaigns=(SPRING, OTHER, DRAFT, BROKEN),
        contacts=PEOPLE,
        templates=[ASK, template("hello"), template("reminder")],
    )
    stage.run("spring")
    stage.send(fails_for(stage, PHONES[10], 131026))
    stage.later(minutes=1)
    sent = stage.rows("SELECT id, contact_id FROM message WHERE accepted_at IS NOT NULL ORDER BY id")
    by_contact = {contact: id for id, contact in sent}
    for contact, id in by_contact.items():
        stage.status(id, "sent").status(id, "delivered", at=stage.now + timedelta(seconds=2))
        if contact in ("c1", "c2", "c4", "c5", "c6", "c8"):
            stage.status(id, "read", at=stage.now + timedelta(seconds=9))
    stage.later(minutes=1).turn()
    stage.later(minutes=5)
    for number, words in ((1, "Oui"), (2, f"Je veux {EVIL}"), (4, "שלום, אפשר עוד פרטים?"), (5, "شكرا"), (6, LONG)):
        if f"c{number}" in by_contact:
            stage.says(PHONES[number], words)
            stage.later(minutes=2)
    stage.says(PHONES[7], "STOP")
    stage.later(minutes=2).says("+33612345678", "Bonjour, qui êtes-vous ?")
    stage.turn()
    stage.send()
    stage.later(minutes=1).run("offer")
    stage.send(fails_for(stage, PHONES[8], 131049))
    stage.later(minutes=1).turn()
    (stage.path / "campaigns/gone.yaml").write_text(OFFER.replace("name: offer", "name: gone"))
    stage.reload().turn()
    (stage.path / "campaigns/gone.yaml").unlink()
    stage.reload()
    publish(stage)
    return stage


def fails_for(stage: Stage, phone: str, code: int) -> Outcomes:
    """Meta refuses what goes to this phone, and takes the rest."""

    def outcome(one: Claimed) -> Outcome | None:
        theirs = stage.value("SELECT phone FROM message WHERE id = ?", one.id) == phone
        return refused(code)(one) if theirs else accepted(one)

    return outcome
