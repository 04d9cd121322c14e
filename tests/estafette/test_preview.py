"""`preview` and `test` of every kind of message: what is shown is what a pass would send, and nothing is used up."""

import json

import pytest

CAMPAIGN = """
name: kinds
sender: main
entries:
  - api: {attributes: [order, latitude]}
variables:
  first_name: {user: first_name, case: CapitalizeFirst, fallback: vous}
steps:
  pause: {delay: {for: 1h}, next: gift}
  gift:
    message:
      template: autumn_voucher
      language: fr
      variables: {discount: {text: "20 %"}}
      coupons: {pool: autumn}
      buttons:
        Acheter: {link: "https://shop.example.com/p/{id}?code={voucher}", variables: {id: {user: product_id}}}
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
    on_reply: {within: 1h, other: more}
  more:
    message: {text: "Voici {{tout}} :\\ncommande {order}, {first_name}.", variables: {order: {event: order}}}
"""

PEOPLE = "contact_id,phone,first_name,opted_in,product_id\nc1,0612345678,jean,true,sac à dos\n"
EVENT = json.dumps({"order": "A-7", "latitude": 48.85})


@pytest.fixture
def kinds(cli, home, box, tmp_path):
    """The campaign, whose document is one of the sandbox's, a person, and a pool with one code."""
    (home / "campaigns/kinds.yaml").write_text(CAMPAIGN.replace("DOCUMENT", f"{box.url}/_sandbox/media/document.pdf"))
    settings = (home / "estafette.yaml").read_text()
    checked = settings.replace("check: false", "check: true\n  allow_private: true")
    (home / "estafette.yaml").write_text(checked + "\nlinks: {base_url: https://go.example.com}\n")
    (home / "landing/coupons/autumn.csv").write_text("vouchers\nAUT-1\n")
    file = tmp_path / "people.csv"
    file.write_text(PEOPLE)
    assert cli("import", str(file)).code == 0
    return cli


def test_the_first_message_step_is_shown_and_other_steps_are_refused(kinds):
    assert kinds("preview", "kinds", "--contact", "c1", "--json").json["step"] == "gift"
    found = kinds("preview", "kinds", "pause", "--contact", "c1")
    assert found.code == 1
    assert "the step `pause` of kinds is a delay and sends nothing" in found.err
    assert "`gift`, `shop`, `bill`, `more`" in found.err


def test_a_coupon_is_shown_as_a_sample_and_a_counted_link_with_where_it_leads(kinds):
    found = kinds("preview", "kinds", "gift", "--contact", "c1", "--json").json
    assert found["coupon"] == {"pool": "autumn", "sample": "SAMPLE-CODE"}
    assert found["message"]["header"] == "Votre code : SAMPLE-CODE"
    assert "votre code SAMPLE-CODE vaut 20 % de remise" in found["message"]["body"]
    _, copy, buy = found["message"]["buttons"]
    assert copy["code"] == "SAMPLE-CODE"
    assert buy["url"] == "https://go.example.com/r/sample"
    assert buy["leads_to"] == "https://shop.example.com/p/sac%20%C3%A0%20dos?code=SAMPLE-CODE"
    out = kinds("preview", "kinds", "gift", "--contact", "c1").out
    assert "SAMPLE-CODE stands for a code of the pool autumn" in out
    assert "`sample` leads nowhere" in out
    rows = kinds("query", "SELECT count(*) FROM messages", "--json")
    assert rows.code == 1 or rows.json["rows"] == [[0]]


def test_a_location_is_shown_with_its_place(kinds):
    found = kinds("preview", "kinds", "shop", "--contact", "c1", "--event", EVENT, "--json").json
    assert found["message"]["header"] == "Boutique\n1 rue de la Paix\n48.85, 2.35"
    assert found["body"]["template"]["components"][0]["parameters"][0]["location"]["latitude"] == "48.85"
    nowhere = kinds("preview", "kinds", "shop", "--contact", "c1", "--event", '{"order": "A-7"}', "--json").json
    assert nowhere["skipped"]["reason"] == "missing_media"


def test_media_that_can_not_be_fetched_is_told(kinds, home, box):
    found = kinds("preview", "kinds", "bill", "--contact", "c1", "--event", EVENT, "--json").json
    assert (found["held"], found["message"]["filename"]) == (None, "Facture.pdf")
    path = home / "campaigns/kinds.yaml"
    path.write_text(path.read_text().replace("document.pdf", "gone.pdf"))
    held = kinds("preview", "kinds", "bill", "--contact", "c1", "--event", EVENT)
    assert "It would be held: media_unreachable" in held.out
    assert "gone.pdf" in held.out
    assert "HTTP 404" in held.out.replace("\n", " ")


def test_a_free_text_is_shown_as_it_would_be_said(kinds):
    found = kinds("preview", "kinds", "more", "--contact", "c1", "--event", EVENT, "--json").json
    assert (found["kind"], found["template"]) == ("text", None)
    assert found["message"]["body"] == "Voici {tout} :\ncommande A-7, Jean."
    assert found["skipped"]["reason"] == "outside_service_window"
    out = kinds("preview", "kinds", "more", "--contact", "c1", "--event", EVENT).out
    assert "no message at kinds/more now: outside_service_window" in out
    assert "commande A-7, Jean." in out


@pytest.mark.parametrize("step", ["gift", "shop", "bill"])
def test_every_kind_of_template_is_taken_by_whatsapp(kinds, box, step):
    found = kinds("test", "kinds", step, "--to", "06 98 76 54 32", "--contact", "c1", "--event", EVENT)
    assert found.code == 0, found.err
    (sent,) = box.accepted()
    assert sent["to"] == "+33698765432"


def test_a_free_text_goes_only_to_who_wrote_within_a_day(kinds, box):
    def test():
        return kinds("test", "kinds", "more", "--to", "06 98 76 54 32", "--contact", "c1", "--event", EVENT)

    refused = test()
    assert (refused.code, "131047" in refused.err) == (1, True)
    box.act("+33698765432", "reply", text="Bonjour")
    assert test().code == 0
    (sent,) = box.accepted()
    assert sent["body"]["text"]["body"] == "Voici {tout} :\ncommande A-7, Jean."
