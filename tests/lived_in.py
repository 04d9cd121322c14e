"""A home in which something of everything has happened: for whatever is about all of its stores."""

import json

from pipelines.publish import publish
from tests.stage import Stage, delivery, person

TRIGGERED = """
name: order
sender: main
entries:
  - trigger: {event: ordered}
steps:
  hello:
    message: {template: order, language: fr}
"""


def lived_in(make_home) -> Stage:
    """Four people, of whom three ordered and got a message; statuses of two, a STOP of the fourth; published."""
    made = make_home(campaigns=(TRIGGERED,), contacts=[person(n, city=f"City {n}") for n in range(4)])
    made.turn()
    for number in range(3):
        made.happens("ordered", f"c{number}", amount=number)
    made.turn()
    made.send()
    for value in (made.status_of(1, "delivered"), made.status_of(2, "read")):
        line = {"received_at": "2026-12-01T12:00:01Z", "body": json.dumps(delivery(value))}
        with (made.path / "landing/webhooks/log.ndjson").open("a") as log:
            log.write(json.dumps(line) + "\n")
    made.says("+33600000003", "STOP")
    made.turn()
    publish(made.home, made.lease)
    return made
