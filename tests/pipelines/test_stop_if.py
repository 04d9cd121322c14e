"""What messages cost by the rate card, and campaigns that stop by themselves."""

from resources.ledger import US
from resources.outbox import Outbox, Settled
from resources.stopping import resume_campaign
from tests.stage import OFFER, accepted, person, refused, unknown

TEXT = OFFER.replace("{template: hello, language: fr}", '{text: "Bonjour !"}')


def rates(stage, *rows):
    (stage.path / "rates").mkdir(exist_ok=True)
    head = "effective_from,currency,market,category,tier_from,rate\n"
    (stage.path / "rates/card.csv").write_text(head + "\n".join(rows) + "\n")
    return stage.reload()


PRICES = (
    "2026-01-01,EUR,France,MARKETING,0,0.0712",
    "2027-01-01,EUR,France,MARKETING,0,9",
    "2026-01-01,EUR,*,SERVICE,0,0.004",
)


def test_a_message_has_its_market_and_what_it_is_likely_to_cost(make_home):
    stage = rates(
        make_home(contacts=[person(0), {"contact_id": "de", "phone": "+4915112345678", "country": "FR"}]), *PRICES
    )
    stage.run()
    assert stage.rows("SELECT contact_id, market, price, currency, price_source FROM message ORDER BY 1") == [
        ("c0", "France", 71_200, "EUR", "estimate"),
        ("de", "Germany", None, None, None),
    ]


def test_free_text_costs_what_service_messages_cost(make_home):
    stage = rates(make_home(contacts=1, campaigns=[TEXT]), *PRICES)
    stage.turn()
    stage.says("+33600000000", "Bonjour").run()
    assert stage.rows("SELECT market, price FROM message") == [("France", 4_000)]


def test_a_campaign_that_costs_too_much_stops_with_the_reason_and_resume_says_yes(make_home):
    text = OFFER.replace("steps:", "settings: {stop_if: {cost_above: 0.2 EUR}}\nsteps:")
    stage = rates(make_home(contacts=9, campaigns=[text]), *PRICES)
    stage.run()
    stage.send(want=2)
    stage.turn()
    assert stage.home.stopped_campaigns() == {}
    stage.send(want=1)
    stage.turn()
    assert stage.home.stopped_campaigns() == {
        "offer": "it cost 0.21 EUR, more than the 0.2 EUR of stop_if (cost_above)"
    }
    assert stage.send() == []
    resume_campaign(stage.home.ledger, stage.home.project, "offer", stage.us)
    stage.turn()
    assert stage.home.stopped_campaigns() == {}
    stage.send(want=3)
    stage.turn()
    assert list(stage.home.stopped_campaigns()) == ["offer"]


def test_a_price_counts_once_however_its_acceptance_is_told(make_home):
    stage = rates(make_home(contacts=2), *PRICES)
    stage.run()
    stage.send(lambda one: accepted(one) if one.id == 1 else unknown(one))
    for status in ("sent", "delivered", "read"):
        stage.status(1, status).status(2, status).turn()
    assert stage.rows("SELECT * FROM spent") == [("offer", "EUR", 142_400)]


def test_a_campaign_of_which_too_much_fails_stops_after_200_attempts(make_home):
    text = OFFER.replace("steps:", "settings: {stop_if: {failures_above: 5%}}\nsteps:")
    stage = make_home(contacts=450, campaigns=[text])
    stage.run()
    stage.send(refused(130472), want=11)
    stage.send(want=188)
    stage.turn()
    assert stage.home.stopped_campaigns() == {}, "199 attempts say nothing yet"
    stage.send(want=1)
    stage.turn()
    assert stage.home.stopped_campaigns() == {
        "offer": "11 of 200 attempts failed, more than the 5% of stop_if (failures_above)"
    }
    stage.later(seconds=1)
    resume_campaign(stage.home.ledger, stage.home.project, "offer", stage.us)
    stage.send(want=249)
    stage.status(201, "failed", code=131026).turn()
    assert stage.home.stopped_campaigns() == {}, "what failed before the resume was said yes to"


def test_a_share_of_failures_that_is_just_reached_stops_nothing(make_home):
    text = OFFER.replace("steps:", "settings: {stop_if: {failures_above: 5%}}\nsteps:")
    stage = make_home(contacts=200, campaigns=[text])
    stage.run()
    stage.send(refused(130472), want=10)
    stage.send(want=190)
    stage.turn()
    assert stage.home.stopped_campaigns() == {}


COSTLY = OFFER.replace("steps:", "settings: {stop_if: {cost_above: 0.2 EUR}}\nsteps:")


def test_a_budget_stops_with_the_message_that_takes_it_over_however_many_are_claimed_at_once(make_home):
    stage = rates(make_home(contacts=900, campaigns=[COSTLY]), *PRICES)
    stage.run()
    assert len(stage.send(want=500)) == 3, "2 cost 0.14 EUR, the third takes it to 0.21"
    assert stage.send(want=500) == []
    assert stage.home.stopped_campaigns() == {
        "offer": "it cost 0.21 EUR, more than the 0.2 EUR of stop_if (cost_above)"
    }, "no pass was needed for it: lanes go on for minutes by themselves"


def test_what_is_on_its_way_counts_in_the_budget_in_every_lane(make_home):
    stage = rates(make_home(contacts=40, campaigns=[COSTLY]), *PRICES)
    stage.run()
    lanes = []
    for share in range(2):
        lease = stage.home.ledger.take(f"send:main:{share}/2", "test")
        lanes.append(Outbox(stage.home.ledger, lease, "main", share, 2, 80.0))
    wall = int(stage.wall * US)
    first, second = (lane.turn([], 2, stage.us, wall).claimed for lane in lanes)
    assert len(first) + len(second) == 3
    lanes[0].turn([Settled(one.id, refused(130472)(one)) for one in first], 0, stage.us, wall)
    assert len(lanes[1].turn([], 9, stage.us, wall).claimed) == 2, "what Meta refused costs nothing"


def test_a_campaign_that_waits_for_what_is_on_its_way_stands_in_nobodys_way(make_home):
    free = OFFER.replace("name: offer", "name: free")
    stage = rates(make_home(contacts=9, campaigns=[COSTLY, free]), *PRICES)
    stage.run()
    stage.later(seconds=1).run("free")
    outbox = Outbox(stage.home.ledger, stage.home.ledger.take("send:main:0/1", "test"), "main", 0, 1, 80.0)
    wall = int(stage.wall * US)
    assert len(outbox.turn([], 3, stage.us, wall).claimed) == 3  # may take it over the sum
    claimed = [one.id for one in outbox.turn([], 3, stage.us, wall).claimed]
    assert stage.rows("SELECT DISTINCT campaign FROM message WHERE id IN (?, ?, ?)", *claimed) == [("free",)]


def test_what_may_have_gone_out_counts_as_spent(make_home):
    stage = rates(make_home(contacts=9, campaigns=[COSTLY]), *PRICES)
    stage.run()
    stage.send(unknown)
    assert stage.send() == []
    assert "offer" in stage.home.stopped_campaigns()


def test_a_budget_that_is_lowered_holds_for_what_was_planned_before(make_home):
    stage = rates(make_home(contacts=9), *PRICES)
    stage.run()
    assert stage.states() == {"planned": 9}
    stage.campaign(COSTLY).turn()
    assert len(stage.send()) == 3
