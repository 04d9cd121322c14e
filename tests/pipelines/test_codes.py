"""Coupon codes and codes of counted links: one code to one message ever, and what becomes of it."""

import re

import pytest

from journey.marks import VOUCHER
from journey.problems import LeaseLost
from pipelines import plan as planning
from pipelines.audiences import add_occurrence
from pipelines.plan import plan
from resources.lake import Lake
from resources.ledger import Ledger
from tests.pipelines.test_turn import Crash, crash_at
from tests.stage import OFFER, SETTINGS, TEMPLATES, accepted, in_parts, person, refused, template, unknown

VOUCHERS = (
    *TEMPLATES,
    template("coupon", body="Votre code : {{voucher}} !"),
    template(
        "copied",
        body="Code {{voucher}}.",
        buttons=[{"type": "COPY_CODE", "text": "Copier", "example": "ABC"}],
    ),
)
COUPON = OFFER.replace("{template: hello, language: fr}", "{template: coupon, language: fr, coupons: {pool: autumn%s}}")


def said(stage):
    return stage.rows("SELECT contact_id, reason, detail FROM skip ORDER BY contact_id")


def pool(stage, *codes, name="autumn"):
    folder = stage.path / "landing/coupons"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [code if "," in code else f"{code}," for code in codes]
    (folder / f"{name}.csv").write_text("code,expires_at\n" + "\n".join(rows) + "\n")
    return stage


def holders(stage):
    return stage.rows("SELECT code, state, contact_id FROM coupon ORDER BY code")


def shop(make_home, *codes, contacts=2, tag="", **more):
    more.setdefault("campaigns", [COUPON % tag])
    stage = pool(make_home(templates=VOUCHERS, contacts=contacts, **more), *codes)
    stage.run()
    return stage


def bodies(stage):
    rows = stage.rows("SELECT contact_id, body_file, body_row FROM message ORDER BY id")
    return {contact: stage.home.bodies.get(file, row) for contact, file, row in rows}


def test_each_gets_a_code_of_their_own_soonest_expiry_first(make_home):
    stage = shop(make_home, "Z9,", "A1,2026-12-24")
    assert holders(stage) == [("A1", "claimed", "c0"), ("Z9", "claimed", "c1")]
    assert {c: re.findall(r'"(A1|Z9)"', body) for c, body in bodies(stage).items()} == {"c0": ["A1"], "c1": ["Z9"]}


def test_the_same_code_stands_in_every_place_of_a_message(make_home):
    stage = shop(make_home, 'A"1', "Z9", campaigns=[(COUPON % "").replace("template: coupon", "template: copied")])
    assert bodies(stage)["c0"].count(r"A\"1") == 2
    assert VOUCHER not in bodies(stage)["c0"]


def test_an_exhausted_pool_skips_those_that_come_too_late(make_home):
    stage = shop(make_home, "A1")
    assert said(stage) == [("c1", "coupons_exhausted", "the pool autumn has no free code left")]
    assert stage.states() == {"planned": 1}


def test_a_pool_whose_free_codes_have_all_expired_says_so(make_home):
    stage = shop(make_home, "A1", "A2,2026-11-30", "A3,2026-12-01T12:59")
    assert said(stage) == [("c1", "coupons_expired", "every free code of the pool autumn has expired")]


def test_a_pool_that_nobody_filled_is_exhausted(make_home):
    stage = shop(make_home, "A1", campaigns=[(COUPON % "").replace("pool: autumn", "pool: spring")])
    assert {reason for _, reason, _ in said(stage)} == {"coupons_exhausted"}


def test_who_is_skipped_for_another_reason_uses_up_no_code(make_home):
    people = [person(0, opted_in="false"), person(1)]
    stage = shop(make_home, "A1", contacts=people)
    assert holders(stage) == [("A1", "claimed", "c1")]


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(refused(130472), "free"), (refused(131050), "free"), (unknown, "claimed"), (accepted, "sent")],
)
def test_a_code_comes_back_only_where_its_message_was_refused_outright(make_home, outcome, state):
    stage = shop(make_home, "A1", contacts=1)
    stage.send(outcome)
    assert stage.value("SELECT state FROM coupon") == state


def test_a_code_of_a_message_that_was_skipped_or_that_failed_after_its_tries_comes_back(make_home):
    stage = shop(make_home, "A1", "A2", contacts=2)
    for wait in (0, 3, 11, 41):
        stage.wall += wait
        stage.send(refused(131000), want=1)
    assert stage.states() == {"failed": 1, "planned": 1}
    stage.later(hours=25).turn()
    assert stage.skips() == {"too_late": 1}
    assert {state for _, state, _ in holders(stage)} == {"free"}


def test_a_code_stays_with_a_message_that_was_accepted_and_then_failed(make_home):
    stage = shop(make_home, "A1", contacts=1)
    stage.send()
    stage.status(1, "failed", code=131026).turn()
    assert holders(stage) == [("A1", "sent", "c0")]


def test_a_status_says_too_that_a_code_is_out(make_home):
    stage = shop(make_home, "A1", contacts=1)
    stage.send(unknown)
    stage.status(1, "delivered").turn()
    assert holders(stage) == [("A1", "sent", "c0")]


def test_a_copy_of_an_unknown_message_bears_the_same_code_which_never_comes_back(make_home):
    again = (COUPON % "").replace("steps:", "settings: {when_unknown: {after: 1h, then: resend}}\nsteps:")
    stage = shop(make_home, "A1", contacts=1, campaigns=[again])
    stage.send(unknown)
    stage.later(hours=2).turn()
    stage.send(refused(130472))
    assert stage.rows("SELECT copy, state FROM message ORDER BY id") == [(1, "unknown"), (2, "failed")]
    assert holders(stage) == [("A1", "claimed", "c0")]


def test_a_code_that_came_back_is_no_longer_touched_by_what_becomes_of_its_first_message(make_home):
    stage = shop(make_home, "A1", contacts=2)
    stage.send(refused(130472))
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql("DELETE FROM skip")
        tx.exec_driver_sql("UPDATE participant SET state = 'active', wake_at = 1 WHERE contact_id = 'c1'")
        tx.exec_driver_sql("UPDATE participant SET left_at = NULL, step = 'hello' WHERE contact_id = 'c1'")
    stage.turn()
    assert holders(stage) == [("A1", "claimed", "c1")]
    stage.status(1, "failed", code=130472).turn()
    assert holders(stage) == [("A1", "claimed", "c1")]


def tags(stage):
    return dict(stage.home.contacts.frame(["contact_id", "tags"]).sort("contact_id").iter_rows())


def test_the_tag_is_set_when_meta_accepts_and_only_then(make_home):
    people = [person(0, tags="vip"), person(1)]
    stage = shop(make_home, "A1", "A2", contacts=people, tag=", tag: got_coupon")
    stage.send(lambda one: accepted(one) if one.id == 1 else unknown(one))
    assert tags(stage) == {"c0": ["vip"], "c1": []}
    stage.turn()
    assert tags(stage) == {"c0": ["got_coupon", "vip"], "c1": []}
    assert not stage.turn().anything
    stage.contacts([person(0, tags="gold")]).turn()
    assert tags(stage)["c0"] == ["gold", "got_coupon"]


# -- counted links -----------------------------------------------------------------------------------------------------


def test_each_counted_link_has_a_code_of_its_own_that_leads_to_the_persons_address(make_home):
    shop_button = {"type": "URL", "text": "Acheter", "url": "https://links.example.com/r/{{1}}"}
    linked = template("linked", buttons=[shop_button])
    text = OFFER.replace(
        "{template: hello, language: fr}",
        '{template: linked, language: fr, buttons: {Acheter: {link: "https://shop.example.com/{contact_id}",'
        " variables: {contact_id: {user: contact_id}}}}}",
    )
    stage = make_home(
        settings=SETTINGS + "links: {base_url: https://links.example.com}\n",
        templates=[*TEMPLATES, linked],
        campaigns=[text],
        contacts=3,
    )
    stage.run()
    rows = stage.rows("SELECT code, button, url, m.contact_id FROM link l JOIN message m ON m.id = l.message_id")
    assert len({code for code, *_ in rows}) == 3
    for code, button, url, contact in rows:
        assert re.fullmatch("[A-Za-z0-9]{10}", code)
        assert (button, url) == ("Acheter", f"https://shop.example.com/{contact}")
        assert f'"{code}"' in bodies(stage)[contact]


# -- one code to one message -------------------------------------------------------------------------------------------


def consistent(stage):
    """Every planned message has one code, in its body too; no code has two."""
    rows = stage.rows(
        "SELECT m.id, m.contact_id, m.body_file, m.body_row, c.code, c.message_id, c.contact_id FROM message m"
        " LEFT JOIN coupon c ON c.id = m.coupon_id"
    )
    for message, contact, file, row, code, holder, whose in rows:
        assert (holder, whose) == (message, contact)
        assert re.findall(r"\bK[0-9]+\b", stage.home.bodies.get(file, row)) == [code]
    assert stage.value("SELECT count(*) FROM coupon WHERE state <> 'free'") == len(rows)
    return len(rows)


@pytest.mark.parametrize(("target", "method"), [(Ledger, "write"), (Lake, "register"), (Lake, "put")])
def test_a_crash_at_any_point_of_a_pass_gives_nobody_two_codes_and_no_code_to_two(
    make_home, monkeypatch, target, method
):
    in_parts(monkeypatch, 3)
    ended, cut = False, 0
    while not ended:
        text = COUPON % ", tag: got"
        stage = make_home(templates=VOUCHERS, contacts=8, campaigns=[text], folder=f"home{method}{cut}")
        pool(stage, *[f"K{number}" for number in range(7)])
        stage.turn()
        add_occurrence(stage.home, stage.home.project.campaigns["offer"], stage.now)
        try:
            with crash_at(target, method, cut + 1):
                stage.turn()
            ended = True
        except Crash:
            cut += 1
        stage.turn()
        assert consistent(stage) == 7
        assert stage.skips() == {"coupons_exhausted": 1}
        stage.home.close()
    assert cut > 4


def test_a_code_that_somebody_claims_at_the_same_moment_is_left_to_them(make_home, monkeypatch):
    stage = pool(make_home(templates=VOUCHERS, contacts=1, campaigns=[COUPON % ""]), "K1,2026-12-24", "K2")
    stage.turn()
    real, taken = planning.with_codes, []

    def meanwhile(*arguments):
        found = real(*arguments)
        if not taken:
            taken.append(True)
            with stage.home.ledger.write() as tx:
                tx.exec_driver_sql("UPDATE coupon SET state = 'claimed', message_id = 99 WHERE code = 'K1'")
        return found

    monkeypatch.setattr(planning, "with_codes", meanwhile)
    stage.run()
    assert holders(stage) == [("K1", "claimed", None), ("K2", "claimed", "c0")]
    assert "K2" in bodies(stage)["c0"]
    assert stage.value("SELECT count(*) FROM message") == 1


def test_a_pass_that_has_lost_its_lease_claims_nothing(make_home, monkeypatch):
    stage = pool(make_home(templates=VOUCHERS, contacts=3, campaigns=[COUPON % ""]), "K1", "K2", "K3")
    monkeypatch.setattr("pipelines.turn.plan", lambda *_: 0)
    stage.run()
    old, new = stage.lease, stage._lease("pass")
    with pytest.raises(LeaseLost):
        plan(stage.home, old, stage.now)
    assert {state for _, state, _ in holders(stage)} == {"free"}
    plan(stage.home, new, stage.now)
    plan(stage.home, new, stage.now)
    assert consistent(stage) == 3
