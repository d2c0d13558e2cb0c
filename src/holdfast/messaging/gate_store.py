"""The SQL of the gate: whether a text may be sent, decided where it is recorded and where it is taken to be sent.

One fragment says it for both: what applies of suppressions, the ledger, the lever, the policy and quiet hours. The
caps are counted in it, and then also what is decided in the same statement.
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
LANE = "CASE purpose WHEN 'marketing' THEN 2 ELSE 1 END"
"""Reminders before campaigns; confirmations are critical, and not asked for here."""

# `asked` has n, merchant_id, customer_id, purpose, from_phone, moment: the time now; at: when it is to go out. Gives
# the `rule` but for the caps: what weighs against those is counted, of the messages that {counted} says. {wishes}: from
# which numbers it may go, (number or NULL, place); NULL is what the policy says.
# No row of the ledger is of a time to come (see `ledger.append`), so that all that is seen counts. To go by a clock
# would refuse who consented a moment ago, on a machine whose clock is a little ahead.
_JUDGED = """
    SELECT asked.*, suppression.id AS suppression_id, suppression.reason, consent.seq AS consent_seq, lever.mode,
           sender.phone AS sender, sender.account AS sending_account, quiet.opening, policy.most_per_day,
           policy.most_per_week, caps.today, caps.this_week,
           CASE WHEN suppression.id IS NOT NULL THEN 'suppressed'
                WHEN consent.seq IS NULL THEN 'no_consent'
                WHEN consent.action = 'revoke' THEN 'revoked'
                WHEN asked.purpose = 'marketing' AND consent.disclosure_id IS NULL THEN 'not_written'
                WHEN lever.mode = 'refuse' AND {off} THEN 'messaging_off'
                WHEN sender.phone IS NULL THEN 'no_sender'
                WHEN quiet.opening IS NULL THEN 'no_hours'
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
    CROSS JOIN LATERAL (
        SELECT CASE WHEN asked.purpose = 'marketing'
                    THEN opening(asked.at, customer.zones, policy.opens, policy.closes) ELSE asked.at END AS opening
        OFFSET 0  -- once a row, not wherever it is named
    ) AS quiet
    LEFT JOIN LATERAL (
        SELECT id, reason FROM suppression WHERE suppression.customer_id = asked.customer_id AND {blocking}
        ORDER BY suppression.reason <> 'erasure', suppression.merchant_id, suppression.id LIMIT 1
    ) AS suppression ON true
    LEFT JOIN LATERAL (
        SELECT seq, action, disclosure_id FROM consent
        WHERE consent.customer_id = asked.customer_id AND {applying}
        ORDER BY {latest} LIMIT 1
    ) AS consent ON true
    LEFT JOIN LATERAL (
        SELECT value #>> '{{}}' AS mode FROM lever
        WHERE name = 'messaging.texts' AND target IN ('', 'merchant:' || asked.merchant_id)
          AND (expires_at IS NULL OR expires_at > asked.moment)
        ORDER BY target DESC LIMIT 1
    ) AS lever ON true
    LEFT JOIN LATERAL (
        SELECT phone, account FROM (VALUES {wishes}) AS wish(sender, nth) CROSS JOIN LATERAL (
            SELECT number.phone, number.account, 1 AS place, number.id FROM number
            WHERE number.merchant_id = asked.merchant_id
              AND number.phone = coalesce(wish.sender, policy.sender, number.phone)
            UNION ALL
            SELECT policy.sender,
                   (SELECT sid FROM twilio_account WHERE merchant_id = asked.merchant_id ORDER BY sid LIMIT 1), 2, 0
            WHERE policy.sender LIKE 'MG%' AND coalesce(wish.sender, policy.sender) = policy.sender
        ) AS possible ORDER BY nth, place, id LIMIT 1
    ) AS sender ON true
    LEFT JOIN LATERAL (
        SELECT count(*) FILTER (WHERE goes_at > quiet.opening - interval '1 day') AS today, count(*) AS this_week
        FROM message, LATERAL (SELECT coalesce(message.tried_at, message.send_at) AS goes_at) AS clock
        WHERE asked.purpose = 'marketing' AND message.customer_id = asked.customer_id
          AND message.merchant_id = asked.merchant_id AND message.purpose = 'marketing'
          AND goes_at > quiet.opening - interval '7 days' AND {counted}
    ) AS caps ON true
"""

# What others decide at this moment is not seen: then more may be queued than the caps allow. Of those no more than
# they allow gets leave to be sent.
_DECIDED = _JUDGED.format(
    blocking=_BLOCKING,
    applying=_APPLYING,
    latest=LATEST,
    off="true",
    wishes="(asked.from_phone, 1)",
    counted="message.state IN ('queued', 'sending', 'sent') AND goes_at <= quiet.opening",
)
DECIDE = f"""
WITH clock AS MATERIALIZED (SELECT coalesce($1, clock_timestamp()) AS moment),
given AS MATERIALIZED (
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
    SELECT given.*, moment, greatest(wanted, moment) AS at FROM given, clock
    WHERE NOT EXISTS (SELECT FROM earlier WHERE earlier.n = given.n)
),
judged AS MATERIALIZED ({_DECIDED}),
timed AS MATERIALIZED (
    SELECT judged.*, nextval(pg_get_serial_sequence('message', 'id')) AS id,
           CASE WHEN purpose = 'marketing' AND rule = 'consent'
                     AND (today + beside.one_day >= most_per_day OR this_week + beside.one_week >= most_per_week)
                THEN 'frequency_cap' ELSE rule END AS decided,
           CASE WHEN rule = 'consent' THEN opening ELSE at END AS goes_at
    FROM judged
    LEFT JOIN LATERAL (  -- of the texts to the same person that are decided with it
        SELECT count(*) FILTER (WHERE other.opening > judged.opening - interval '1 day') AS one_day,
               count(*) AS one_week
        FROM judged AS other
        WHERE judged.purpose = 'marketing' AND other.purpose = 'marketing' AND other.n < judged.n
          AND other.customer_id = judged.customer_id AND other.merchant_id = judged.merchant_id
          AND other.rule = 'consent' AND other.opening <= judged.opening
          AND other.opening > judged.opening - interval '7 days'
    ) AS beside ON true
),
inserted AS (
    INSERT INTO message (id, merchant_id, customer_id, key, fingerprint, purpose, to_phone, from_phone, account, body,
                         template, state, rule, consent_seq, suppression_id, created_at, send_at, settled_at)
    OVERRIDING SYSTEM VALUE
    SELECT id, merchant_id, customer_id, key, fingerprint, purpose,
           CASE WHEN reason = 'erasure' THEN NULL ELSE to_phone END, sender, sending_account,
           CASE WHEN decided = 'consent' THEN body END, template,
           CASE WHEN decided = 'consent' THEN 'queued' ELSE 'refused' END, decided, consent_seq, suppression_id,
           moment, goes_at, CASE WHEN decided = 'consent' THEN NULL ELSE moment END
    FROM timed
    ON CONFLICT (merchant_id, key) WHERE key IS NOT NULL DO NOTHING
    RETURNING id
),
queued AS (
    {queue.ADD}
    SELECT {Stage.SEND.value}, id, {LANE}, merchant_id, 0, goes_at, goes_at
    FROM timed JOIN inserted USING (id) WHERE decided = 'consent'
)
SELECT n, id, CASE WHEN decided = 'consent' THEN 'queued' ELSE 'refused' END AS state, decided AS rule, consent_seq,
       suppression_id, reason, goes_at AS send_at,
       CASE WHEN decided <> 'consent' THEN NULL WHEN goes_at > at THEN 'quiet_hours'
            WHEN mode = 'hold' THEN 'messaging_on_hold' END AS held_by,
       false AS is_repeat, false AS is_conflict
FROM timed JOIN inserted USING (id)
UNION ALL
SELECT n, earlier.id, state, rule, earlier.consent_seq, suppression_id, suppression.reason, send_at, NULL, true,
       is_conflict
FROM earlier LEFT JOIN suppression ON suppression.id = earlier.suppression_id
"""

_LEFT = _JUDGED.format(
    blocking=_BLOCKING,
    applying=_APPLYING,
    latest=LATEST,
    off="false",
    wishes="(asked.from_phone, 1), (NULL, 2)",
    counted="message.state IN ('sending', 'sent') AND message.id <> ALL ($2::bigint[])",
)
# The customers are locked, by a statement before this one. What is not 'queued' or 'sending' any more is not returned.
# `verdict`: send, or later (until `opening`), or what its state is now.
#
# The clock is looked at here, not at the transaction's start, which was before the lock was waited for: what another
# worker took meanwhile counts against the caps, and its time must not seem to come. So `sending_until` is a little
# later than the time until which the worker tries, which it counts from before it asked: never the other way round, as
# a stop is acknowledged once `sending_until` is over.
BEGIN_SENDING = f"""
WITH clock AS MATERIALIZED (SELECT coalesce($1, clock_timestamp()) AS moment),
asked AS MATERIALIZED (
    SELECT message.id, message.id AS n, merchant_id, customer_id, purpose, from_phone, account, kind, not_after,
           to_phone, moment, moment AS at
    FROM message, clock WHERE id = ANY($2::bigint[]) AND state IN ('queued', 'sending')
),
judged AS ({_LEFT}),
due AS (
    SELECT *, CASE WHEN to_phone IS NULL THEN 'cancelled'
                   WHEN not_after < at THEN 'expired'
                   WHEN kind <> 'text' THEN 'send'
                   WHEN rule <> 'consent' THEN 'cancelled'
                   WHEN mode IN ('hold', 'refuse') THEN 'later'
                   WHEN opening > at THEN 'later'
                   ELSE 'send' END AS wanted
    FROM judged
),
beside AS (
    SELECT *, purpose = 'marketing' AND kind = 'text' AND wanted = 'send' AS is_capped,
           count(*) FILTER (WHERE kind = 'text' AND wanted = 'send') OVER (
               PARTITION BY merchant_id, customer_id, purpose ORDER BY id
               ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM due
),
ruled AS MATERIALIZED (
    SELECT beside.*, CASE WHEN is_over THEN 'cancelled' ELSE wanted END AS verdict,
           CASE WHEN is_over THEN 'frequency_cap' ELSE rule END AS decided,
           CASE WHEN kind = 'text' THEN coalesce(sender, from_phone) ELSE from_phone END AS goes_from,
           CASE WHEN kind = 'text' AND sender IS NOT NULL THEN sending_account ELSE account END AS goes_with
    FROM beside, LATERAL (
        SELECT is_capped AND (today + before >= most_per_day OR this_week + before >= most_per_week) AS is_over
    ) AS caps
),
changed AS (
    UPDATE message SET
        state = CASE verdict WHEN 'send' THEN 'sending' WHEN 'later' THEN 'queued' ELSE verdict END,
        rule = CASE WHEN verdict = 'cancelled' THEN coalesce(nullif(ruled.decided, 'consent'), 'suppressed')
                    ELSE message.rule END,
        suppression_id = CASE WHEN verdict = 'cancelled' THEN ruled.suppression_id ELSE message.suppression_id END,
        consent_seq = CASE WHEN verdict = 'cancelled' THEN coalesce(ruled.consent_seq, message.consent_seq)
                           ELSE message.consent_seq END,
        from_phone = CASE verdict WHEN 'send' THEN goes_from ELSE message.from_phone END,
        account = CASE verdict WHEN 'send' THEN goes_with ELSE message.account END,
        tries = message.tries + CASE verdict WHEN 'send' THEN 1 ELSE 0 END,
        tried_at = CASE verdict WHEN 'send' THEN at ELSE message.tried_at END,
        sending_until = CASE verdict WHEN 'send' THEN at + $3::interval END,
        settled_at = CASE WHEN verdict IN ('cancelled', 'expired') THEN at END
    FROM ruled WHERE message.id = ruled.id
    RETURNING message.id, verdict, ruled.decided, ruled.opening, ruled.at, message.from_phone, message.account
)
SELECT id, verdict, decided AS rule, CASE WHEN opening > at THEN opening END AS opening, from_phone, account
FROM changed
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


async def decided(db: Executor, ask: Ask) -> asyncpg.Record | None:
    """As `decide` says it of what was asked for before."""
    return await db.fetchrow(
        """
        SELECT message.id, state, rule, message.consent_seq, suppression_id, suppression.reason, send_at,
               NULL AS held_by, true AS is_repeat, fingerprint IS DISTINCT FROM $3 AS is_conflict
        FROM message LEFT JOIN suppression ON suppression.id = message.suppression_id
        WHERE message.merchant_id = $1 AND key = $2
        """,
        ask.merchant_id,
        ask.key,
        ask.fingerprint,
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
    """(id, verdict, rule, opening, from_phone, account): verdict send, later, cancelled or expired.

    Their customers are locked.
    """
    return await db.fetch(BEGIN_SENDING, now, ids, lasts)
