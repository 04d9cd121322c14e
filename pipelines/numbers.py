"""Numbers: what Meta says of the senders' phone numbers, asked for now and then.

What belongs here: when a pass asks, and how little it waits for the answer. What is made of it is `resources.numbers`.
"""

from journey.clock import to_us
from journey.problems import CloudApiError
from resources.cloud_api import CloudApi
from resources.home import Home
from resources.ledger import US, Lease
from resources.numbers import note_number, note_silence, to_ask

PATIENCE = 5.0
"""Seconds that a pass waits for Meta's answer of one number. It is no reason to send later."""


def ask_numbers(home: Home, lease: Lease) -> int:
    """Ask Meta of the senders whose limit and quality were not asked for of late. Gives of how many.

    What does not answer is asked again by a later pass; what is known of it stays.
    """
    token, wall = home.secrets.whatsapp_token, int(home.wall() * US)
    configured = home.project.settings.senders
    with home.ledger.read() as tx:
        names = to_ask(tx, configured, wall)
    if not names or token is None:
        return 0
    for name in names:
        try:
            with CloudApi(home.secrets.api_url, home.secrets.api_version, token, tries=1, timeout=PATIENCE) as api:
                number = api.phone_number(configured[name].phone_number_id)
        except CloudApiError as error:
            home.say(f"sender {name}: its messaging limit and quality could not be asked for: {error.message}")
            with home.ledger.write(lease) as tx:
                note_silence(tx, name, wall)
            continue
        with home.ledger.write(lease) as tx:
            note_number(tx, name, number, to_us(home.clock()), wall)
    return len(names)
