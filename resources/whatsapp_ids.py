"""Who wrote: WhatsApp's own ids (Meta's user id, wa_id) and phones → contacts.

What belongs here: matching what comes in from WhatsApp to contacts, keeping WhatsApp's ids with them, and making a
contact of a stranger. Every function takes and gives frames, and writes at most one file and one transaction.

The order of trust is Meta's user id, then wa_id, then the phone: a phone changes hands, Meta's ids do not. wa_id is
most often the phone's digits, but not everywhere (Brazil, Mexico, Argentina), and is missing where someone hides it.
"""

from datetime import datetime

import polars as pl

from journey.contact_rows import CONTACT
from journey.phones import stranger_id
from resources.contacts import Contacts
from resources.forgotten import bring_back
from resources.ledger import Lease

#: What is known of who wrote: `phone` in E.164; each may be null
WHO = {"user_id": pl.String(), "wa_id": pl.String(), "phone": pl.String()}


def people_of(contacts: Contacts, lease: Lease | None, who: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """`who` (WHO, and any other columns) with `contact_id`, and `phone` as the contact has it: known contacts, and new
    ones for strangers. WhatsApp's ids are kept with each. Rows without any id are left out."""
    who = who.filter(pl.any_horizontal(pl.col(name).is_not_null() for name in WHO))
    matched = ensure_strangers(contacts, lease, who)
    remember_whatsapp_ids(contacts, lease, matched)
    phones = contacts.find(ids=matched["contact_id"]).select("contact_id", own="phone")
    joined = matched.join(phones, on="contact_id", how="left", maintain_order="left")
    return joined.with_columns(phone=pl.coalesce("own", "phone")).drop("own")


def match_inbound(contacts: Contacts, who: pl.DataFrame) -> pl.DataFrame:
    """`who` (WHO, and any other columns) with `contact_id`: by Meta's user id, else wa_id, else phone; null for
    strangers. A phone is also looked for under the digits of wa_id."""
    digits = pl.when(pl.col("wa_id").str.contains("^[1-9][0-9]{6,14}$")).then(pl.lit("+") + pl.col("wa_id"))
    who = who.with_columns(digits.alias("digits"))
    known = contacts.find(
        phones=pl.concat([who["phone"], who["digits"].alias("phone")]), wa_ids=who["wa_id"], wa_user_ids=who["user_id"]
    )
    found = []
    for own, theirs in (("user_id", "wa_user_id"), ("wa_id", "wa_id"), ("phone", "phone"), ("digits", "phone")):
        name = f"\0{own}"
        keys = known.filter(pl.col(theirs).is_not_null()).unique(theirs, keep="last", maintain_order=True)
        pairs = keys.select(pl.col(theirs).alias(own), pl.col("contact_id").alias(name))
        who = who.join(pairs, on=own, how="left", maintain_order="left")
        found.append(name)
    return who.with_columns(contact_id=pl.coalesce(found)).drop(*found, "digits")


def ensure_strangers(contacts: Contacts, lease: Lease | None, who: pl.DataFrame) -> pl.DataFrame:
    """`match_inbound`, where strangers become contacts: `whatsapp:` and the phone, else Meta's user id (no phone then),
    not opted in."""
    digits = pl.when(pl.col("wa_id").str.contains("^[1-9][0-9]{6,14}$")).then(pl.lit("+") + pl.col("wa_id"))
    bring_back(contacts, lease, who.select(pl.coalesce("phone", digits)).to_series(), who["user_id"])
    matched = match_inbound(contacts, who)
    strangers = matched.filter(pl.col("contact_id").is_null())
    if strangers.is_empty():
        return matched
    known = pl.coalesce("phone", digits)
    # Somebody writes twice, and only one of the two says the phone.
    same = pl.when(pl.col("user_id").is_not_null()).then(known.drop_nulls().first().over("user_id"))
    phone = pl.coalesce(known, same)
    new = pl.lit(stranger_id("")) + pl.coalesce(phone, "user_id", "wa_id")
    made = strangers.select(
        contact_id=new, phone=phone, wa_id="wa_id", wa_user_id="user_id", opted_in=pl.lit(False), gone=pl.lit(False)
    )
    made = made.group_by("contact_id", maintain_order=True).agg(pl.all().drop_nulls().first())
    empty = pl.lit([], CONTACT["tags"])
    _write(contacts, lease, made.with_columns(tags=empty, file_tags=empty))
    return matched.with_columns(contact_id=pl.coalesce("contact_id", new))


def remember_whatsapp_ids(contacts: Contacts, lease: Lease | None, who: pl.DataFrame) -> int:
    """Keeps the newest `wa_id` and `user_id` of each `contact_id` with the contact. Gives how many contacts changed."""
    new = who.group_by("contact_id", maintain_order=True).agg(
        pl.col("wa_id").drop_nulls().last().alias("new_wa_id"),
        pl.col("user_id").drop_nulls().last().alias("new_user_id"),
    )
    known = contacts.find(ids=new["contact_id"]).join(new, on="contact_id", how="inner")
    after = known.with_columns(
        wa_id=pl.coalesce("new_wa_id", "wa_id"), wa_user_id=pl.coalesce("new_user_id", "wa_user_id")
    )
    same = known["wa_id"].eq_missing(after["wa_id"]) & known["wa_user_id"].eq_missing(after["wa_user_id"])
    changed = after.filter(~same).drop("new_wa_id", "new_user_id")
    _write(contacts, lease, changed)
    return changed.height


def _write(contacts: Contacts, lease: Lease | None, frame: pl.DataFrame) -> None:
    file = contacts.put(frame, contacts.types())
    if file is not None:
        with contacts.ledger.write(lease) as tx:
            contacts.lake.register(tx, file)


def ensure_phones(contacts: Contacts, lease: Lease | None, phones: pl.Series) -> pl.DataFrame:
    """`phone`, `contact_id`: who has each phone (E.164, each once). A phone that nobody has becomes a contact; whether
    it is opted in is for the settings' default, as for a file that says nothing."""
    asked = phones.drop_nulls().unique(maintain_order=True).alias("phone").to_frame()
    bring_back(contacts, lease, asked["phone"])
    known = contacts.find(phones=asked["phone"]).unique("phone", keep="last").select("phone", "contact_id")
    new = asked.join(known, on="phone", how="anti", maintain_order="left")
    made = new.with_columns(contact_id=pl.lit(stranger_id("")) + pl.col("phone"))
    if made.height:
        empty = pl.lit([], CONTACT["tags"])
        _write(contacts, lease, made.with_columns(tags=empty, file_tags=empty, gone=pl.lit(False)))
    return pl.concat([known, made.select("phone", "contact_id")])
