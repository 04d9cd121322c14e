"""An audience that has outgrown its last ones."""

import pytest

from journey.growth import outgrown


@pytest.mark.parametrize(
    ("size", "earlier", "asks"),
    [
        (20_001, [2_000, 1_900, 2_100], True),
        (20_000, [2_000, 1_900, 2_100], False),  # ten times is not more than ten times
        (1_009, [10], False),  # under 1,000 people more
        (1_010, [10], True),
        (50_000, [], False),  # the first one is no surprise
        (1_000, [0], True),
        (50_000, [40_000, 10, 10, 10, 10], True),  # one large day makes large days no habit
        (50_000, [10, 40_000, 45_000], False),
    ],
)
def test_more_than_ten_times_the_median_and_a_thousand_people_more_needs_a_yes(size, earlier, asks):
    assert (outgrown(size, earlier, 10.0) is not None) == asks


def test_the_sentence_names_both_figures():
    found = outgrown(48_210, [1_900, 2_000, 2_400], 10.0)
    assert found is not None
    assert "48,210" in found and "2,000" in found and "median of the last 3" in found


def test_a_campaign_may_ask_at_another_growth_or_never():
    assert outgrown(5_000, [1_000], 3.0) is not None
    assert outgrown(5_000_000, [1], None) is None
