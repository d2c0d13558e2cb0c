"""The SQL of erasure: the one place that names every table which holds something of a person, and what becomes of it.

What others wrote about the person by hand keeps its words, without the number. Raw events are blanked as a whole.
"""

from datetime import datetime

from holdfast.db.pool import Connection, Pool

ERASED = "(erased)"

_KEY_WITHOUT = r"key = CASE WHEN position($2 IN regexp_replace(key, '\D', '', 'g')) = 0 THEN key END"
# $1: the customer.
_OF_CUSTOMER = {
    "details": "DELETE FROM consent_detail WHERE customer_id = $1",
    "contacts": "DELETE FROM contact WHERE customer_id = $1",
    "contacts_before": "DELETE FROM contact_before WHERE customer_id = $1",
    "links": "DELETE FROM reconsent_link WHERE customer_id = $1",
    "inbound_texts": "UPDATE inbound_text SET body = NULL, media = '{}', review_note = NULL WHERE customer_id = $1",
    "suppressions": "UPDATE suppression SET note = '' WHERE customer_id = $1 AND note <> ''",
}
# $1: the customer, $2: the number's digits.
_KEYED = {
    "messages": "UPDATE message SET to_phone = NULL, body = NULL, note = NULL, fingerprint = NULL, "
    f"{_KEY_WITHOUT} WHERE customer_id = $1",
    "complaints": f"UPDATE complaint SET text = NULL, answer_to = NULL, answer = NULL, {_KEY_WITHOUT} "
    "WHERE customer_id = $1",
}
# $1: the number.
_OF_NUMBER = {
    "calls": f"UPDATE call SET caller = '{ERASED}' WHERE caller = $1",
    "answers": f"UPDATE call SET answer = replace(answer, $1, '{ERASED}') WHERE position($1 IN answer) > 0",
    "legs": f"UPDATE leg SET caller_id = '{ERASED}' WHERE caller_id = $1",
    "voicemails": f"UPDATE voicemail SET caller = '{ERASED}', url = '', transcription = NULL WHERE caller = $1",
    "reports": f"UPDATE report SET text = replace(text, $1, '{ERASED}') WHERE position($1 IN text) > 0",
    "findings": f"UPDATE audit_finding SET said = replace(said, $1, '{ERASED}') WHERE position($1 IN said) > 0",
    "causes": f"UPDATE complaint SET cause = replace(cause, $1, '{ERASED}') WHERE position($1 IN cause) > 0",
}
# $1: its digits.
_OF_DIGITS = {
    "alerts": "UPDATE twilio_alert SET said = '', url = NULL "
    "WHERE position($1 IN said) > 0 OR position($1 IN coalesce(url, '')) > 0",
    "rejects": rf"UPDATE import_reject SET said = '{ERASED}' "
    r"WHERE position($1 IN regexp_replace(said, '\D', '', 'g')) > 0",
}


async def lock(db: Connection, customer_id: int) -> bool:
    """Nobody writes anything about the customer until the transaction ends. False: erased already, or never there."""
    found = await db.fetchval("SELECT erased_at IS NULL FROM customer WHERE id = $1 FOR UPDATE", customer_id)
    return bool(found)


async def hold_key(db: Connection, fingerprint: bytes) -> None:
    """Whoever comes first says with which key numbers are hashed."""
    await db.execute("INSERT INTO erasure_key (fingerprint) VALUES ($1) ON CONFLICT DO NOTHING", fingerprint)


async def forget(db: Connection, customer_id: int, phone: str, digest: bytes, now: datetime) -> dict[str, int]:
    """Rows that were blanked or deleted, by what they are; the customer keeps nothing but the hash of the number."""
    counts = {}
    await db.execute(
        "UPDATE customer SET phone = NULL, salt = NULL, zones = '{}', phone_key = $2, erased_at = $3 WHERE id = $1",
        customer_id,
        digest,
        now,
    )
    digits = phone.removeprefix("+")
    for statements, parameters in (
        (_OF_CUSTOMER, (customer_id,)),
        (_KEYED, (customer_id, digits)),
        (_OF_NUMBER, (phone,)),
        (_OF_DIGITS, (digits,)),
    ):
        for name, statement in statements.items():
            counts[name] = _count(await db.execute(statement, *parameters))
    return counts


async def blank_events(db: Connection | Pool, phone: str, after: int, page: int) -> tuple[int | None, int]:
    """Blank what holds the number of the next `page` events behind `after`: (the last of them, or None; how many)."""
    row = await db.fetchrow(
        """
        WITH page AS MATERIALIZED (SELECT seq FROM event WHERE seq > $1 ORDER BY seq LIMIT $2),
        blanked AS (
            UPDATE event SET body = '{}', headers = '{}', object_id = CASE WHEN position($4 IN object_id) = 0
                                                                      THEN object_id END
            WHERE seq IN (SELECT seq FROM page) AND provider IN ('twilio', 'holdfast')
              AND (position($3 IN body) > 0 OR position($4 IN headers::text) > 0)
            RETURNING 1
        )
        SELECT (SELECT max(seq) FROM page), (SELECT count(*) FROM blanked)
        """,
        after,
        page,
        phone.removeprefix("+").encode(),
        phone.removeprefix("+"),
    )
    assert row is not None
    return row[0], row[1]


async def blank_answers(db: Connection | Pool, phone: str) -> int:
    """Answers of the API that are kept for a day, for requests that come twice: the same request is done anew."""
    return _count(
        await db.execute(
            "DELETE FROM idempotency WHERE position($1 IN body) > 0 OR position($2 IN headers::text) > 0 "
            "OR position($2 IN key) > 0",
            phone.removeprefix("+").encode(),
            phone.removeprefix("+"),
        )
    )


async def note(db: Connection, customer_id: int, *, at: datetime, actor: str, reason: str, counts: str) -> int:
    found: int = await db.fetchval(
        "INSERT INTO erasure (customer_id, at, actor, reason, counts) VALUES ($1, $2, $3, $4, $5) RETURNING id",
        customer_id,
        at,
        actor,
        reason,
        counts,
    )
    return found


async def revive(db: Connection, customer_id: int, phone: str, salt: bytes, zones: list[str]) -> bool:
    """False: they are not erased."""
    done = await db.execute(
        """
        UPDATE customer SET phone = $2, salt = $3, phone_key = NULL, erased_at = NULL, zones = $4
        WHERE id = $1 AND erased_at IS NOT NULL
        """,
        customer_id,
        phone,
        salt,
        zones,
    )
    return done == "UPDATE 1"


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
