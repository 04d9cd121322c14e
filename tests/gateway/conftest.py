"""Fixtures of the gateway's tests: `doors`, the API of a stage with the campaign `survey`."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.gateway.doors import CAMPAIGN, Doors, doors_of
from tests.stage import Stage


@pytest.fixture
def doors(make_home: Callable[..., Stage]) -> Iterator[Doors]:
    """Three people `c0` to `c2` whom a first turn has taken in, and a token."""
    stage = make_home(campaigns=[CAMPAIGN])
    stage.turn()
    with doors_of(stage) as made:
        yield made


@pytest.fixture
def gateway_of() -> Callable[..., Any]:
    """`doors_of`, for a stage of one's own."""
    return doors_of
