"""`estafette users`: a password is asked for or piped in, kept as a hash, and never an argument."""

import io

import pytest

from resources.ledger import Ledger

PASSWORD = "correct horse battery"


@pytest.fixture
def piped(cli, monkeypatch):
    def run(text: str, *arguments: str):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return cli(*arguments)

    return run


def test_a_user_is_made_with_a_piped_password_that_is_kept_as_a_hash(piped, cli, home):
    made = piped(PASSWORD + "\n", "users", "add", "alice", "--role", "agent", "--password-stdin")
    assert made.code == 0 and "may read and answer people" in made.out
    (row,) = cli("users", "list", "--json").json["users"]
    assert (row["name"], row["role"], row["removed_at"]) == ("alice", "agent", None)
    ledger = Ledger.open(home / "data/ledger.sqlite")
    with ledger.read() as tx:
        kept = tx.exec_driver_sql('SELECT password FROM "user"').scalar_one()
    ledger.close()
    assert kept.startswith("scrypt$") and PASSWORD not in kept


def test_wrong_names_roles_and_passwords_are_sentences(piped):
    for arguments, text, said in (
        (("two words", "--role", "agent"), PASSWORD, "can't name a user"),
        (("alice", "--role", "king"), PASSWORD, "there is no role `king`"),
        (("alice", "--role", "agent"), "short", "fewer than 10"),
        (("alicealice", "--role", "agent"), "alicealice", "the password is the name"),
    ):
        found = piped(text, "users", "add", *arguments, "--password-stdin")
        assert found.code == 2 and said in found.err, found.err
    assert "no terminal" in piped("", "users", "add", "alice", "--role", "agent").err
    assert "there is no user `nobody`" in piped("", "users", "remove", "nobody").err


def test_a_removed_user_stays_listed_and_the_name_may_be_given_again(piped, cli):
    add = ("users", "add", "alice", "--role", "viewer", "--password-stdin")
    assert piped(PASSWORD, *add).code == 0
    assert "there is a user `alice` already" in piped(PASSWORD, *add).err
    assert piped("another long one", "users", "password", "alice", "--password-stdin").code == 0
    assert cli("users", "remove", "alice").code == 0
    assert cli("users", "list", "--json").json["users"][0]["removed_at"]
    assert piped(PASSWORD, *add).code == 0


def test_a_home_without_users_says_how_to_make_one(cli):
    assert "estafette users add NAME --role operator" in cli("users", "list").out
