"""A number of low quality: bulk rests, what is transactional goes on."""

from pipelines.numbers import ask_numbers
from pipelines.sending import waiting
from pipelines.sensors import look
from resources.claim import retry_within
from resources.stopping import resume_sender
from sandbox.config import Config
from sandbox.testing import running
from tests.resources.test_numbers import FLAGGED, WELL, answers, resting, says
from tests.stage import NOON, OFFER

ORDER = """
name: order
sender: main
entries:
  - trigger: {event: order_ready}
steps:
  ready:
    message: {template: order, language: fr}
"""


def mixed(make_home):
    """Three bulk messages and one transactional one, planned; then the number is flagged."""
    stage = make_home(campaigns=[OFFER, ORDER])
    stage.run()
    stage.happens("order_ready", "c1").turn()
    says(stage, "phone_number_quality_update", FLAGGED)
    return stage


def test_bulk_rests_and_what_is_transactional_goes_out(make_home):
    stage = mixed(make_home)
    assert [stage.value("SELECT campaign FROM message WHERE id = ?", one.id) for one in stage.send()] == ["order"]
    assert stage.states() == {"accepted": 1, "planned": 3}
    says(stage.later(minutes=1), "phone_number_quality_update", WELL, NOON)
    says(stage, "phone_number_quality_update", WELL, stage.now)
    assert len(stage.send()) == 3


def test_an_operator_may_send_all_the_same(make_home):
    stage = mixed(make_home)
    stage.send()
    assert resume_sender(stage.home.ledger, "main")
    assert len(stage.send()) == 3


def test_no_lane_is_kept_busy_and_no_pass_asked_for_by_what_rests(make_home):
    stage = mixed(make_home)
    assert waiting(stage.home) == {"main": 1}
    stage.send()
    assert waiting(stage.home) == {}
    assert not retry_within(stage.home.ledger, "main", 0, 1, stage.us, 2**62)
    assert look(stage.home).messages == 0


def test_a_pass_asks_meta_and_an_answer_that_does_not_come_delays_nothing(make_home):
    stage = make_home()
    with running(Config(port=0, token="any", quality_rating="RED", tier=250, now=NOON.isoformat())) as box:
        (stage.path / ".env").write_text(f"WHATSAPP_API_URL={box.url}\nWHATSAPP_TOKEN=any\n")
        del stage.home.__dict__["secrets"]
        assert ask_numbers(stage.home, stage.lease) == 1
        assert ask_numbers(stage.home, stage.lease) == 0
    assert resting(stage) == {"main": "Meta calls the number's quality RED"}
    assert stage.value("SELECT messaging_limit FROM sender") == 250
    stage.wall += 7 * 3600
    assert ask_numbers(stage.home, stage.lease) == 1
    assert "could not be asked" in stage.home.said()[0]
    assert ask_numbers(stage.home, stage.lease) == 0
    answers(stage)
    assert resting(stage) == {}
