"""kill -9 at random moments, of whatever takes part in a campaign: nobody gets two copies, nobody is lost."""

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.killing import SENDERS, Campaign, campaign
from tests.pipelines.sending_home import sql

KINDS = ["pass"] * 4 + ["planner"] * 5 + ["lane"] * 6 + ["gateway"] * 3 + ["sleeper"] * 2


def play(at_work: Campaign, kinds: list[str], people: int) -> None:
    """Kill each of `kinds` in turn while `people` come by and by, and see that all ends well."""
    for number, kind in enumerate(kinds):
        left = people - at_work.people
        if left > 0:
            at_work.more_people(min(left, -(-people // (len(kinds) - 4)) if number else people // 4))
        at_work.ask()
        at_work.kill(kind)
    at_work.ask()
    at_work.finish()
    at_work.check()
    assert at_work.people == people
    assert sum(at_work.sent().values()) + len(_unknown(at_work, "thanks")) + 2 * len(_unknown(at_work, "offer")) == (
        people * 2 * len(SENDERS)
    )
    at_work.later()
    at_work.check()
    steps = Counter(step for (step,) in sql(at_work.home, "SELECT step FROM message"))
    assert steps == {"offer": people * len(SENDERS), "thanks": people * len(SENDERS)}
    assert sql(at_work.home, "SELECT count(*) FROM participant WHERE left_at IS NOT NULL") == [(people * 2,)]


def _unknown(at_work: Campaign, step: str) -> list[tuple[object, ...]]:
    return sql(at_work.home, "SELECT id FROM message WHERE state = 'unknown' AND step = ?", step)


@pytest.mark.timeout(900)  # forty seconds on two quiet cores
def test_twenty_kills_in_a_campaign_of_two_thousand_messages(tmp_path: Path) -> None:
    kinds = list(KINDS)
    random.Random(11).shuffle(kinds)
    with campaign(tmp_path / "home", seed=11) as at_work:
        play(at_work, kinds, people=500)
        assert sum(at_work.kills.values()) == 20
        assert sum(at_work.lost) > 0, "nothing was ever in doubt: nobody was killed at work"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2))
def test_two_hundred_kills_in_a_campaign_of_twenty_thousand_messages(tmp_path: Path, seed: int) -> None:
    kinds = KINDS * 10
    random.Random(seed).shuffle(kinds)
    with campaign(tmp_path / "home", seed) as at_work:
        play(at_work, kinds, people=5_000)
        assert sum(at_work.kills.values()) == 200
        assert sum(at_work.lost) > 0
        print(at_work.statistics())
