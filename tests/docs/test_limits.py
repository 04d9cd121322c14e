"""docs/limits.md: what it names is there, and its settings can be read."""

import re

from journey.campaign import StopIf
from journey.growth import LAST, LEAST
from journey.messaging_limit import MARGIN, NO_LIMIT, worry
from resources.numbers import ASK, ASK_RESTING
from resources.settings import LIMITS, load_settings
from tests.docs.pages import DOCS, rows

PAGE = "limits.md"
TEXT = (DOCS / PAGE).read_text(encoding="utf-8")


def test_the_settings_of_the_page_can_be_read_and_mean_what_it_says() -> None:
    (text,) = re.findall(r"^```yaml settings\n(.+?)^```", TEXT, re.MULTILINE | re.DOTALL)
    settings, problems = load_settings(text)
    assert settings is not None, problems
    found = {name: (one.messaging_limit, one.portfolio) for name, one in settings.senders.items()}
    assert found == {"main": (2_000, "main"), "shop": (None, "main"), "abroad": (NO_LIMIT, "abroad")}
    assert all(f"`{limit}`" in TEXT for limit in LIMITS)


def test_every_rule_of_the_page_is_one_of_stop_if() -> None:
    named = [row["limit"] for row in rows(PAGE, "limit", "whose", "what happens", "how it goes on")]
    assert {re.findall(r"\{(\w+):", one)[0] for one in named if "stop_if" in one} == set(StopIf.model_fields)


def test_the_figures_of_the_page_are_those_of_the_code() -> None:
    assert StopIf().audience_grows == 10 and "`10x` from the start" in TEXT
    assert (LAST, LEAST) == (7, 1_000) and "last seven occurrences" in TEXT and "1,000 people larger" in TEXT
    assert ASK == 6 * 3600 * 10**6 and "six hours old" in TEXT
    assert ASK_RESTING == 900 * 10**6 and "quarter of an hour" in TEXT
    assert MARGIN.total_seconds() == 60 and "24 hours and a minute" in TEXT
    resting = [word for word in ("RED", "FLAGGED", "RESTRICTED", "BANNED") if worry(word, word) is not None]
    assert f"At {', '.join(resting[:-1])} or {resting[-1]}" in TEXT
