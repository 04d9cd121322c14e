"""Publishing killed at any moment: what is published is whole, and the next publish shows everything."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import sqlalchemy as sa

from resources import tables
from tests.resources.analyst_world import World

ROOT = Path(__file__).resolve().parents[2]
PUBLISHER = """
import sys
from pathlib import Path
from tests.resources.analyst_world import World
world = World(Path(sys.argv[1]))
while True:
    world.participant()
    world.message()
    world.publish()
    print(flush=True)
"""
NUMBERS = """SELECT (SELECT count(*) FROM messages), (SELECT planned FROM campaign_funnel),
  (SELECT sum(planned) FROM campaign_daily)::BIGINT, (SELECT messages FROM published)"""


def publish_and_be_killed(world: World, after: float) -> None:
    command = [sys.executable, "-c", PUBLISHER, str(world.paths.home)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as publisher:
        assert publisher.stdout is not None
        publisher.stdout.readline()
        time.sleep(after)
        publisher.send_signal(signal.SIGKILL)


def test_whoever_publishes_is_killed_and_the_published_state_is_whole(tmp_path: Path) -> None:
    world, chance = World(tmp_path / "home"), random.Random(7)
    for _ in range(3):
        publish_and_be_killed(world, chance.random() / 2)
        [(messages, *counted)] = world.sql(NUMBERS)
        assert counted == [messages] * 3
        pl.read_parquet(world.paths.tallies)  # whole, whichever it is
        world.publish()
        with world.ledger.read() as tx:
            there = tx.execute(sa.select(sa.func.count()).select_from(tables.message)).scalar_one()
        assert world.sql(NUMBERS) == [(there,) * 4]
        shown = world.sql("FROM step_funnel")
        world.paths.tallies.unlink()
        world.paths.analytics.unlink()
        world.publish()
        assert world.sql("FROM step_funnel") == shown
    world.ledger.close()
