"""How a ledger of an older schema becomes one of the next: one function a version, run in one transaction.

What belongs here: `MIGRATIONS[n]` takes schema n to n + 1 by plain statements on the open transaction. A released
migration is never changed.
"""

from collections.abc import Callable

import sqlalchemy as sa


def _every_journey(tx: sa.Connection) -> None:
    """1 → 2: triggers, requests, coupons, goals, links, tokens, users; two passages may begin at one moment."""
    for statement in (
        "ALTER TABLE campaign ADD COLUMN resumed_at BIGINT",
        "ALTER TABLE occurrence ADD COLUMN asked_at BIGINT",
        "ALTER TABLE message ADD COLUMN quiet_at BIGINT",
        "ALTER TABLE message ADD COLUMN window_until BIGINT",
        "ALTER TABLE message ADD COLUMN counted BOOLEAN NOT NULL DEFAULT 0",
        "ALTER TABLE message ADD COLUMN coupon_id INTEGER",
        "ALTER TABLE message ADD COLUMN market TEXT",
        "ALTER TABLE message ADD COLUMN price BIGINT",
        "ALTER TABLE message ADD COLUMN currency TEXT",
        "ALTER TABLE message ADD COLUMN price_source TEXT",
        "UPDATE message SET counted = 1 WHERE kind = 'template'",
        "CREATE INDEX message_counted ON message (planned_at, contact_id) WHERE counted",
        "ALTER TABLE message ADD COLUMN pair_tries INTEGER NOT NULL DEFAULT 0",
        "DROP INDEX message_queue",
        "CREATE INDEX message_queue ON message (sender, campaign, priority, due_at, id, quiet_at)"
        " WHERE state = 'planned'",
        "DROP INDEX message_capped",
        "CREATE INDEX message_capped ON message (contact_id, failed_at) WHERE error_code = 131049",
        "DROP INDEX message_expiry",
        "CREATE INDEX message_expiry ON message (campaign, expires_at) WHERE state IN ('planned', 'held')",
        "CREATE INDEX message_silent ON message (held_why, due_at) WHERE state = 'held' AND held_why = 'silent_hours'",
        "CREATE INDEX message_quiet ON message (quiet_at) WHERE state = 'planned' AND quiet_at IS NOT NULL",
        "CREATE INDEX message_attempts ON message (campaign, attempted_at) WHERE attempted_at IS NOT NULL",
        "CREATE INDEX message_failed ON message (campaign, attempted_at) WHERE state = 'failed'",
        "ALTER TABLE reply ADD COLUMN quoted TEXT",
        "CREATE INDEX reply_unmatched ON reply (received_at) WHERE message_id IS NULL AND quoted IS NOT NULL",
        "CREATE INDEX reply_recent ON reply (replied_at)",
        """CREATE TABLE spent (campaign TEXT NOT NULL, currency TEXT NOT NULL, amount BIGINT NOT NULL,
            PRIMARY KEY (campaign, currency))""",
        "CREATE INDEX message_again ON message (campaign) WHERE state IN ('planned', 'held') AND copy > 1",
        # SQLite changes no constraint in place: the table is made anew, and its indexes with it.
        "ALTER TABLE participant RENAME TO participant_1",
        "DROP INDEX participant_open",
        "DROP INDEX participant_due",
        "DROP INDEX ix_participant_contact_id",
        """CREATE TABLE participant (
            id INTEGER NOT NULL PRIMARY KEY, campaign TEXT NOT NULL, version TEXT NOT NULL, contact_id TEXT NOT NULL,
            "key" TEXT NOT NULL, key_name TEXT, entry TEXT NOT NULL, occurrence TEXT NOT NULL,
            priority INTEGER NOT NULL, attributes TEXT, entered_at BIGINT NOT NULL, since BIGINT NOT NULL,
            not_after BIGINT, step TEXT NOT NULL, visit INTEGER NOT NULL, arrived_at BIGINT NOT NULL, wake_at BIGINT,
            state TEXT NOT NULL, left_at BIGINT, reason TEXT,
            UNIQUE (campaign, contact_id, "key", occurrence, entered_at))""",
        """INSERT INTO participant (id, campaign, version, contact_id, "key", entry, occurrence, priority, attributes,
            entered_at, since, not_after, step, visit, arrived_at, wake_at, state, left_at, reason)
            SELECT id, campaign, version, contact_id, "key", entry, occurrence, priority, attributes, entered_at,
            entered_at, not_after, step, visit, arrived_at, wake_at, state, left_at, reason FROM participant_1""",
        "DROP TABLE participant_1",
        "CREATE INDEX ix_participant_contact_id ON participant (contact_id)",
        "CREATE UNIQUE INDEX participant_open ON participant (campaign, contact_id, key) WHERE left_at IS NULL",
        "CREATE INDEX participant_due ON participant (campaign, wake_at, step) WHERE left_at IS NULL",
        """CREATE TABLE event_cursor (name TEXT NOT NULL PRIMARY KEY, batch BIGINT NOT NULL, file_id BIGINT NOT NULL,
            position BIGINT NOT NULL DEFAULT 0)""",
        "INSERT INTO event_cursor SELECT 'entered', 0, 0, COALESCE(max(id), 0) FROM participant",
        """CREATE TABLE request (id INTEGER NOT NULL PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, campaign TEXT NOT NULL,
            kind TEXT NOT NULL, people TEXT NOT NULL, attributes TEXT NOT NULL, source TEXT NOT NULL,
            taken_at BIGINT NOT NULL, position BIGINT NOT NULL DEFAULT 0, audience_file INTEGER, asked_at BIGINT,
            done_at BIGINT, outcome TEXT, detail TEXT)""",
        "CREATE INDEX request_open ON request (id) WHERE done_at IS NULL",
        """CREATE TABLE waiting_entry (id INTEGER NOT NULL PRIMARY KEY, campaign TEXT NOT NULL, entry INTEGER NOT NULL,
            kind TEXT NOT NULL, occurrence TEXT NOT NULL, contact_id TEXT NOT NULL, event_id TEXT, request_uuid TEXT,
            "key" TEXT NOT NULL, key_name TEXT, attributes TEXT, since BIGINT NOT NULL, until BIGINT NOT NULL,
            UNIQUE (campaign, entry, occurrence, contact_id, "key"))""",
        """CREATE TABLE visited (participant_id INTEGER NOT NULL, step TEXT NOT NULL, visits INTEGER NOT NULL,
            PRIMARY KEY (participant_id, step))""",
        """CREATE TABLE met (participant_id INTEGER NOT NULL, step TEXT NOT NULL, visit INTEGER NOT NULL,
            branch INTEGER NOT NULL, event_id TEXT NOT NULL, met_at BIGINT NOT NULL,
            PRIMARY KEY (participant_id, step, visit, branch))""",
        """CREATE TABLE goal (id INTEGER NOT NULL PRIMARY KEY, campaign TEXT NOT NULL, goal TEXT NOT NULL,
            participant_id INTEGER NOT NULL, contact_id TEXT NOT NULL, arm TEXT NOT NULL, event_id TEXT NOT NULL,
            reached_at BIGINT NOT NULL, value FLOAT, UNIQUE (participant_id, goal))""",
        "CREATE INDEX ix_goal_contact_id ON goal (contact_id)",
        """CREATE TABLE coupon (id INTEGER NOT NULL PRIMARY KEY, pool TEXT NOT NULL, code TEXT NOT NULL,
            expires_at BIGINT, state TEXT NOT NULL, message_id INTEGER, contact_id TEXT, claimed_at BIGINT, tag TEXT,
            UNIQUE (pool, code))""",
        "CREATE INDEX coupon_free ON coupon (pool, expires_at, id) WHERE state = 'free'",
        "CREATE INDEX coupon_tag ON coupon (id) WHERE state = 'sent' AND tag IS NOT NULL",
        """CREATE TABLE link (code TEXT NOT NULL PRIMARY KEY, message_id INTEGER NOT NULL, button TEXT NOT NULL,
            url TEXT NOT NULL)""",
        "CREATE INDEX ix_link_message_id ON link (message_id)",
        """CREATE TABLE click (id INTEGER NOT NULL PRIMARY KEY, event_id TEXT NOT NULL UNIQUE,
            message_id INTEGER NOT NULL, participant_id INTEGER NOT NULL, campaign TEXT NOT NULL, step TEXT NOT NULL,
            contact_id TEXT NOT NULL, button TEXT NOT NULL, clicked_at BIGINT NOT NULL)""",
        "CREATE INDEX ix_click_message_id ON click (message_id)",
        "CREATE INDEX ix_click_participant_id ON click (participant_id)",
        "CREATE INDEX ix_click_contact_id ON click (contact_id)",
        """CREATE TABLE token (name TEXT NOT NULL PRIMARY KEY, hash TEXT NOT NULL UNIQUE, created_at BIGINT NOT NULL,
            revoked_at BIGINT, last_used_at BIGINT)""",
        """CREATE TABLE idempotency (request_uuid TEXT NOT NULL PRIMARY KEY, digest TEXT NOT NULL,
            met_at BIGINT NOT NULL)""",
        """CREATE TABLE user (name TEXT NOT NULL PRIMARY KEY, password TEXT NOT NULL, role TEXT NOT NULL,
            created_at BIGINT NOT NULL, disabled_at BIGINT)""",
        """CREATE TABLE session (hash TEXT NOT NULL PRIMARY KEY, user TEXT NOT NULL, csrf TEXT NOT NULL,
            created_at BIGINT NOT NULL, expires_at BIGINT NOT NULL)""",
        "CREATE INDEX ix_session_user ON session (user)",
        """CREATE TABLE login_attempt (id INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, address TEXT NOT NULL,
            tried_at BIGINT NOT NULL)""",
        "CREATE INDEX login_attempt_name ON login_attempt (name, tried_at)",
        "CREATE INDEX login_attempt_address ON login_attempt (address, tried_at)",
        """CREATE TABLE user_seen (user TEXT NOT NULL, contact_id TEXT NOT NULL, seen_at BIGINT NOT NULL,
            PRIMARY KEY (user, contact_id))""",
    ):
        tx.exec_driver_sql(statement)


def _answers(tx: sa.Connection) -> None:
    """2 → 3: what people write in the inbox; what a restore must remember; what reading again needs; campaigns in which
    an error came up; who was forgotten."""
    for statement in (
        """CREATE TABLE answer (id INTEGER NOT NULL PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, contact_id TEXT NOT NULL,
            sender TEXT NOT NULL, content TEXT NOT NULL, author TEXT NOT NULL, source TEXT NOT NULL,
            taken_at BIGINT NOT NULL, done_at BIGINT, outcome TEXT)""",
        "CREATE INDEX answer_open ON answer (id) WHERE done_at IS NULL",
        "ALTER TABLE early_status ADD COLUMN uid BIGINT",
        "CREATE INDEX early_status_uid ON early_status (uid) WHERE uid IS NOT NULL",
        "ALTER TABLE quarantine ADD COLUMN header TEXT",
        "CREATE TABLE doubt (participant_id INTEGER NOT NULL PRIMARY KEY, step TEXT NOT NULL)",
        """CREATE TABLE trouble (campaign TEXT NOT NULL PRIMARY KEY, doing TEXT NOT NULL, error TEXT NOT NULL,
            since BIGINT NOT NULL, seen_at BIGINT NOT NULL)""",
        """CREATE TABLE forgotten (hash TEXT NOT NULL PRIMARY KEY, scope TEXT NOT NULL, cause TEXT NOT NULL,
            changed_at BIGINT NOT NULL)""",
    ):
        tx.exec_driver_sql(statement)


def _limits(tx: sa.Connection) -> None:
    """2 → 3, too: what limits a sender, who else sends with its number, and what a campaign may cost."""
    for statement in (
        "ALTER TABLE campaign ADD COLUMN cost_above BIGINT",
        "ALTER TABLE campaign ADD COLUMN cost_currency TEXT",
        "ALTER TABLE sender ADD COLUMN phone_number_id TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE sender ADD COLUMN waba_id TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE sender ADD COLUMN portfolio TEXT NOT NULL DEFAULT 'main'",
        *(
            f"ALTER TABLE sender ADD COLUMN {name} {kind}"
            for name, kind in (
                ("stated_limit", "BIGINT"),
                ("messaging_limit", "BIGINT"),
                ("limit_at", "BIGINT"),
                ("display_phone", "TEXT"),
                ("quality", "TEXT"),
                ("status", "TEXT"),
                ("news_at", "BIGINT"),
                ("asked_at", "BIGINT"),
                ("paused_at", "BIGINT"),
                ("paused_until", "BIGINT"),
                ("paused_why", "TEXT"),
                ("excused", "TEXT"),
            )
        ),
        "CREATE TABLE portfolio (name TEXT NOT NULL PRIMARY KEY, people BIGINT NOT NULL, counted_at BIGINT)",
        """CREATE TABLE reached (portfolio TEXT NOT NULL, phone TEXT NOT NULL, message_id INTEGER NOT NULL,
            last_at BIGINT NOT NULL, before_at BIGINT, PRIMARY KEY (portfolio, phone))""",
        "CREATE INDEX reached_over ON reached (portfolio, last_at)",
        "ALTER TABLE sender ADD COLUMN slowed_below BIGINT NOT NULL DEFAULT 0",
        """CREATE TABLE shared_number (phone_number_id TEXT NOT NULL, installation TEXT NOT NULL,
            statuses BIGINT NOT NULL, first_at BIGINT NOT NULL, last_at BIGINT NOT NULL,
            PRIMARY KEY (phone_number_id, installation))""",
        "CREATE INDEX message_limited ON message (sender, campaign, priority, due_at, id)"
        " WHERE state = 'held' AND held_why = 'messaging_limit'",
    ):
        tx.exec_driver_sql(statement)


def _third(tx: sa.Connection) -> None:
    _answers(tx)
    _limits(tx)
    tx.exec_driver_sql("CREATE INDEX ix_idempotency_met_at ON idempotency (met_at)")  # old keys go


MIGRATIONS: dict[int, Callable[[sa.Connection], None]] = {1: _every_journey, 2: _third}
