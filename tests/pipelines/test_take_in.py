"""Taking in: what lies in the landing zone may be anything, and costs nobody else anything."""

import random

import pytest

KINDS = ("contacts", "events", "coupons", "requests", "webhooks")
ENDINGS = ("csv", "ndjson", "parquet", "json", "txt", "xlsx", "")


def test_a_file_whose_header_is_none_is_put_aside_and_the_others_come_in(make_home):
    stage = make_home()
    for kind in ("contacts", "events", "coupons"):
        folder = stage.path / "landing" / kind
        folder.mkdir(exist_ok=True)
        (folder / "mac.csv").write_bytes(b"phone,vouchers\r0612345678,A1\r")
    (stage.path / "landing/coupons/autumn.csv").write_text("vouchers\nA1\n")
    stage.turn()
    reason = (
        "the file can't be read: line 1 should be its header: it holds a carriage return outside quotes."
        " Save it as CSV with a header row and ordinary line ends"
    )
    assert stage.rows("SELECT file, line, reason FROM quarantine ORDER BY file") == [
        (f"{kind}/mac.csv", 0, reason) for kind in ("contacts", "coupons", "events")
    ]
    assert stage.rows("SELECT pool, code FROM coupon") == [("autumn", "A1")]
    assert stage.home.contacts.count() == 3


@pytest.mark.parametrize("seed", range(4))
def test_no_garbage_in_the_landing_zone_ends_a_pass(make_home, seed):
    stage, chance = make_home(), random.Random(seed)
    heads = (
        b"",
        b"contact_id,phone\n",
        b"vouchers\n",
        b"event,contact_id,occurred_at\n",
        b"PAR1",
        b"{",
        b"\xef\xbb\xbf",
        b"\n",
    )
    for kind in KINDS:
        folder = stage.path / "landing" / kind
        folder.mkdir(exist_ok=True)
        for number, ending in enumerate(ENDINGS):
            body = chance.choice(heads) + chance.randbytes(chance.choice((0, 1, 20, 3000)))
            (folder / f"x{number}.{ending}").write_bytes(body)
    stage.turn()
    stage.turn()
    assert stage.home.contacts.count() >= 3
