"""Every kind of message through real passes: what WhatsApp's stand-in takes is what the ledger says."""

import json

import pytest

from resources.home import open_home

CAMPAIGN = """
name: kinds
sender: main
entries:
  - api: {attributes: [order, latitude]}
variables:
  first_name: {user: first_name, case: CapitalizeFirst}
steps:
  gift:
    message:
      template: autumn_voucher
      language: fr
      variables: {discount: {text: "20 %"}}
      coupons: {pool: autumn, tag: got_one}
      buttons:
        Acheter: {link: "https://shop.example.com/p/{id}?code={voucher}", variables: {id: {user: product_id}}}
    on_reply: {within: 1h, other: more}
  more:
    message: {text: "Voici {{tout}} :\\ncommande {order}, {first_name}.", variables: {order: {event: order}}}
    next: shop
  shop:
    message:
      template: store_location
      language: fr
      header: {location: {latitude: {event: latitude}, longitude: 2.35, name: Boutique, address: "1 rue de la Paix"}}
      variables: {1: {event: order}}
    next: bill
  bill:
    message:
      template: invoice
      language: fr
      header: {document: {url: "DOCUMENT", filename: "Facture.pdf"}}
      variables: {1: {text: Camille}, 2: {event: order}}
"""
PEOPLE = """contact_id,phone,first_name,opted_in,product_id
c1,0612345678,jean,true,sac
c2,0612345679,ana,true,
"""
MINUTES = [f"2026-10-05T08:{minute:02d}:00Z" for minute in range(1, 10)]


@pytest.fixture
def kinds(cli, home, box, tmp_path):
    (home / "campaigns/kinds.yaml").write_text(CAMPAIGN.replace("DOCUMENT", f"{box.url}/_sandbox/media/document.pdf"))
    settings = (home / "estafette.yaml").read_text()
    checked = settings.replace("check: false", "check: true\n  allow_private: true")
    (home / "estafette.yaml").write_text(checked + "\nlinks: {base_url: https://go.example.com}\n")
    (home / "landing/coupons/autumn.csv").write_text("vouchers\nAUT-1\nAUT-2\n")
    file = tmp_path / "people.csv"
    file.write_text(PEOPLE)
    assert cli("import", str(file)).code == 0
    return cli


def test_one_person_gets_a_code_a_text_a_place_and_a_document(kinds, home, box):
    asked = {"campaign": "kinds", "request_uuid": "r1", "users": ["c1", "c2"]}
    asked["attribute_values"] = {"order": "A-7", "latitude": "48.85"}
    (home / "landing/requests/one.ndjson").write_text(json.dumps(asked) + "\n")
    log = home / "landing/webhooks/log.ndjson"

    def tick(minute):
        box.turn(MINUTES[minute])
        bodies = [json.dumps(one["body"]) for one in box.http.get("/_sandbox/webhooks?limit=1000").json()["data"]]
        log.write_text("".join(f"{line}\n" for line in bodies))
        found = kinds("tick", now=MINUTES[minute])
        assert found.code == 0, found.err

    tick(0)
    (gift,) = box.accepted()
    header, body, link, copy = sorted_components(gift["body"])
    assert [one["text"] for one in header + body if one.get("parameter_name") == "voucher"] == ["AUT-1"] * 2
    assert copy == [{"type": "coupon_code", "coupon_code": "AUT-1"}]
    with open_home(home) as opened, opened.ledger.read() as tx:
        (row,) = tx.exec_driver_sql("SELECT code, button, url FROM link").all()
        skips = [tuple(one) for one in tx.exec_driver_sql("SELECT contact_id, reason FROM skip").all()]
        coupons = [tuple(one) for one in tx.exec_driver_sql("SELECT code, state FROM coupon ORDER BY code").all()]
    assert tuple(row) == (link[0]["text"], "Acheter", "https://shop.example.com/p/sac?code=AUT-1")
    assert skips == [("c2", "missing_variable")]
    assert coupons == [("AUT-1", "sent"), ("AUT-2", "free")]

    box.act("+33612345678", "reply", text="Volontiers")
    for minute in range(1, 6):
        tick(minute)
    text, place, bill = [one["body"] for one in box.accepted()[1:]]
    assert text["text"] == {"preview_url": False, "body": "Voici {tout} :\ncommande A-7, Jean."}
    location = place["template"]["components"][0]["parameters"][0]["location"]
    assert location == {"latitude": "48.85", "longitude": "2.35", "name": "Boutique", "address": "1 rue de la Paix"}
    document = bill["template"]["components"][0]["parameters"][0]["document"]
    assert document == {"link": f"{box.url}/_sandbox/media/document.pdf", "filename": "Facture.pdf"}


def sorted_components(body):
    """Header, body and buttons by index: the parameters of each."""
    components = body["template"]["components"]
    buttons = sorted((one for one in components if one["type"] == "button"), key=lambda one: one["sub_type"] != "url")
    rest = [next(one for one in components if one["type"] == kind) for kind in ("header", "body")]
    return [one["parameters"] for one in [*rest, *buttons]]
