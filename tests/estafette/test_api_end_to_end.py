"""From a POST to a message on Meta's side, and from a tap to a row, through the real server and the real job."""

import threading
from collections.abc import Iterator

import httpx
import pytest
import uvicorn

from gateway.app import address, config, create_app, listen
from tests.estafette.conftest import START


@pytest.fixture
def gateway(home, cli) -> Iterator[httpx.Client]:
    """The gateway behind a real server, and a client with a token."""
    token = cli("tokens", "add", "shop", "--json").json["token"]
    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(config(create_app(home, app_secret=None, verify_token=None, clock=lambda: START)))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        headers = {"Authorization": f"Api {token}"}
        with httpx.Client(base_url=address(listening), headers=headers, trust_env=False, timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


CAMPAIGN = """
name: invited
sender: main
entries:
  - api: {attributes: [code]}
steps:
  invite:
    message:
      template: survey_invite
      language: fr
      variables: {first_name: {user: first_name, fallback: vous}}
      buttons: {BUTTON: {link: "https://shop.example.com/s?c={code}", variables: {code: {event: code}}}}
"""


def test_a_post_becomes_a_message_and_a_tap_a_row(home, cli, box, people, gateway):
    template = next(one for one in box.templates() if (one["name"], one["language"]) == ("survey_invite", "fr"))
    buttons = next(part["buttons"] for part in template["components"] if part["type"] == "BUTTONS")
    label = next(one["text"] for one in buttons if one["type"] == "URL")
    (home / "campaigns" / "invited.yaml").write_text(CAMPAIGN.replace("BUTTON", label))
    with (home / "estafette.yaml").open("a") as settings:
        settings.write('\nlinks: {base_url: "https://go.example.com"}\n')
    cli("import", *map(str, people))
    assert cli("tick").code == 0
    checked = cli("check", "invited")
    assert checked.code == 0, checked.out
    contact = cli("query", "SELECT contact_id FROM contacts WHERE opted_in ORDER BY ALL LIMIT 1", "--json")
    payload = {"users": [contact.json["rows"][0][0]], "attribute_values": {"code": "s7"}}
    asked = gateway.post("/api/journey/invited/start/external", json={"payload": payload})
    assert asked.status_code == 200, asked.text
    assert cli("tick").code == 0
    (sent,) = box.messages()
    outcome = gateway.get(f"/api/requests/{asked.json()['request_uuid']}").json()
    assert (outcome["state"], outcome["counts"]) == ("done", {"entered": 1})
    code = next(
        part["parameters"][0]["text"]
        for part in sent["body"]["template"]["components"]
        if part["type"] == "button" and part["sub_type"] == "url"
    )
    tapped = gateway.get(f"/r/{code}", follow_redirects=False)
    assert (tapped.status_code, tapped.headers["location"]) == (302, "https://shop.example.com/s?c=s7")
    assert cli("tick").code == 0
    rows = cli("query", "SELECT campaign, step, button FROM clicks", "--json").json["rows"]
    assert rows == [["invited", "invite", label]]
    assert gateway.get("/healthz").json()["last_pass_seconds"] < 600
