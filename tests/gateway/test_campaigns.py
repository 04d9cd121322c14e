"""The pages of campaigns: what is shown is what the ledger and the tables say, and a stop stops."""

import asyncio
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from journey import growth
from resources.hold import Restored, begin
from tests.gateway.pages import Browser, browsing, make_user
from tests.stage import OFFER, Stage, person, refused

Make = Callable[..., Stage]

JOURNEY = """
name: journey
description: <script>alert(1)</script>
sender: main
entries:
  - audience: {segment: everyone}
  - trigger: {event: ordered}
settings:
  control_group: 0%
  goals: [{event: purchase}]
steps:
  hello:
    message: {template: hello, language: fr}
    on_reply:
      within: 1d
      answers: {"Oui <b>": draw}
      other: end
      silence: wait
    on_skip: {opted_out: end, frequency_capped: wait, else: end}
  wait: {delay: {for: 2h}, next: draw}
  draw: {experiment: {a: {weight: 50, next: bye}, b: {weight: 50, next: hello}}}
  bye:
    message: {template: reminder, language: fr}
"""
DRAFT = OFFER.replace("name: offer", "name: later\ndraft: true")
TIMED = OFFER.replace("name: offer", "name: timed").replace(
    "{segment: everyone}", '{segment: everyone, when: {at: "2027-12-01 10:00"}}'
)
BROKEN = OFFER.replace("name: offer", "name: broken").replace("template: hello", "template: nothing")


def play(stage: Stage, scene: Callable[[Browser], object], role: str = "operator", **more: str) -> None:
    make_user(stage, role=role)

    async def run() -> None:
        async with browsing(stage, **more) as browser:
            await browser.log_in()
            await scene(browser)  # type: ignore[misc]

    asyncio.run(run())


def publish(stage: Stage) -> None:
    from resources.analyst_db import publish

    home = stage.home
    publish(
        home.paths,
        home.ledger,
        home.lake,
        home.contacts,
        home.project.settings,
        home.project.templates,
        now=home.clock(),
        lease=stage.lease,
        goals={name: [goal.name for goal in one.settings.goals] for name, one in home.project.campaigns.items()},
    )


def plain(html: str) -> str:
    """What a page says, without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_a_home_without_campaigns_says_what_to_do(make_home: Make) -> None:
    async def scene(browser: Browser) -> None:
        page = await browser.get("/")
        assert "No campaign yet" in page.text and "estafette check" in page.text

    play(make_home(campaigns=()), scene)


def test_a_page_of_a_campaign_that_nobody_has_entered_says_what_lets_people_in(make_home: Make) -> None:
    stage = make_home(campaigns=(OFFER, TIMED))
    stage.turn()
    publish(stage)

    async def scene(browser: Browser) -> None:
        said = plain((await browser.get("/campaigns/timed")).text)
        assert "Nobody has entered yet. Its audience enters by itself when its time comes." in said
        said = plain((await browser.get("/campaigns/offer")).text)
        assert "Nobody has entered yet. Let its audience in with: estafette run offer" in said

    play(stage, scene)


def test_the_list_says_how_each_campaign_stands_and_what_to_do_next(make_home: Make) -> None:
    stage = make_home(campaigns=(OFFER, DRAFT, BROKEN, TIMED))
    stage.turn()

    async def scene(browser: Browser) -> None:
        said = plain((await browser.get("/")).text)
        assert "enters by itself when its time comes" in said and "estafette run timed" not in said
        assert "offer live" in said and "later draft" in said and "broken has holes Its file has an error" in said
        assert "Nothing has been counted yet" in said
        assert "estafette run offer" in said and "Take draft: true out" in said
        said = plain((await browser.get("/campaigns/broken")).text)
        assert "campaigns/broken.yaml" in said and "there is no template nothing in templates/" in said

    play(stage, scene)


def test_the_list_shows_the_funnel_and_follows_what_is_published(make_home: Make) -> None:
    stage = make_home(contacts=12)
    stage.run()
    publish(stage)

    async def scene(browser: Browser) -> None:
        assert re.search(r"entered 12 messages accepted 0", plain((await browser.get("/")).text))
        stage.send()
        publish(stage)
        assert re.search(r"entered 12 messages accepted 12", plain((await browser.get("/")).text))
        assert "12 inside now" in plain((await browser.get("/")).text)

    play(stage, scene)


def test_one_campaign_is_drawn_with_the_count_of_every_way(make_home: Make) -> None:
    stage = make_home(campaigns=(JOURNEY,), contacts=9)
    stage.run("journey")
    stage.send()
    stage.says("+33600000003", "Oui <b>", at=stage.later(minutes=5).now)
    stage.says("+33600000004", "<img src=x onerror=alert(2)>", at=stage.now)
    stage.later(minutes=1).turn()
    publish(stage)

    async def scene(browser: Browser) -> None:
        page = await browser.get("/campaigns/journey")
        assert page.status_code == 200
        svg = page.text[page.text.index('<svg class="graph"') :]
        svg = svg[: svg.index("</svg>")]
        ways = {
            label: int(count)
            for label, count in re.findall(
                r'class="way-label"[^>]*>([^<]*)<.*?class="way-count"[^>]*>([\d,]+)<', svg, re.DOTALL
            )
        }
        moved = dict(stage_moves(stage))
        assert ways["audience"] == 9 and ways["event"] == 0
        assert ways["“Oui &lt;b&gt;”"] == moved[("hello", "Oui <b>")] == 1
        assert ways["other answer"] == moved[("hello", "other")] == 1
        assert ways["no answer"] == 0 and ways["next"] == 0
        assert svg.count("marker-end=") == 2 + 2 + 1 + 1 + 2  # entries, hello, its skips, wait, draw
        here = stage.value("SELECT count(*) FROM participant WHERE left_at IS NULL AND step = 'hello'")
        assert here >= 7 and f"{here} here" in svg
        said = plain(page.text)
        assert "skipped: frequency_capped" in said
        assert f"hello message {here}" in said  # the table beside the picture
        drawn = next(branch for (step, branch) in moved if step == "draw")
        assert re.search(rf"Experiments Arm .* {drawn} draw 1 ", said)

    play(stage, scene)


def stage_moves(stage: Stage) -> list[tuple[tuple[str, str], int]]:
    found: dict[tuple[str, str], int] = {}
    for _, step, branch, _ in stage.moves():
        found[step, branch] = found.get((step, branch), 0) + 1
    return list(found.items())


def test_nothing_that_a_file_or_a_person_wrote_becomes_markup(make_home: Make) -> None:
    stage = make_home(campaigns=(JOURNEY,), contacts=9)
    stage.run("journey")
    stage.send()
    stage.says("+33600000003", "Oui <b>", at=stage.later(minutes=5).now)
    stage.says("+33600000004", "<img src=x onerror=alert(2)>", at=stage.now)
    stage.later(minutes=1).turn()
    publish(stage)

    async def scene(browser: Browser) -> None:
        await browser.submit("/campaigns/journey/stop", why="<i>why</i>")
        for path in ("/", "/campaigns/journey"):
            text = (await browser.get(path)).text
            assert "&lt;script&gt;alert(1)" in text and "<script>alert" not in text
            assert "<i>why" not in text and "&lt;i&gt;why" in text
        assert "&lt;img src=x onerror" in text and "<img src=x" not in text and "<b>”" not in text

    play(stage, scene)


def test_skips_and_failures_say_what_they_mean(make_home: Make) -> None:
    rows = [{"contact_id": f"c{n}", "phone": f"06{n:08d}", "country": "FR", "opted_in": n != 1} for n in range(4)]
    stage = make_home(contacts=rows)
    stage.run()
    stage.send(refused(131026))
    stage.turn()
    publish(stage)

    async def scene(browser: Browser) -> None:
        said = plain((await browser.get("/campaigns/offer")).text)
        assert "not_opted_in hello 1 1" in said or "opted_out hello 1 1" in said
        assert "131026 hello 3 3 Undeliverable." in said
        assert "skipped" in said and "A message failed, and no on_failure leads on." in said
        browser.http.cookies.set("estafette_language", "fr")
        said = plain((await browser.get("/campaigns/offer")).text)
        assert "Messages non envoyés" in said and "Un message a échoué" in said

    play(stage, scene)


def test_an_operator_stops_and_resumes_after_a_confirmation(make_home: Make) -> None:
    stage = make_home()
    stage.run()

    async def scene(browser: Browser) -> None:
        asked = await browser.get("/campaigns/offer/stop")
        assert "Stop offer?" in asked.text and "Waiting to go out: 3" in asked.text
        assert not stage.home.stopped_campaigns()
        done = await browser.submit("/campaigns/offer/stop", why="  too   many ")
        assert (done.status_code, done.headers["location"]) == (303, "/campaigns/offer?done=stopped")
        assert stage.home.stopped_campaigns() == {"offer": "too many (stopped by olga in the pages)"}
        assert stage.send() == []
        page = (await browser.get("/campaigns/offer?done=stopped")).text
        assert "The campaign is stopped." in page and "Stopped since" in page and "/campaigns/offer/resume" in page
        stage.later(hours=2)
        assert (await browser.submit("/campaigns/offer/resume")).headers["location"] == "/campaigns/offer?done=resumed"
        assert not stage.home.stopped_campaigns()
        assert len(stage.send()) == 3

    play(stage, scene)


def test_a_sudden_crowd_waits_for_a_yes_that_the_page_gives(make_home: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "LEAST", 5)
    stage = make_home(contacts=1)
    stage.run()
    stage.contacts([person(number) for number in range(1, 12)]).later(days=1).run()

    async def scene(browser: Browser) -> None:
        page = (await browser.get("/campaigns/offer")).text
        assert "an audience of 12 is more than 10 times as large as usual (1" in page
        await browser.submit("/campaigns/offer/resume")
        stage.later(minutes=1).turn()
        assert stage.outcomes() == {"entered": 12, "already_in": 1}

    play(stage, scene)


@pytest.mark.parametrize("role", ["viewer", "agent"])
def test_who_is_no_operator_reads_and_changes_nothing(make_home: Make, role: str) -> None:
    stage = make_home()
    stage.run()

    async def scene(browser: Browser) -> None:
        page = await browser.get("/campaigns/offer")
        assert page.status_code == 200 and "/stop" not in page.text
        (csrf,) = set(re.findall(r'name="csrf" value="([^"]+)"', page.text))
        for verb in ("stop", "resume"):
            assert (await browser.get(f"/campaigns/offer/{verb}")).status_code == 403
            refused = await browser.http.post(f"/campaigns/offer/{verb}", data={"csrf": csrf})
            assert refused.status_code == 403 and "operator" in refused.text
        assert not stage.home.stopped_campaigns()

    play(stage, scene, role)


def test_a_campaign_that_there_is_not_is_a_page_that_says_so(make_home: Make) -> None:
    async def scene(browser: Browser) -> None:
        for path in ("/campaigns/nothing", "/campaigns/nothing/stop"):
            page = await browser.get(path)
            assert page.status_code == 404 and "<h1>" in page.text, path
        assert (await browser.submit("/", "/campaigns/nothing/stop", form="/logout")).status_code == 404

    play(make_home(), scene)


def test_a_campaign_whose_file_is_gone_keeps_its_numbers(make_home: Make) -> None:
    stage = make_home()
    stage.run()
    stage.send()
    publish(stage)
    (stage.path / "campaigns/offer.yaml").unlink()

    async def scene(browser: Browser) -> None:
        assert "offer file gone" in plain((await browser.get("/")).text)
        said = plain((await browser.get("/campaigns/offer")).text)
        assert "messages accepted 3" in said and "Its file is gone" in said

    play(stage, scene)


def test_settings_that_can_not_be_used_are_a_page_that_says_so(make_home: Make) -> None:
    stage = make_home()
    stage.turn()
    Path(stage.path / "estafette.yaml").write_text("region: Nowhere\n")

    async def scene(browser: Browser) -> None:
        page = await browser.get("/")
        assert page.status_code == 503 and "estafette check" in page.text and "<h1>" in page.text

    play(stage, scene)


def test_what_waits_says_why_and_a_stopped_sender_says_what_to_do(make_home: Make) -> None:
    stage = make_home()
    stage.run()
    with stage.home.ledger.write() as tx:
        tx.exec_driver_sql(
            "UPDATE sender SET stopped_at = ?, stopped_code = 131042, stopped_why = 'Payment problem'", (stage.us,)
        )
        tx.exec_driver_sql("UPDATE message SET state = 'held', held_why = 'silent_hours' WHERE id = 1")
        tx.exec_driver_sql("UPDATE message SET state = 'held', held_why = 'media_unreachable' WHERE id = 2")

    async def scene(browser: Browser) -> None:
        said = plain((await browser.get("/campaigns/offer")).text)
        assert re.search(r"silent hours 1 1 Dec 2026, 13:00", said)
        assert re.search(r"can't be fetched See that its address is public\. 1 given up from 2 Dec 2026", said)
        assert "next to go out 1" in said
        for path in ("/", "/campaigns/offer"):
            said = plain((await browser.get(path)).text)
            assert "The sender main is stopped since 1 Dec 2026, 13:00" in said and "payment method" in said
            assert "estafette resume --sender main" in said

    play(stage, scene)


def test_a_sender_whose_bulk_rests_says_since_when_and_why(make_home: Make) -> None:
    stage = make_home()
    stage.run()
    with stage.home.ledger.write() as tx:
        why = "Meta calls the number's quality RED"
        tx.exec_driver_sql("UPDATE sender SET paused_at = ?, paused_why = ?", (stage.us, why))
        tx.exec_driver_sql("UPDATE message SET state = 'held', held_why = 'messaging_limit' WHERE id = 1")

    async def scene(browser: Browser) -> None:
        said = plain((await browser.get("/campaigns/offer")).text)
        assert "Bulk messages of the sender main rest since 1 Dec 2026, 13:00" in said
        assert "Meta calls the number's quality RED" in said
        assert "estafette resume --sender main" in said
        assert "its quality is low 2" in said
        assert "the sender's messaging limit at Meta was used up Set a longer expires" in said

    play(stage, scene)


def test_what_a_restore_holds_is_said_with_the_way_on(make_home: Make) -> None:
    stage = make_home()
    stage.run()
    with stage.home.ledger.write() as tx:
        begin(tx, Restored(at=stage.us, since=stage.us - 60_000_000, lost=False), 2)

    async def scene(browser: Browser) -> None:
        for path in ("/", "/campaigns/offer"):
            said = plain((await browser.get(path)).text)
            assert "All sends are held since the restore of 1 Dec 2026, 13:00" in said
            assert "estafette resume --all" in said
        assert "they may have gone out before a restore; whoever lets the sends go decides 3" in said

    play(stage, scene)


def test_a_fault_is_a_page_for_browsers(make_home: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("gateway.campaigns._overview", broken)
    stage = make_home()

    async def scene(browser: Browser) -> None:
        browser.http._transport.raise_app_exceptions = False  # type: ignore[attr-defined]
        page = await browser.get("/", headers={"Accept": "text/html,*/*"})
        assert page.status_code == 500 and "<h1>" in page.text and "content-security-policy" in page.headers
        assert (await browser.get("/")).json()["error"].startswith("Something went wrong")

    play(stage, scene)
