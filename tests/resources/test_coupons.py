"""Coupons: pools from files, and what becomes of a code."""

from zoneinfo import ZoneInfo

import pytest

from resources import coupons
from resources.coupon_intake import take_in_coupons
from resources.ledger import Ledger

HOUR = 3_600_000_000


def pool(stage, text, name="autumn.csv"):
    folder = stage.path / "landing/coupons"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f".{name}").write_text(text)
    (folder / f".{name}").rename(folder / name)
    return stage


def codes(stage, columns="code"):
    return stage.rows(f"SELECT {columns} FROM coupon ORDER BY id")


def took(stage):
    (one,) = stage.turn().taken.coupons
    return (one.rows, one.new, one.unchanged, one.quarantined)


@pytest.mark.parametrize("header", ["vouchers", "Vouchers", "CODE", '"code "'])
def test_a_file_becomes_a_pool_of_its_name(make_home, header):
    stage = pool(make_home(), f"{header}\nA1\nA2\n")
    assert took(stage) == (2, 2, 0, 0)
    assert codes(stage, "pool, code, state, message_id") == [
        ("autumn", "A1", "free", None),
        ("autumn", "A2", "free", None),
    ]


def test_duplicates_within_the_file_and_with_the_pool_are_dropped_and_counted(make_home):
    stage = pool(make_home(), "code\nA1\nA1\nA2\n")
    assert took(stage) == (3, 2, 1, 0)
    pool(stage, "code\nA2\nA3\na1\n")
    assert took(stage) == (3, 2, 1, 0)
    assert codes(stage) == [("A1",), ("A2",), ("A3",), ("a1",)]


def test_the_same_code_may_be_in_two_pools(make_home):
    stage = pool(make_home(), "code\nA1\n")
    pool(stage, "code\nA1\n", "spring.csv").turn()
    assert codes(stage, "pool, code") == [("autumn", "A1"), ("spring", "A1")]


def test_a_file_read_again_changes_nothing(make_home):
    stage = pool(make_home(), "code\nA1\nbad,row\nA2\n")
    stage.turn()
    before = codes(stage, "*"), stage.rows("SELECT * FROM quarantine")
    pool(stage, "code\nA1\nbad,row\nA2\n").turn()
    assert (codes(stage, "*"), stage.rows("SELECT * FROM quarantine")) == before


def test_rows_that_hold_no_code_are_put_aside_with_their_line_and_the_others_count(make_home):
    long = "A" * 21
    text = f"vouchers;expires_at\nA1;2026-12-31\n;2026-12-31\n{long};\nA2;soon\nA\tB;\nA3;2027-01-15T18:00+01:00\n"
    stage = pool(make_home(), text)
    assert took(stage) == (6, 2, 0, 4)
    assert stage.rows("SELECT file, line, reason FROM quarantine ORDER BY line") == [
        ("coupons/autumn.csv", 3, "there is no code"),
        ("coupons/autumn.csv", 4, "the code has more than 20 characters, and WhatsApp takes no more"),
        ("coupons/autumn.csv", 5, "`expires_at` is no date; write e.g. 2026-12-31 or 2026-12-31T18:00"),
        ("coupons/autumn.csv", 6, "the code holds a tab, a line end or a run of spaces, which WhatsApp refuses"),
    ]


def test_a_date_alone_counts_to_the_end_of_its_day_in_the_settings_zone(make_home):
    stage = pool(make_home(), "Code,Expires at\nA1,2026-12-01\nA2,2026-12-01T18:00\nA3,2026-12-01T18:00Z\nA4,\n")
    stage.turn()  # noon UTC, which is 13:00 in Paris
    ends = [None if at is None else (at - stage.us) / HOUR for (at,) in codes(stage, "expires_at")]
    assert ends == [11, 5, 6, None]


def test_a_file_without_a_column_of_codes_is_put_aside_and_read_again_when_it_changes(make_home):
    stage = pool(make_home(), "voucher\nA1\n")
    stage.turn()
    assert stage.rows("SELECT line, reason FROM quarantine") == [
        (0, "the file can't be read: it has no column `vouchers` or `code`")
    ]
    pool(stage, "vouchers\nA1\n").turn()
    assert codes(stage) == [("A1",)]


def test_codes_may_come_as_ndjson_that_grows_and_as_parquet(make_home, tmp_path):
    import polars as pl

    stage = pool(make_home(), '{"code": "A1", "expires_at": "2026-12-31"}\n{"code": 12}\n', "autumn.ndjson")
    pl.DataFrame({"vouchers": ["B1", "B2"]}).write_parquet(stage.path / "landing/coupons/autumn.parquet")
    stage.turn()
    with (stage.path / "landing/coupons/autumn.ndjson").open("a") as file:
        file.write('{"code": "A3"}\n')
    stage.turn()
    assert sorted(codes(stage)) == [("12",), ("A1",), ("A3",), ("B1",), ("B2",)]


def test_a_crash_between_any_two_transactions_of_a_large_file_changes_nothing(make_home, monkeypatch):
    stage = pool(make_home(), "code\n" + "\n".join(f"A{n}" for n in range(12_000)) + "\n")
    real, calls = Ledger.write, [0]

    class Crash(BaseException):
        pass

    def cut(self, *args):
        calls[0] += 1
        if calls[0] == 2:
            raise Crash
        return real(self, *args)

    arguments = (stage.home.landing, ZoneInfo("Europe/Paris"), stage.lease, stage.now, stage.wall)
    monkeypatch.setattr(Ledger, "write", cut)
    with pytest.raises(Crash):
        take_in_coupons(*arguments)
    monkeypatch.undo()
    assert stage.value("SELECT count(*) FROM coupon") == 5_000
    take_in_coupons(*arguments)
    assert stage.value("SELECT count(*) FROM coupon") == 12_000
    assert take_in_coupons(*arguments) == []


# -- which code is next ------------------------------------------------------------------------------------------------

SOME = "code,expires_at\nlast,\nlater,2026-12-24\nover,2026-11-30\nsoon,2026-12-02\nsoon too,2026-12-02\n"


def test_codes_go_out_soonest_expiry_first_then_as_they_came_in(make_home):
    stage = pool(make_home(), SOME)
    stage.turn()
    with stage.home.ledger.read() as tx:
        assert [code for _, code in coupons.free_codes(tx, "autumn", 9, stage.us)] == [
            "soon",
            "soon too",
            "later",
            "last",
        ]
        assert [code for _, code in coupons.free_codes(tx, "autumn", 3, stage.us)] == ["soon", "soon too", "later"]
        assert coupons.free_codes(tx, "nowhere", 3, stage.us) == []
        assert coupons.left(tx, "autumn", stage.us) == coupons.Left(free=4, expired=1, total=5)


def test_the_next_codes_are_found_in_the_order_of_an_index(make_home):
    stage = make_home()
    for query, params in ((coupons._ENDING, ("autumn", 1, 5)), (coupons._ENDLESS, ("autumn", 5))):
        plan = " ".join(str(row[-1]) for row in stage.rows(f"EXPLAIN QUERY PLAN {query}", *params))
        assert "coupon_free" in plan
        assert "TEMP B-TREE" not in plan
