"""The SQL of erasure: the one place that names every table which holds something of a person, and what becomes of it.

What others wrote about the person by hand keeps its words, without the number. Raw events are blanked as a whole.
"""

from datetime import datetime

from holdfast.consent.number_patterns import written
from holdfast.db.pool import Connection, Pool

Executor = Connection | Pool

ERASED = "(erased)"

# Answers to complaints of the customer $1 that were mailed (`complaints.replying`), with links in them.
_MAILED = (
    "SELECT seq FROM event WHERE provider = 'holdfast' AND event_id IN "
    "(SELECT 'complaint-' || id || '/reply' FROM complaint WHERE customer_id = $1)"
)
_KEY_WITHOUT = "key = CASE WHEN key !~ $2 THEN key END"
# $1: the customer.
_OF_CUSTOMER = {
    "details": "DELETE FROM consent_detail WHERE customer_id = $1",
    "contacts": "DELETE FROM contact WHERE customer_id = $1",
    "contacts_before": "DELETE FROM contact_before WHERE customer_id = $1",
    "links": "DELETE FROM reconsent_link WHERE customer_id = $1",
    "inbound_texts": "UPDATE inbound_text SET body = NULL, media = '{}', review_note = NULL WHERE customer_id = $1",
    "suppressions": f"UPDATE suppression SET note = '', lifted_why = CASE WHEN lifted_why IS NOT NULL THEN '{ERASED}' "
    "END WHERE customer_id = $1 AND (note <> '' OR lifted_why IS NOT NULL)",
    "settlements": f"UPDATE audit_finding SET settled_why = '{ERASED}' "
    "WHERE customer_id = $1 AND settled_why IS NOT NULL",
    "answers_mailed": f"UPDATE event SET body = '{{}}', headers = '{{}}' WHERE seq IN ({_MAILED})",
    "tries_of_mail": f"UPDATE attempt SET response = NULL, error = CASE WHEN error IS NOT NULL THEN '{ERASED}' END "
    f"WHERE delivery_id IN (SELECT id FROM delivery WHERE event_seq IN ({_MAILED}))",
    "notes_of_mail": "UPDATE done SET note = NULL WHERE stage = 2 AND note IS NOT NULL "
    f"AND ref IN (SELECT id FROM delivery WHERE event_seq IN ({_MAILED}))",
}
# $1: the customer, $2: how the number is written.
_KEYED = {
    "messages": "UPDATE message SET to_phone = NULL, body = NULL, note = NULL, fingerprint = NULL, "
    f"{_KEY_WITHOUT} WHERE customer_id = $1",
    "complaints": f"UPDATE complaint SET text = NULL, answer_to = NULL, answer = NULL, {_KEY_WITHOUT} "
    "WHERE customer_id = $1",
}
# $1: the number.
_OF_NUMBER = {
    "calls": f"UPDATE call SET caller = '{ERASED}' WHERE caller = $1",
    "legs": f"UPDATE leg SET caller_id = '{ERASED}' WHERE caller_id = $1",
    "voicemails": f"UPDATE voicemail SET caller = '{ERASED}', url = '', transcription = NULL WHERE caller = $1",
}
# $1: how the number is written.
_WRITTEN = {
    "alerts": "UPDATE twilio_alert SET said = '', url = NULL WHERE said ~ $1 OR coalesce(url, '') ~ $1",
    "rejects": f"UPDATE import_reject SET said = '{ERASED}' WHERE said ~ $1",
    "keys": "UPDATE complaint SET key = NULL WHERE key ~ $1",
}
# What people write by hand keeps its words, without the number.
_BY_HAND = {
    "call": ("answer",),
    "report": ("text",),
    "audit_finding": ("said", "settled_why"),
    "complaint": ("text", "cause", "answer", "answer_how"),
    "suppression": ("note", "lifted_why"),
    "import_batch": ("undone_why", "origin", "file"),
    "inbound_text": ("body", "review_note"),
    "lever": ("reason",),
    "silence": ("reason",),
    "alert": ("title", "why", "cause"),
    "incident": ("title", "cause"),
    "obligation": ("text",),
    "step": ("answer", "said", "draft"),
    "review": ("root_cause", "lessons", "verdict_why", "proposal"),
    "status_update": ("title", "body"),
    "ramp": ("reason", "note"),
    "erasure": ("reason",),
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
    pattern = written(phone)
    for statements, parameters in ((_OF_CUSTOMER, (customer_id,)), (_KEYED, (customer_id, pattern))):
        for name, statement in statements.items():
            counts[name] = _count(await db.execute(statement, *parameters))
    return counts | await forget_number(db, phone)


async def forget_number(db: Connection, phone: str) -> dict[str, int]:
    """What holds the number itself, whoever it is about, and whether or not its owner is a customer."""
    counts, pattern = {}, written(phone)
    for statements, value in ((_OF_NUMBER, phone), (_WRITTEN, pattern)):
        for name, statement in statements.items():
            counts[name] = _count(await db.execute(statement, value))
    for table, columns in _BY_HAND.items():
        kept = ", ".join(f"{one} = regexp_replace({one}, $1, '{ERASED}', 'g')" for one in columns)
        holds = " OR ".join(f"{one} ~ $1" for one in columns)
        counts[f"words_of_{table}"] = _count(await db.execute(f"UPDATE {table} SET {kept} WHERE {holds}", pattern))
    return counts


async def complaints(db: Executor, customer_id: int) -> tuple[list[int], list[str]]:
    """A customer's complaints, and the mailboxes that they left, as long as they are not erased."""
    rows = await db.fetch("SELECT id, answer_to FROM complaint WHERE customer_id = $1 ORDER BY id", customer_id)
    return [row[0] for row in rows], sorted({row[1] for row in rows if row[1] and "@" in row[1]})


async def blank_words(db: Executor, phone: str) -> int:
    """Texts to others that name the number keep their other words; those that wait go out as they were approved."""
    return _count(
        await db.execute(
            f"""
            UPDATE message SET body = regexp_replace(body, $1, '{ERASED}', 'g'),
                   note = regexp_replace(note, $1, '{ERASED}', 'g')
            WHERE state NOT IN ('queued', 'sending') AND (body ~ $1 OR note ~ $1)
            """,
            written(phone),
        )
    )


async def blank_events(db: Connection | Pool, phone: str, after: int, page: int) -> tuple[int | None, int]:
    """Blank what holds the number of the next `page` events behind `after`: (the last of them, or None; how many)."""
    row = await db.fetchrow(
        """
        WITH page AS MATERIALIZED (SELECT seq FROM event WHERE seq > $1 ORDER BY seq LIMIT $2),
        blanked AS (
            UPDATE event SET body = '{}', headers = '{}', object_id = CASE WHEN object_id !~ $3 THEN object_id END
            WHERE seq IN (SELECT seq FROM page) AND provider IN ('twilio', 'holdfast')
              AND (encode(body, 'escape') ~ $3 OR headers::text ~ $3)
            RETURNING 1
        )
        SELECT (SELECT max(seq) FROM page), (SELECT count(*) FROM blanked)
        """,
        after,
        page,
        written(phone),
    )
    assert row is not None
    return row[0], row[1]


async def blank_answers(db: Connection | Pool, phone: str) -> int:
    """Answers of the API that are kept for a day, for requests that come twice: the same request is done anew."""
    return _count(
        await db.execute(
            "DELETE FROM idempotency WHERE encode(body, 'escape') ~ $1 OR headers::text ~ $1 OR key ~ $1",
            written(phone),
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


async def revive(db: Connection, customer_id: int, phone: str, salt: bytes, zones: list[str]) -> None:
    """Who is not erased stays as they are."""
    await db.execute(
        """
        UPDATE customer SET phone = $2, salt = $3, phone_key = NULL, erased_at = NULL, zones = $4
        WHERE id = $1 AND erased_at IS NOT NULL
        """,
        customer_id,
        phone,
        salt,
        zones,
    )


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
