"""The SQL of the gate: whether a text may be sent, decided where it is recorded and where it is taken to be sent.

One fragment says it for both: what applies of suppressions, the ledger, the lever, the caps and quiet hours.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg

from holdfast.consent.store import APPLYING, BLOCKING, LATEST
from holdfast.db.pool import Connection, Pool
from holdfast.messaging.model import Ask
from holdfast.queue import store as queue
from holdfast.queue.model import Stage

Executor = Connection | Pool

_BLOCKING = BLOCKING.format(merchant="asked.merchant_id")
_APPLYING = APPLYING.format(merchant="asked.merchant_id", purpose="asked.purpose")
_COUNTED = "message.state IN ('queued', 'sending', 'sent')"
_TAKEN = "message.state IN ('sending', 'sent') AND message.id <> asked.id"
LANE = "CASE purpose WHEN 'marketing' THEN 2 ELSE 1 END"
"""Reminders before campaigns; confirmations are critical, and not asked for here."""

# `asked` has n, merchant_id, customer_id, purpose, from_phone, at: when it is to go out. What {counted} are of the
# same person's marketing texts weighs against the caps.
_JUDGED = """
    SELECT asked.*, suppression.id AS suppression_id, suppression.reason, consent.seq AS consent_seq, lever.mode,
           sender.phone AS sender, sender.account, customer.zones, policy.opens, policy.closes,
           CASE WHEN suppression.id IS NOT NULL THEN 'suppressed'
                WHEN consent.seq IS NULL THEN 'no_consent'
                WHEN consent.action = 'revoke' THEN 'revoked'
                WHEN asked.purpose = 'marketing' AND consent.disclosure_id IS NULL THEN 'not_written'
                WHEN lever.mode = 'refuse' AND {off} THEN 'messaging_off'
                WHEN sender.phone IS NULL THEN 'no_sender'
                WHEN asked.purpose = 'marketing' AND (caps.today >= policy.most_per_day
                     OR caps.this_week >= policy.most_per_week) THEN 'frequency_cap'
                ELSE 'consent' END AS rule
    FROM asked
    JOIN customer ON customer.id = asked.customer_id
    CROSS JOIN LATERAL (
        SELECT coalesce(own.opens, every.opens) AS opens, coalesce(own.closes, every.closes) AS closes,
               coalesce(own.most_per_day, every.most_per_day) AS most_per_day,
               coalesce(own.most_per_week, every.most_per_week) AS most_per_week, own.sender
        FROM messaging_policy AS every
        LEFT JOIN messaging_policy AS own ON own.merchant_id = asked.merchant_id
        WHERE every.merchant_id = 0
    ) AS policy
    LEFT JOIN LATERAL (
        SELECT id, reason FROM suppression WHERE suppression.customer_id = asked.customer_id AND {blocking}
        ORDER BY suppression.reason <> 'erasure', suppression.merchant_id, suppression.id LIMIT 1
    ) AS suppression ON true
    LEFT JOIN LATERAL (
        SELECT seq, action, disclosure_id FROM consent
        WHERE consent.customer_id = asked.customer_id AND {applying} AND consent.given_at <= coalesce($1, now())
        ORDER BY {latest} LIMIT 1
    ) AS consent ON true
    LEFT JOIN LATERAL (
        SELECT value #>> '{{}}' AS mode FROM lever
        WHERE name = 'messaging.texts' AND target IN ('', 'merchant:' || asked.merchant_id)
          AND (expires_at IS NULL OR expires_at > coalesce($1, now()))
        ORDER BY target DESC LIMIT 1
    ) AS lever ON true
    LEFT JOIN LATERAL (
        SELECT phone, account FROM (
            SELECT number.phone, number.account, 1 AS place, number.id FROM number
            WHERE number.merchant_id = asked.merchant_id
              AND number.phone = coalesce(asked.from_phone, policy.sender, number.phone)
            UNION ALL
            SELECT coalesce(asked.from_phone, policy.sender),
                   (SELECT sid FROM twilio_account WHERE merchant_id = asked.merchant_id ORDER BY sid LIMIT 1), 2, 0
            WHERE policy.sender LIKE 'MG%' AND coalesce(asked.from_phone, policy.sender) = policy.sender
        ) AS possible ORDER BY place, id LIMIT 1
    ) AS sender ON true
    LEFT JOIN LATERAL (
        SELECT count(*) FILTER (WHERE goes_at > asked.at - interval '1 day') AS today, count(*) AS this_week
        FROM message, LATERAL (SELECT coalesce(message.tried_at, message.send_at) AS goes_at) AS clock
        WHERE asked.purpose = 'marketing' AND message.customer_id = asked.customer_id
          AND message.merchant_id = asked.merchant_id AND message.purpose = 'marketing'
          AND {counted} AND goes_at > asked.at - interval '7 days' AND goes_at <= asked.at
    ) AS caps ON true
"""

DECIDE = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($2::int[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[], $7::text[], $8::text[],
                         $9::text[], $10::text[], $11::text[], $12::timestamptz[])
        AS g(n, merchant_id, customer_id, key, fingerprint, purpose, to_phone, from_phone, body, template, wanted)
),
earlier AS MATERIALIZED (
    SELECT given.n, message.id, message.state, message.rule, message.consent_seq, message.suppression_id,
           message.send_at, message.fingerprint IS DISTINCT FROM given.fingerprint AS is_conflict
    FROM given JOIN message ON message.merchant_id = given.merchant_id AND message.key = given.key
),
asked AS MATERIALIZED (
    SELECT given.*, greatest(wanted, coalesce($1, now())) AS at FROM given
    WHERE NOT EXISTS (SELECT FROM earlier WHERE earlier.n = given.n)
),
judged AS ({_JUDGED.format(blocking=_BLOCKING, applying=_APPLYING, latest=LATEST, counted=_COUNTED, off="true")}),
timed AS MATERIALIZED (
    SELECT judged.*, nextval(pg_get_serial_sequence('message', 'id')) AS id,
           CASE WHEN purpose = 'marketing' AND rule = 'consent' THEN opening(at, zones, opens, closes)
                ELSE at END AS goes_at
    FROM judged
),
inserted AS (
    INSERT INTO message (id, merchant_id, customer_id, key, fingerprint, purpose, to_phone, from_phone, account, body,
                         template, state, rule, consent_seq, suppression_id, created_at, send_at, settled_at)
    OVERRIDING SYSTEM VALUE
    SELECT id, merchant_id, customer_id, key, fingerprint, purpose,
           CASE WHEN reason = 'erasure' THEN NULL ELSE to_phone END, sender, account,
           CASE WHEN rule = 'consent' THEN body END, template,
           CASE WHEN rule = 'consent' THEN 'queued' ELSE 'refused' END, rule, consent_seq, suppression_id,
           coalesce($1, now()), goes_at, CASE WHEN rule = 'consent' THEN NULL ELSE coalesce($1, now()) END
    FROM timed
    ON CONFLICT (merchant_id, key) WHERE key IS NOT NULL DO NOTHING
    RETURNING id
),
queued AS (
    {queue.ADD}
    SELECT {Stage.SEND.value}, id, {LANE}, merchant_id, 0, goes_at, goes_at
    FROM timed JOIN inserted USING (id) WHERE rule = 'consent'
)
SELECT n, id, CASE WHEN rule = 'consent' THEN 'queued' ELSE 'refused' END AS state, rule, consent_seq, suppression_id,
       reason, goes_at AS send_at,
       CASE WHEN rule <> 'consent' THEN NULL WHEN goes_at > at THEN 'quiet_hours'
            WHEN mode = 'hold' THEN 'messaging_on_hold' END AS held_by,
       false AS is_repeat, false AS is_conflict
FROM timed JOIN inserted USING (id)
UNION ALL
SELECT n, earlier.id, state, rule, earlier.consent_seq, suppression_id, suppression.reason, send_at, NULL, true,
       is_conflict
FROM earlier LEFT JOIN suppression ON suppression.id = earlier.suppression_id
"""

# The customers are locked, by a statement before this one. What is not 'queued' or 'sending' any more is not returned.
# `verdict`: send, or later (until `at`), or what its state is now.
BEGIN_SENDING = f"""
WITH asked AS MATERIALIZED (
    SELECT message.id, message.id AS n, merchant_id, customer_id, purpose, from_phone, kind, not_after, to_phone, tries,
           coalesce($1, now()) AS at
    FROM message WHERE id = ANY($2::bigint[]) AND state IN ('queued', 'sending')
),
judged AS ({_JUDGED.format(blocking=_BLOCKING, applying=_APPLYING, latest=LATEST, counted=_TAKEN, off="false")}),
ruled AS MATERIALIZED (
    SELECT *, CASE WHEN to_phone IS NULL THEN 'cancelled'
                   WHEN not_after < at THEN 'expired'
                   WHEN kind <> 'text' THEN 'send'
                   WHEN rule NOT IN ('consent', 'no_sender') THEN 'cancelled'
                   WHEN mode IN ('hold', 'refuse') THEN 'later'
                   WHEN opening > at THEN 'later'
                   ELSE 'send' END AS verdict
    FROM judged, LATERAL (SELECT CASE WHEN purpose = 'marketing' THEN opening(at, zones, opens, closes)
                                      ELSE at END AS opening) AS quiet
),
changed AS (
    UPDATE message SET
        state = CASE verdict WHEN 'send' THEN 'sending' WHEN 'later' THEN 'queued' ELSE verdict END,
        rule = CASE WHEN verdict = 'cancelled' THEN coalesce(nullif(ruled.rule, 'consent'), 'suppressed')
                    ELSE message.rule END,
        suppression_id = CASE WHEN verdict = 'cancelled' THEN ruled.suppression_id ELSE message.suppression_id END,
        consent_seq = CASE WHEN verdict = 'cancelled' THEN coalesce(ruled.consent_seq, message.consent_seq)
                           ELSE message.consent_seq END,
        tries = message.tries + CASE verdict WHEN 'send' THEN 1 ELSE 0 END,
        tried_at = CASE verdict WHEN 'send' THEN at ELSE message.tried_at END,
        sending_until = CASE verdict WHEN 'send' THEN at + $3::interval END,
        settled_at = CASE WHEN verdict IN ('cancelled', 'expired') THEN at END
    FROM ruled WHERE message.id = ruled.id
    RETURNING message.id, verdict, ruled.rule, ruled.opening, ruled.at
)
SELECT id, verdict, rule, CASE WHEN opening > at THEN opening END AS opening FROM changed
"""


async def decide(
    db: Executor, asks: Sequence[Ask], customer_ids: Sequence[int], *, now: datetime | None
) -> list[asyncpg.Record]:
    """(n, id, state, rule, consent_seq, suppression_id, reason, send_at, held_by, is_repeat, is_conflict) of each, n
    being its place; one that is missing was asked for by somebody else at this moment, under the same key.
    """
    return await db.fetch(
        DECIDE,
        now,
        list(range(len(asks))),
        [one.merchant_id for one in asks],
        customer_ids,
        [one.key for one in asks],
        [one.fingerprint for one in asks],
        [one.purpose for one in asks],
        [one.to for one in asks],
        [one.from_ for one in asks],
        [one.body for one in asks],
        [one.template for one in asks],
        [one.send_at for one in asks],
    )


async def owners(db: Executor, ids: Sequence[int]) -> dict[int, int]:
    """Message to customer, of those that still wait or are being sent."""
    rows = await db.fetch(
        "SELECT id, customer_id FROM message WHERE id = ANY($1::bigint[]) AND state IN ('queued', 'sending')", ids
    )
    return {row[0]: row[1] for row in rows}


async def begin_sending(
    db: Connection, ids: Sequence[int], lasts: timedelta, *, now: datetime | None
) -> list[asyncpg.Record]:
    """(id, verdict, rule, opening): verdict send, later, cancelled or expired. Their customers are locked."""
    return await db.fetch(BEGIN_SENDING, now, ids, lasts)
