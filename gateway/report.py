"""A campaign's report as one HTML file: what its page shows of results, to be kept, printed or sent on.

What belongs here: putting the file together. What it says is `results.html`, which the page shows too; the numbers come
in. The file holds no script and asks no server for anything.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from gateway.campaigns import SHOWN_ANSWERS, STEPS, summed
from gateway.daily import daily_view
from gateway.look import document
from gateway.words import Words

if TYPE_CHECKING:
    from journey.campaign import Campaign
    from resources.campaign_results import Results


def report_html(
    name: str, campaign: "Campaign | None", results: "Results", at: datetime, zone: ZoneInfo, language: str = "en"
) -> str:
    """The file. `campaign`: None where its file is gone; `at`: the moment that the numbers show."""
    from gateway.campaign_view import graph_view

    t = Words(language, zone)
    card: Mapping[str, object] = {"name": name, "state": "live" if campaign is not None else "gone"}
    return document(
        "report.html",
        t,
        name=name,
        description=campaign.description if campaign is not None else "",
        card=card,
        results=results,
        at=at,
        inside=sum(results.here.values()),
        bars=STEPS,
        graph=graph_view(campaign, results, t) if campaign is not None else None,
        daily=daily_view(results.daily),
        waiting=(),
        skips=summed(results.skips),
        failures=summed(results.failures),
        answers=results.answers[:SHOWN_ANSWERS],
        printed=True,
    )
