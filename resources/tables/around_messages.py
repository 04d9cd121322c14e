"""What belongs to messages: coupon codes, counted links, money, senders with their limits, and templates on hold."""

import sqlalchemy as sa

from resources.tables.metadata import metadata

#: Coupon codes. A code belongs to one message ever: `claimed` when that is planned, `sent` when Meta accepts it, `free`
#: again only where it certainly never left. `tag` is what the receiver is still to be given; null: nothing, or done.
coupon = sa.Table(
    "coupon",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("state", sa.Text, nullable=False),  # free, claimed, sent
    sa.Column("message_id", sa.Integer),
    sa.Column("contact_id", sa.Text),
    sa.Column("claimed_at", sa.BigInteger),
    sa.Column("tag", sa.Text),
    sa.UniqueConstraint("pool", "code"),
)
sa.Index(
    "coupon_free",
    coupon.c.pool,
    coupon.c.expires_at,
    coupon.c.id,
    sqlite_where=coupon.c.state == "free",
    postgresql_where=coupon.c.state == "free",
)
sa.Index(
    "coupon_tag",
    coupon.c.id,
    sqlite_where=sa.and_(coupon.c.state == "sent", coupon.c.tag.is_not(None)),
    postgresql_where=sa.and_(coupon.c.state == "sent", coupon.c.tag.is_not(None)),
)

#: Where the code of a counted link leads. `button` is its label.
link = sa.Table(
    "link",
    metadata,
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("message_id", sa.Integer, nullable=False, index=True),
    sa.Column("button", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
)

#: One tap on a counted link, once per event of the gateway's.
click = sa.Table(
    "click",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False, unique=True),
    sa.Column("message_id", sa.Integer, nullable=False, index=True),
    sa.Column("participant_id", sa.Integer, nullable=False, index=True),
    sa.Column("campaign", sa.Text, nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("contact_id", sa.Text, nullable=False, index=True),
    sa.Column("button", sa.Text, nullable=False),
    sa.Column("clicked_at", sa.BigInteger, nullable=False),
)

#: What a campaign's accepted messages cost since it was last resumed, by their estimated prices, in millionths.
spent = sa.Table(
    "spent",
    metadata,
    sa.Column("campaign", sa.Text, primary_key=True),
    sa.Column("currency", sa.Text, primary_key=True),
    sa.Column("amount", sa.BigInteger, nullable=False),
)

#: A sender's pace and whether it may send. `pace` is the messages a second in force (AIMD under the configured one).
#: What Meta said of the number: `messaging_limit` (people in 24 hours; -1 is no limit, null: not known), as of
#: `limit_at`; `quality` and `status`, as of `news_at`. `stated_limit` is the settings' and wins. Bulk rests from
#: `paused_at` to `paused_until` (null: until the news are good), for `paused_why`; `excused` is the reason that an
#: operator said yes to.
sender = sa.Table(
    "sender",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("pace", sa.Float, nullable=False),
    sa.Column("ceiling", sa.Float, nullable=False),
    sa.Column("slowed_at", sa.BigInteger),  # wall
    sa.Column("stopped_at", sa.BigInteger),
    sa.Column("stopped_code", sa.Integer),
    sa.Column("stopped_why", sa.Text),
    sa.Column("phone_number_id", sa.Text, nullable=False, server_default=""),
    sa.Column("waba_id", sa.Text, nullable=False, server_default=""),
    sa.Column("portfolio", sa.Text, nullable=False, server_default="main"),
    sa.Column("stated_limit", sa.BigInteger),
    sa.Column("messaging_limit", sa.BigInteger),
    sa.Column("limit_at", sa.BigInteger),
    sa.Column("display_phone", sa.Text),  # digits only
    sa.Column("quality", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("news_at", sa.BigInteger),
    sa.Column("asked_at", sa.BigInteger),  # wall; when Meta was last asked for the number
    sa.Column("paused_at", sa.BigInteger),
    sa.Column("paused_until", sa.BigInteger),
    sa.Column("paused_why", sa.Text),
    sa.Column("excused", sa.Text),
    sa.Column("slowed_below", sa.BigInteger, nullable=False, server_default="0"),  # see resources.sharing
)

#: Another installation of Estafette that sends with one of our numbers, as the statuses of its messages tell.
shared_number = sa.Table(
    "shared_number",
    metadata,
    sa.Column("phone_number_id", sa.Text, primary_key=True),
    sa.Column("installation", sa.Text, primary_key=True),
    sa.Column("statuses", sa.BigInteger, nullable=False),
    sa.Column("first_at", sa.BigInteger, nullable=False),
    sa.Column("last_at", sa.BigInteger, nullable=False),
)

#: The senders that share one messaging limit. `people` is how many rows of `reached` it has; `counted_at` null: nobody
#: keeps them now, because there is no limit.
portfolio = sa.Table(
    "portfolio",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("people", sa.BigInteger, nullable=False),
    sa.Column("counted_at", sa.BigInteger),
)

#: Whom a portfolio has written to of late outside a service window: who counts for the messaging limit, until 24 hours
#: after `last_at`. `before_at` is what `last_at` was before `message_id`, which gives its place back where it certainly
#: never went out.
reached = sa.Table(
    "reached",
    metadata,
    sa.Column("portfolio", sa.Text, primary_key=True),
    sa.Column("phone", sa.Text, primary_key=True),
    sa.Column("message_id", sa.Integer, nullable=False),
    sa.Column("last_at", sa.BigInteger, nullable=False),
    sa.Column("before_at", sa.BigInteger),
)
sa.Index("reached_over", reached.c.portfolio, reached.c.last_at)

#: A template that Meta refused to send (paused, disabled): its messages are held until it is seen approved again.
template_hold = sa.Table(
    "template_hold",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("language", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("code", sa.Integer),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
)
