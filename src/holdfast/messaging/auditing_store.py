"""The SQL of the audit: texts that went out are compared with the ledger, the suppressions and Twilio's list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import asyncpg

from holdfast.consent.store import APPLYING_THEN, LATEST
from holdfast.db.pool import Connection, Pool
from holdfast.twilio.model import TwilioText

Executor = Connection | Pool
FindingKind = Literal["no_consent", "bypassed", "after_stop"]
SAID: Final[Mapping[str, str]] = {
    "no_consent": "without a consent that covers them",
    "after_stop": "after the person had stopped them",
    "bypassed": "around the gate",
}
"""Of each kind: how the texts went out."""

_APPLYING: Final = APPLYING_THEN.format(
    merchant="sent.merchant_id", purpose="sent.purpose", at="sent.tried_at - $3::interval"
)
_ANSWERED_WITHIN: Final = timedelta(minutes=10)
"""How long after a text from a person an answer of ours to it may be listed."""
_WHOLE_SECONDS: Final = timedelta(seconds=1)
"""Twilio's times have no fractions."""
_NEAR: Final = timedelta(minutes=15)
"""How far apart our try and Twilio's time of the same text may be."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A text that should not have gone out. `subject`: Twilio's sid of it, or message:ID. `said`: no person's number.

    `is_critical`: the person had stopped it.
    """

    id: int
    kind: FindingKind
    subject: str
    merchant_id: int
    customer_id: int | None
    message_id: int | None
    sent_at: datetime
    found_at: datetime
    said: str
    is_critical: bool
    settled_at: datetime | None
    settled_by: str | None
    settled_why: str | None


@dataclass(frozen=True, slots=True)
class Which:
    """Open findings: of a kind, a merchant, and of texts that an import's consents allowed. None: of any."""

    kind: FindingKind | None = None
    merchant_id: int | None = None
    batch_id: int | None = None


_SENT = """
    sent AS MATERIALIZED (
        SELECT id, merchant_id, customer_id, purpose, consent_seq, tried_at FROM message
        WHERE tried_at > $1 AND tried_at <= $2 AND kind = 'text' AND state IN ('sending', 'sent')
    )
"""


_WRITTEN: Final = "'YYYY-MM-DD HH24:MI:SS\"Z\"'"
# Of a suppression: whether it kept this merchant's texts from the person at that time. When it began to except a
# merchant is told by the consent of the person's own that it came with.
_BLOCKED: Final = """
    (suppression.lifted_at IS NULL OR suppression.lifted_at > {at})
    AND (suppression.merchant_id = {merchant}
         OR suppression.merchant_id = 0 AND NOT ({merchant} = ANY(suppression.excepted) AND EXISTS (
             SELECT FROM consent WHERE consent.customer_id = {person} AND consent.merchant_id = {merchant}
               AND consent.action = 'grant' AND consent.source IN ('opt-in-message', 'link')
               AND consent.given_at >= suppression.made_at AND consent.given_at <= {at})))
"""


async def sent(db: Executor, since: datetime, until: datetime) -> int:
    found: int = await db.fetchval(f"WITH {_SENT} SELECT count(*) FROM sent", since, until)
    return found


async def without_consent(db: Executor, since: datetime, until: datetime, grace: timedelta, now: datetime) -> list[int]:
    """Keep findings of texts tried in the time that no consent covered; returns the ids of new ones.

    The row that decided must be a grant of this person to this merchant for this purpose, and a grant must have held
    as far as was known when it was tried. `grace`: what was written less long before may have been written after.
    """
    rows = await db.fetch(
        f"""
        WITH {_SENT},
        looked AS (
            SELECT sent.*, CASE
                WHEN sent.consent_seq IS NULL THEN 'no row of the ledger decided that it may be sent'
                WHEN decided.seq IS NULL THEN 'the row of the ledger that decided is not there'
                WHEN decided.customer_id <> sent.customer_id THEN 'the row that decided is another person''s'
                WHEN decided.merchant_id <> sent.merchant_id THEN 'the row that decided is another merchant''s'
                WHEN decided.action <> 'grant' THEN 'the row that decided is a revocation'
                WHEN decided.channel <> 'text' THEN 'the row that decided is of another channel'
                WHEN decided.purpose <> sent.purpose AND decided.purpose <> 'marketing'
                    THEN 'the row that decided is of another purpose'
                WHEN sent.purpose = 'marketing' AND decided.disclosure_id IS NULL
                    THEN 'the row that decided has no disclosure that the person was shown'
                WHEN decided.given_at > sent.tried_at THEN 'the row that decided was given later'
                WHEN latest.action IS DISTINCT FROM 'grant' THEN 'the consent had been taken back before'
            END AS why
            FROM sent
            LEFT JOIN consent AS decided ON decided.seq = sent.consent_seq
            LEFT JOIN LATERAL (
                SELECT action FROM consent
                WHERE consent.customer_id = sent.customer_id AND {_APPLYING} AND consent.given_at <= sent.tried_at
                  AND (consent.action = 'grant' OR consent.recorded_at <= sent.tried_at - $3::interval)
                ORDER BY {LATEST} LIMIT 1
            ) AS latest ON true
        )
        INSERT INTO audit_finding (kind, subject, merchant_id, customer_id, message_id, sent_at, found_at, said,
                                   is_critical)
        SELECT 'no_consent', 'message:' || id, merchant_id, customer_id, id, tried_at, $4,
               'message ' || id || ' (' || purpose || '): ' || why, true
        FROM looked WHERE why IS NOT NULL
        ON CONFLICT (kind, subject) DO NOTHING RETURNING id
        """,
        since,
        until,
        grace,
        now,
    )
    return [row[0] for row in rows]


async def after_stops(db: Executor, since: datetime, until: datetime, grace: timedelta, now: datetime) -> list[int]:
    """Keep findings of texts tried in the time although a suppression was in force; returns the ids of new ones.

    A block of every merchant that the person came back from towards this one, by their own deed, is none.
    """
    rows = await db.fetch(
        f"""
        WITH {_SENT}
        INSERT INTO audit_finding (kind, subject, merchant_id, customer_id, message_id, sent_at, found_at, said,
                                   is_critical)
        SELECT 'after_stop', 'message:' || sent.id, sent.merchant_id, sent.customer_id, sent.id, sent.tried_at, $4,
               'message ' || sent.id || ' was tried although suppression ' || blocked.id || ' (' || blocked.reason
                   || ') had been in force since ' || to_char(blocked.made_at AT TIME ZONE 'UTC', {_WRITTEN}), true
        FROM sent CROSS JOIN LATERAL (
            SELECT id, reason, made_at FROM suppression
            WHERE suppression.customer_id = sent.customer_id AND suppression.made_at <= sent.tried_at - $3::interval
              AND {_BLOCKED.format(merchant="sent.merchant_id", at="sent.tried_at", person="sent.customer_id")}
            ORDER BY made_at LIMIT 1
        ) AS blocked
        ON CONFLICT (kind, subject) DO NOTHING RETURNING id
        """,
        since,
        until,
        grace,
        now,
    )
    return [row[0] for row in rows]


@dataclass(frozen=True, slots=True)
class Listed:
    """Outbound texts on Twilio's list of one account; `hashes`: of the numbers they went to, for erased people."""

    texts: Sequence[TwilioText]
    account: str
    hashes: Sequence[bytes | None]
    is_main: bool


async def bypassing(db: Executor, listed: Listed, now: datetime) -> list[int]:
    """Keep findings of those that nobody asked the gate for; returns the ids of new ones.

    On the main account, which may be used by other programs, only what came from a number or messaging service of ours
    counts, or went to somebody who is suppressed. Ours are texts by their sid, those that we do not know the sid of by
    whom they went to and what they said, and answers to what the person had written.
    """
    texts = listed.texts
    rows = await db.fetch(
        f"""
        WITH listed AS MATERIALIZED (
            SELECT given.*, customer.id AS customer_id,
                   coalesce(number.merchant_id, service.merchant_id, owner.merchant_id, 0) AS merchant_id,
                   number.phone IS NOT NULL OR service.merchant_id IS NOT NULL OR NOT $9 AS is_ours
            FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::bytea[],
                        $8::text[]) AS given(sid, to_phone, from_phone, body, direction, at, hash, service)
            LEFT JOIN customer ON customer.phone = given.to_phone OR customer.phone_key = given.hash
            LEFT JOIN number ON number.phone = given.from_phone
            LEFT JOIN LATERAL (
                SELECT merchant_id FROM messaging_policy WHERE sender = given.service ORDER BY merchant_id DESC LIMIT 1
            ) AS service ON true
            LEFT JOIN twilio_account AS owner ON owner.sid = $10
            WHERE NOT EXISTS (SELECT FROM message WHERE message.sid = given.sid)
        ),
        strange AS (
            SELECT listed.*, blocked.reason FROM listed
            LEFT JOIN LATERAL (
                SELECT reason FROM suppression
                WHERE suppression.customer_id = listed.customer_id AND suppression.made_at <= listed.at + $14::interval
                  AND {_BLOCKED.format(merchant="listed.merchant_id", at="listed.at", person="listed.customer_id")}
                ORDER BY made_at LIMIT 1
            ) AS blocked ON true
            WHERE (listed.is_ours OR blocked.reason IS NOT NULL)
              AND NOT EXISTS (
                SELECT FROM message
                WHERE message.customer_id = listed.customer_id AND message.tried_at > listed.at - $12::interval
                  AND message.tried_at < listed.at + $12::interval AND (message.sid IS NULL OR message.tries > 1)
                  AND (message.from_phone = listed.from_phone OR message.from_phone LIKE 'MG%')
                  AND (message.body IS NULL OR btrim(message.body) = btrim(listed.body)
                       OR right(listed.body, length(message.body)) = message.body)
              )
              AND NOT (listed.direction = 'outbound-reply' AND EXISTS (
                SELECT FROM inbound_text
                WHERE inbound_text.customer_id = listed.customer_id AND inbound_text.phone = listed.from_phone
                  AND inbound_text.verdict <> 'other' AND inbound_text.received_at > listed.at - $13::interval
                  AND inbound_text.received_at < listed.at + interval '1 minute'
              ))
        )
        INSERT INTO audit_finding (kind, subject, merchant_id, customer_id, sent_at, found_at, said, is_critical)
        SELECT DISTINCT ON (sid) 'bypassed', sid, merchant_id, customer_id, at, $11,
               'Twilio lists ' || sid || ' (' || direction || ') from '
                   || coalesce(nullif(from_phone, ''), service, 'nobody')
                   || ', which nobody asked the gate for'
                   || CASE WHEN reason IS NOT NULL
                           THEN ': it went to somebody who was suppressed then (' || reason || ')' ELSE '' END,
               reason IS NOT NULL
        FROM strange
        ON CONFLICT (kind, subject) DO NOTHING RETURNING id
        """,
        [one.sid for one in texts],
        [one.to for one in texts],
        [one.from_ for one in texts],
        [one.body for one in texts],
        [one.direction for one in texts],
        [one.created_at for one in texts],
        list(listed.hashes),
        [one.service for one in texts],
        listed.is_main,
        listed.account,
        now,
        _NEAR,
        _ANSWERED_WITHIN,
        _WHOLE_SECONDS,
    )
    return [row[0] for row in rows]


async def unheard(db: Executor, texts: Sequence[tuple[str, str, str | None]]) -> set[str]:
    """(sid, number of ours, messaging service): the sids of those that we have not, and that are ours to have.

    What other programs' numbers get is theirs.
    """
    rows = await db.fetch(
        """
        SELECT sid FROM unnest($1::text[], $2::text[], $3::text[]) AS n(sid, phone, service)
        WHERE NOT EXISTS (SELECT FROM inbound_text WHERE inbound_text.sid = n.sid)
          AND (EXISTS (SELECT FROM number WHERE number.phone = n.phone)
               OR EXISTS (SELECT FROM messaging_policy WHERE sender = n.service))
        """,
        [one[0] for one in texts],
        [one[1] for one in texts],
        [one[2] for one in texts],
    )
    return {row[0] for row in rows}


async def mark(db: Executor, account: str) -> datetime | None:
    """How far Twilio's list of an account was compared."""
    found: datetime | None = await db.fetchval("SELECT compared_until FROM audit_mark WHERE account = $1", account)
    return found


async def put_mark(db: Executor, account: str, until: datetime) -> None:
    """It only goes forward."""
    await db.execute(
        """
        INSERT INTO audit_mark (account, compared_until) VALUES ($1, $2)
        ON CONFLICT (account) DO UPDATE
            SET compared_until = greatest(audit_mark.compared_until, excluded.compared_until)
        """,
        account,
        until,
    )


async def open_findings(db: Executor) -> dict[tuple[str, bool], int]:
    """How many are not settled, by kind and whether they are critical."""
    rows = await db.fetch(
        "SELECT kind, is_critical, count(*) FROM audit_finding WHERE settled_at IS NULL GROUP BY kind, is_critical"
    )
    return {(row[0], row[1]): row[2] for row in rows}


async def by_merchant(db: Executor, kind: str | None, limit: int) -> list[tuple[int, int, int]]:
    """(merchant, findings, people) of those that are not settled, the most first."""
    rows = await db.fetch(
        """
        SELECT merchant_id, count(*), count(DISTINCT customer_id) FROM audit_finding
        WHERE settled_at IS NULL AND ($1::text IS NULL OR kind = $1)
        GROUP BY merchant_id ORDER BY 2 DESC, 1 LIMIT $2
        """,
        kind,
        limit,
    )
    return [(row[0], row[1], row[2]) for row in rows]


async def findings(
    db: Executor,
    *,
    kind: str | None = None,
    merchant_id: int | None = None,
    open_only: bool = True,
    before: int | None = None,
    limit: int = 50,
) -> list[Finding]:
    """Newest first."""
    rows = await db.fetch(
        """
        SELECT * FROM audit_finding
        WHERE ($1::text IS NULL OR kind = $1) AND ($2::bigint IS NULL OR merchant_id = $2)
          AND (NOT $3 OR settled_at IS NULL) AND ($4::bigint IS NULL OR id < $4)
        ORDER BY id DESC LIMIT $5
        """,
        kind,
        merchant_id,
        open_only,
        before,
        limit,
    )
    return [_finding(row) for row in rows]


async def finding(db: Executor, finding_id: int) -> Finding | None:
    row = await db.fetchrow("SELECT * FROM audit_finding WHERE id = $1", finding_id)
    return _finding(row) if row is not None else None


async def settle(db: Executor, finding_id: int, *, actor: str, why: str, now: datetime) -> Finding | None:
    """None when it is not there, or settled already."""
    row = await db.fetchrow(
        """
        UPDATE audit_finding SET settled_at = $2, settled_by = $3, settled_why = $4
        WHERE id = $1 AND settled_at IS NULL RETURNING *
        """,
        finding_id,
        now,
        actor,
        why,
    )
    return _finding(row) if row is not None else None


async def settle_many(db: Executor, which: Which, *, actor: str, why: str, now: datetime) -> list[int]:
    """Those that were open; their ids."""
    rows = await db.fetch(
        """
        UPDATE audit_finding SET settled_at = $4, settled_by = $5, settled_why = $6
        WHERE settled_at IS NULL AND ($1::text IS NULL OR kind = $1) AND ($2::bigint IS NULL OR merchant_id = $2)
          AND ($3::bigint IS NULL OR EXISTS (
              SELECT FROM message JOIN consent ON consent.seq = message.consent_seq
              WHERE message.id = audit_finding.message_id AND consent.batch_id = $3))
        RETURNING id
        """,
        which.kind,
        which.merchant_id,
        which.batch_id,
        now,
        actor,
        why,
    )
    return sorted(row[0] for row in rows)


def _finding(row: asyncpg.Record) -> Finding:
    return Finding(**dict(row))
