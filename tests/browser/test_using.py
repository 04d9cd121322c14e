"""People at the pages with a real browser: what they do by mouse or keyboard happens, and what is new appears."""

import re
import time

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import PASSWORD, Open, Shop
from tests.browser.shop import EVIL, PHONES


def focused(page: Page) -> str:
    return str(
        page.evaluate("document.activeElement.name || document.activeElement.id || document.activeElement.tagName")
    )


def test_somebody_logs_in_by_the_keyboard_alone(tab: Open) -> None:
    here = tab(None)
    here.expected.add(401)
    page = here.go("/login?to=/inbox")
    assert focused(page) == "name"
    page.keyboard.type("olga")
    page.keyboard.press("Tab")
    page.keyboard.type("a wrong guess")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not right")
    assert focused(page) == "password" and page.get_by_label("Name").input_value() == "olga"
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Inbox")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    assert skip.bounding_box()["y"] >= 0  # type: ignore[index]
    page.keyboard.press("Enter")
    assert focused(page) == "content"
    page.get_by_role("button", name="Log out").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")  # nothing is kept of what was seen


def test_a_conversation_is_found_read_and_then_no_longer_new(tab: Open) -> None:
    page = tab("vera").go("/inbox")
    row = page.get_by_role("link").filter(has_text="Karim Benali")
    expect(row.locator(".badge.new")).to_have_text(re.compile("1"))
    gone = page.get_by_role("link").filter(has_text="Zoé")
    expect(gone).to_contain_text("opted out of everything")
    page.get_by_role("link", name="Waiting for an answer").click()
    expect(page.locator(".conversations li")).to_have_count(1)  # whoever wrote STOP waits for nothing
    expect(gone).to_have_count(0)
    page.get_by_role("link", name="Open window").click()
    page.get_by_role("searchbox").fill("benali")
    page.get_by_label("Campaign").select_option("spring")
    page.get_by_role("button", name="Find").click()
    expect(page.locator(".conversations li")).to_have_count(1)
    assert "show=open" in page.url and "campaign=spring" in page.url
    row.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Karim Benali")
    asked = page.locator(".thread .ours").first
    expect(asked).to_contain_text("Bonjour Karim, content de vous revoir.")
    expect(asked).to_contain_text("STOP pour arrêter")
    expect(asked.get_by_role("link", name="Voir")).to_have_attribute("href", "https://shop.example.com/printemps")
    expect(asked).to_contain_text("read · 13:01")
    expect(page.locator(".thread .reply")).to_contain_text("Je veux <script>")
    page.get_by_role("link", name="Inbox", exact=True).first.click()
    expect(row.locator(".badge.new")).to_have_count(0)


def test_a_message_and_a_mark_appear_by_themselves(tab: Open, shop: Shop) -> None:
    stage = shop.stage
    inbox, thread = tab("olga").go("/inbox"), tab("olga").go("/inbox/c11")
    expect(thread.locator(".ours").last).to_contain_text("✓ sent")
    row = inbox.get_by_role("link").filter(has_text="Max Muster")
    row.focus()
    (sent,) = stage.rows("SELECT id FROM message WHERE contact_id = 'c11' AND campaign = 'offer'")
    stage.later(minutes=1).status(sent[0], "delivered").turn()
    expect(thread.locator(".ours").last).to_contain_text("✓✓ delivered")
    expect(row).to_contain_text("✓✓")
    expect(row).to_be_focused()
    stage.later(minutes=1).says(PHONES[11], f"Encore là ? {EVIL}").turn()
    expect(thread.locator(".reply").last).to_contain_text("Encore là ? <script>")
    expect(thread.get_by_role("status").first).to_have_text("There is something new.")
    expect(inbox.locator(".conversations li").first).to_contain_text("Encore là ?")


def test_an_agent_answers_and_sees_what_became_of_it(tab: Open, shop: Shop) -> None:
    stage = shop.stage
    page = tab("anna").go("/inbox/c1")
    box = page.get_by_label("What you write")
    box.fill(f"Avec plaisir. {EVIL}")
    box.press("Control+Enter")
    expect(page.get_by_text("Taken. It goes out with the next pass")).to_be_visible()
    stage.later(minutes=1).turn()
    stage.send()
    last = page.locator(".thread .ours").last
    expect(last).to_contain_text("Avec plaisir. <script>")
    expect(last).to_contain_text("anna")
    expect(page.get_by_text("Taken. It goes out")).to_have_count(0)
    assert stage.rows("SELECT author, state FROM message WHERE author = 'anna'") == [("anna", "accepted")]


def test_what_is_being_written_stays_when_something_new_comes(tab: Open, shop: Shop) -> None:
    page = tab("anna").go("/inbox/c2")
    box = page.get_by_label("What you write")
    box.fill("Je regarde")
    shop.stage.later(minutes=1).says(PHONES[2], "Et la livraison ?").turn()
    expect(page.locator(".reply").last).to_contain_text("Et la livraison ?")
    assert box.input_value() == "Je regarde"
    expect(box).to_be_focused()


def test_outside_the_window_a_template_is_chosen_by_the_keyboard(tab: Open, shop: Shop) -> None:
    page = tab("anna").go("/inbox/c9")
    expect(page.get_by_text("WhatsApp takes only a template")).to_be_visible()
    choice = page.get_by_label("Template")
    choice.focus()
    for _ in range(2):  # looking through the list takes nobody away from it
        page.keyboard.press("ArrowDown")
    expect(choice).to_be_focused()
    expect(choice).to_have_value("hello/fr")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text("Taken. It goes out with the next pass")).to_be_visible()


def test_an_operator_stops_and_resumes_a_campaign_after_a_question(tab: Open, shop: Shop) -> None:
    page = tab("olga").go("/campaigns/offer")
    page.get_by_role("link", name="Stop").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Stop offer?")
    page.get_by_role("link", name="Cancel").click()
    assert shop.stage.home.stopped_campaigns() == {}
    page.get_by_role("link", name="Stop").click()
    page.get_by_label("Why").fill(f"Trop tôt {EVIL}")
    page.get_by_role("button", name="Stop this campaign").click()
    expect(page.get_by_role("status")).to_have_text("The campaign is stopped.")
    expect(page.locator(".note.bad", has_text="Stopped since")).to_contain_text("Trop tôt <script>")
    assert list(shop.stage.home.stopped_campaigns()) == ["offer"]
    page.get_by_role("link", name="Resume").click()
    page.get_by_role("button", name="Resume this campaign").click()
    expect(page.get_by_role("status")).to_have_text("The campaign goes on.")
    assert shop.stage.home.stopped_campaigns() == {}


def test_a_viewer_has_nothing_to_press(tab: Open) -> None:
    here = tab("vera")
    for path in ("/", "/campaigns/spring", "/inbox/c1"):
        page = here.go(path)
        buttons = page.get_by_role("button").all_inner_texts()
        assert buttons == ["Log out"], path
        assert page.locator("main form, main a[href$='/stop'], main a[href$='/resume']").count() == 0
    assert "Log in" not in here.go("/campaigns/spring/stop", 403).title()


def test_a_campaigns_page_renews_itself_and_keeps_what_was_opened(tab: Open, shop: Shop) -> None:
    here = tab("olga")
    here.page.clock.install()
    page = here.go("/campaigns/offer")
    page.locator(".journey summary").first.click()
    page.get_by_label("Fit the whole picture in").check()
    expect(page.locator(".badge").first).to_have_text("live")
    with shop.stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = ?, stopped_why = 'seen' WHERE name = 'offer'", (1,))
    page.clock.fast_forward(21_000)
    expect(page.locator(".badge").first).to_have_text("stopped")
    expect(page.locator(".journey details").first).to_have_attribute("open", "")
    expect(page.get_by_label("Fit the whole picture in")).to_be_checked()
    expect(page.get_by_label("Fit the whole picture in")).to_be_focused()
    with shop.stage.home.ledger.write() as tx:
        tx.exec_driver_sql("UPDATE campaign SET stopped_at = NULL, stopped_why = NULL WHERE name = 'offer'")


def test_a_page_that_is_left_open_shows_nothing_any_more_once_the_log_in_is_over(tab: Open) -> None:
    here = tab("vera")
    here.expected.add(503)
    here.page.clock.install()
    slow: list[Route] = []

    def refuse(route: Route) -> None:
        route.fulfill(status=503)
        time.sleep(0.3)
        slow.pop().continue_()

    here.page.route(re.compile("composer"), lambda route: slow.append(route))  # the page is whole only after that
    here.page.route("**/inbox/events*", refuse, times=1)
    page = here.go("/inbox/c1")
    expect(page.get_by_role("heading", level=1)).to_have_text("Élodie Durand")  # refused, but logged in
    page.context.clear_cookies()
    page.clock.fast_forward(31_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    assert all("EventSource" in one for one in here.complaints)  # the log-in came where news were wanted
    here.complaints.clear()


def test_a_language_is_chosen_on_the_page_where_one_is(tab: Open) -> None:
    page = tab("vera").go("/inbox?q=benali")
    page.get_by_role("link", name="FR").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Conversations")
    assert page.url.endswith("/inbox?q=benali") and page.locator("html").get_attribute("lang") == "fr"


def test_the_pages_do_without_scripts(tab: Open, shop: Shop) -> None:
    page = tab("anna", java_script_enabled=False).page
    page.goto(f"{shop.base}/inbox")
    page.get_by_role("link").filter(has_text="+33612345678").click()
    page.get_by_label("What you write").fill("Sans script")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_text("Taken. It goes out with the next pass")).to_be_visible()
    page.get_by_role("link", name="Campaigns", exact=True).click()
    expect(page.get_by_role("heading", name="spring")).to_be_visible()
