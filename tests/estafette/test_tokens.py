"""`estafette tokens`: a token is shown once, kept as a hash, named, and ends when it is revoked."""

import hashlib

from resources.ledger import Ledger


def test_a_token_is_shown_once_and_kept_as_a_hash(cli, home):
    made = cli("tokens", "add", "shop")
    token = made.out.strip()
    assert made.code == 0 and token.startswith("est_") and len(token) > 40
    assert "shown this once" in made.err
    listed = cli("tokens", "list", "--json")
    (row,) = listed.json["tokens"]
    assert (row["name"], row["revoked_at"], row["last_used_at"]) == ("shop", None, None)
    assert row["created_at"].startswith("2026-10-05T08:00:00")
    assert token not in listed.out
    ledger = Ledger.open(home / "data/ledger.sqlite")
    with ledger.read() as tx:
        kept = tx.exec_driver_sql("SELECT * FROM token").one()
    ledger.close()
    assert hashlib.sha256(token.encode()).hexdigest() in kept and token not in kept


def test_several_tokens_are_told_apart_by_name(cli):
    one, other = (cli("tokens", "add", name, "--json").json["token"] for name in ("shop", "crm"))
    assert one != other
    assert [row["name"] for row in cli("tokens", "list", "--json").json["tokens"]] == ["crm", "shop"]
    found = cli("tokens", "add", "shop")
    assert found.code == 2 and "there is a token `shop` already" in found.err


def test_a_revoked_token_stays_listed_and_its_name_may_be_given_again(cli):
    first = cli("tokens", "add", "shop", "--json").json["token"]
    assert cli("tokens", "revoke", "shop").out.strip() == "shop is revoked."
    assert cli("tokens", "revoke", "shop", "--json").json["already"] is True
    assert cli("tokens", "list", "--json").json["tokens"][0]["revoked_at"]
    assert cli("tokens", "add", "shop", "--json").json["token"] != first
    assert cli("tokens", "list", "--json").json["tokens"][0]["revoked_at"] is None


def test_wrong_names_are_sentences(cli):
    for name in ("", "two words", "x" * 65, "-a", "é"):
        found = cli("tokens", "add", "--", name) if name.startswith("-") else cli("tokens", "add", name)
        assert found.code == 2, name
    found = cli("tokens", "revoke", "nobody")
    assert found.code == 2 and "there is no token `nobody`" in found.err


def test_people_see_a_table_or_what_to_do(cli):
    assert "estafette tokens add NAME" in cli("tokens", "list").out
    cli("tokens", "add", "shop")
    assert "shop" in cli("tokens", "list").out
