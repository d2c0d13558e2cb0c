"""SQL that keeps callbacks: their events, and the calls, legs, voicemails and alerts that they tell of.

Rows are merged as `folding` folds: the order in which callbacks come, and how often, makes no difference. All
statements are for one transaction; the call's row is locked by its merge, so two who tell of a call take turns.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from holdfast.db.pool import Connection, Pool
from holdfast.inbox import store as inbox
from holdfast.merchants.numbers import UNKNOWN_REGION
from holdfast.queue.model import Lane
from holdfast.twilio.model import PROVIDER
from holdfast.voice.folding import OVER, CallChange, LegChange, VoicemailChange
from holdfast.voice.model import Callback

PREFIX = "twilio."
"""Before a callback's kind, its event's type."""


async def only_reads(db: Pool) -> bool:
    """Whether nothing can be written now: on a standby, or for its settings. Raises what `AWAY` lists."""
    found: bool = await db.fetchval("SELECT current_setting('transaction_read_only')::bool FROM voice_version")
    return found


async def add_events(db: Connection, callbacks: Sequence[Callback]) -> set[str]:
    """Store callbacks (no id twice) verbatim, as done when they came: nothing routes them. Returns the new event ids.

    Others are counted as duplicates; not so what is the same receipt again, which was put to disk as well.
    """
    rows = await db.fetch(
        f"""
        WITH incoming AS MATERIALIZED (
            SELECT n.*, $9 AS provider, $10::smallint AS lane, NULL AS note,
                   coalesce(nullif(number.merchant_id, 0), call.merchant_id, 0) AS merchant_id
            FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::float8[], $6::text[], $7::bytea[],
                        $8::text[])
                AS n(event_id, type, object_id, account, received, headers, body, phone)
            LEFT JOIN number USING (phone)
            LEFT JOIN call ON call.sid = n.object_id AND call.account = n.account
        ),
        {inbox.KEEP_DONE_SPOOLED}
        """,
        [one.event_id for one in callbacks],
        [PREFIX + one.kind for one in callbacks],
        [one.call_sid for one in callbacks],
        [one.account for one in callbacks],
        [one.received for one in callbacks],
        [one.headers for one in callbacks],
        [one.body for one in callbacks],
        [one.params.get("To", "") for one in callbacks],
        PROVIDER,
        Lane.STANDARD,
    )
    return {row[0] for row in rows}


async def count_duplicates(db: Connection, repeats: Iterable[Callback]) -> None:
    await inbox.count_duplicates(db, [(PROVIDER, one.event_id, one.received) for one in repeats])


@dataclass(frozen=True, slots=True)
class Merged:
    """A call's row as it is now: whether the call is over, and whether a voicemail of it was known before."""

    sid: str
    is_over: bool
    has_voicemail: bool


async def merge_calls(db: Connection, changes: Iterable[CallChange]) -> list[Merged]:
    """Those of them that are their account's: a call of another one is left alone, and not among what is returned.

    Sorted, so that two who tell of the same calls wait for each other instead of deadlocking.
    """
    calls = sorted(changes, key=lambda one: one.sid)
    rows = await db.fetch(
        """
        INSERT INTO call AS c (sid, account, phone, merchant_id, region, caller, is_test, status, rank, began_at,
                               ended_at, seconds, answer, told_at)
        SELECT n.sid, n.account, n.phone, coalesce(number.merchant_id, 0), coalesce(number.region, $13), caller,
               is_test, status, rank, to_timestamp(began), to_timestamp(ended), seconds, answer, to_timestamp(told)
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bool[], $6::text[], $7::smallint[],
                    $8::float8[], $9::float8[], $10::int[], $11::text[], $12::float8[])
            AS n(sid, account, phone, caller, is_test, status, rank, began, ended, seconds, answer, told)
        LEFT JOIN number ON number.phone = n.phone
        ORDER BY n.sid
        ON CONFLICT (sid) DO UPDATE SET
            phone = greatest(c.phone, excluded.phone),
            merchant_id = CASE WHEN c.phone = '' THEN excluded.merchant_id ELSE c.merchant_id END,
            region = CASE WHEN c.phone = '' THEN excluded.region ELSE c.region END,
            caller = greatest(c.caller, excluded.caller),
            is_test = c.is_test OR excluded.is_test,
            status = CASE WHEN (excluded.rank, excluded.status) > (c.rank, c.status)
                THEN excluded.status ELSE c.status END,
            rank = greatest(c.rank, excluded.rank),
            began_at = least(c.began_at, excluded.began_at),
            ended_at = least(c.ended_at, excluded.ended_at),
            seconds = greatest(c.seconds, excluded.seconds),
            answer = CASE WHEN c.told_at IS NULL OR (excluded.told_at, excluded.answer) > (c.told_at, c.answer)
                THEN excluded.answer ELSE c.answer END,
            told_at = greatest(c.told_at, excluded.told_at)
        WHERE c.account = excluded.account
        RETURNING sid, rank >= $14, EXISTS (SELECT FROM voicemail v WHERE v.call_sid = c.sid)
        """,
        [one.sid for one in calls],
        [one.account for one in calls],
        [one.phone for one in calls],
        [one.caller for one in calls],
        [one.is_test for one in calls],
        [one.status for one in calls],
        [one.rank for one in calls],
        [one.began for one in calls],
        [one.ended for one in calls],
        [one.seconds for one in calls],
        [one.answer for one in calls],
        [one.told for one in calls],
        UNKNOWN_REGION,
        OVER,
    )
    return [Merged(*row) for row in rows]


async def merge_legs(db: Connection, legs: Collection[LegChange]) -> list[LegChange]:
    """Those that are new, not told of before, and of no test. After their calls, which say that they are tests."""
    rows = await db.fetch(
        """
        INSERT INTO leg AS l (call_sid, target, place, phone, region, caller_id, outcome, sip_code, seconds, at,
                              is_test)
        SELECT call_sid, target, place, phone, region, caller_id, outcome, sip_code, seconds, to_timestamp(at),
               EXISTS (SELECT FROM call c WHERE c.sid = n.call_sid AND c.is_test)
        FROM unnest($1::text[], $2::text[], $3::smallint[], $4::text[], $5::text[], $6::text[], $7::text[],
                    $8::smallint[], $9::int[], $10::float8[])
            AS n(call_sid, target, place, phone, region, caller_id, outcome, sip_code, seconds, at)
        ON CONFLICT (call_sid, target) DO UPDATE SET
            (place, region, caller_id, outcome, sip_code, seconds, at) = (
                SELECT excluded.place, excluded.region, excluded.caller_id, excluded.outcome, excluded.sip_code,
                       excluded.seconds, excluded.at),
            is_test = l.is_test OR excluded.is_test
        WHERE (excluded.outcome = 'answered', excluded.at, excluded.outcome)
            > (l.outcome = 'answered', l.at, l.outcome)
        RETURNING call_sid, target, xmax = 0 AND NOT is_test AS is_new
        """,
        [one.call_sid for one in legs],
        [one.target for one in legs],
        [one.place for one in legs],
        [one.phone for one in legs],
        [one.region for one in legs],
        [one.caller_id for one in legs],
        [one.outcome for one in legs],
        [one.sip_code for one in legs],
        [one.seconds for one in legs],
        [one.at for one in legs],
    )
    new = {(row["call_sid"], row["target"]) for row in rows if row["is_new"]}
    return [one for one in legs if (one.call_sid, one.target) in new]


async def merge_voicemails(db: Connection, voicemails: Collection[VoicemailChange]) -> None:
    """Whose they are is said by their calls: see `complete_voicemails`. One of another account is left alone."""
    await db.execute(
        """
        INSERT INTO voicemail AS v (sid, call_sid, account, merchant_id, phone, caller, url, seconds, at, transcription)
        SELECT sid, call_sid, account, 0, '', '', url, seconds, to_timestamp(at), transcription
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::float8[], $7::text[])
            AS n(sid, call_sid, account, url, seconds, at, transcription)
        ON CONFLICT (sid) DO UPDATE SET
            url = greatest(v.url, excluded.url), seconds = greatest(v.seconds, excluded.seconds),
            at = least(v.at, excluded.at), transcription = greatest(v.transcription, excluded.transcription)
        WHERE v.account = excluded.account
        """,
        [one.sid for one in voicemails],
        [one.call_sid for one in voicemails],
        [one.account for one in voicemails],
        [one.url for one in voicemails],
        [one.seconds for one in voicemails],
        [one.at for one in voicemails],
        [one.transcription for one in voicemails],
    )


async def place_alerts(db: Connection, called: Mapping[str, str]) -> None:
    """Say whose number alerts (by sid) are about, where the call is not known from which that would be seen."""
    await db.execute(
        """
        UPDATE twilio_alert a SET phone = number.phone, region = coalesce(a.region, number.region)
        FROM unnest($1::text[], $2::text[]) AS n(sid, phone) JOIN number USING (phone)
        WHERE a.sid = n.sid AND a.phone IS NULL
        """,
        list(called),
        list(called.values()),
    )


async def derive(db: Connection, sids: Collection[str]) -> list[str]:
    """What became of these calls, from their state, their legs and voicemails; the sids of those that ended just now.

    A call that rang a target or was asked for a message when it ended was abandoned. One that was told that it is over
    without anybody having answered rang out, unless the caller hung up. One that we never told anything failed.
    """
    rows = await db.fetch(
        """
        WITH known AS (
            SELECT c.sid, c.outcome AS before, c.rank, c.status,
                   split_part(translate(c.answer, ':', ' '), ' ', 1) AS told, c.answer LIKE '%hung up%' AS hung_up,
                   (SELECT target FROM leg l WHERE l.call_sid = c.sid AND l.outcome = 'answered'
                    ORDER BY place, target LIMIT 1) AS answered_by,
                   EXISTS (SELECT FROM voicemail v WHERE v.call_sid = c.sid) AS left_message
            FROM call c WHERE c.sid = ANY($1::text[])
        ),
        judged AS (
            SELECT sid, before, answered_by, CASE
                WHEN rank < $2 THEN NULL
                WHEN answered_by IS NOT NULL THEN 'person'
                WHEN left_message THEN 'voicemail'
                WHEN status = 'failed' THEN 'failed'
                WHEN told = 'announcement' THEN 'announcement'
                WHEN told IN ('dial', 'voicemail') OR hung_up THEN 'abandoned'
                WHEN told = 'over' THEN 'missed'
                WHEN status IN ('canceled', 'no-answer') THEN 'abandoned'
                ELSE 'failed' END AS outcome
            FROM known
        )
        UPDATE call c SET outcome = j.outcome, answered_by = j.answered_by FROM judged j
        WHERE c.sid = j.sid AND (c.outcome, c.answered_by) IS DISTINCT FROM (j.outcome, j.answered_by)
        RETURNING c.sid, j.before IS NULL AND j.outcome IS NOT NULL AS ended
        """,
        list(sids),
        OVER,
    )
    return [row["sid"] for row in rows if row["ended"]]


@dataclass(frozen=True, slots=True)
class Message:
    """A voicemail whose number is known, with the merchant that it is for (key and the rest None: nobody's)."""

    sid: str
    call_sid: str
    phone: str
    caller: str
    url: str
    seconds: int | None
    at: datetime
    transcription: str | None
    merchant_id: int
    key: str | None
    name: str | None
    email: str | None
    time_zone: str | None


async def complete_voicemails(db: Connection, sids: Collection[str]) -> list[Message]:
    """Give the voicemails of these calls what their calls say; all whose number is known, but those of tests."""
    rows = await db.fetch(
        """
        WITH completed AS (
            UPDATE voicemail v SET phone = c.phone, caller = c.caller, merchant_id = c.merchant_id
            FROM call c WHERE c.sid = v.call_sid AND v.call_sid = ANY($1::text[]) AND v.phone = '' AND c.phone <> ''
        )
        SELECT v.sid, v.call_sid, c.phone, c.caller, v.url, v.seconds, v.at, v.transcription, c.merchant_id,
               m.key, m.name, m.email, m.time_zone
        FROM voicemail v JOIN call c ON c.sid = v.call_sid LEFT JOIN merchant m ON m.id = c.merchant_id
        WHERE v.call_sid = ANY($1::text[]) AND c.phone <> '' AND NOT c.is_test ORDER BY v.sid
        """,
        list(sids),
    )
    return [Message(*row) for row in rows]


async def ended(db: Connection | Pool, sids: Collection[str]) -> list[tuple[str, str]]:
    """(region, outcome) of those of these calls that are over and no test."""
    rows = await db.fetch(
        "SELECT region, outcome FROM call WHERE sid = ANY($1::text[]) AND outcome IS NOT NULL AND NOT is_test",
        list(sids),
    )
    return [(row[0], row[1]) for row in rows]


async def prune(db: Connection, before: datetime, limit: int) -> int:
    """Delete up to `limit` each of calls, legs, voicemails and alerts from before that time; how many went."""
    gone = 0
    for table, key, at in (
        ("call", "sid", "began_at"),
        ("leg", "(call_sid, target)", "at"),
        ("voicemail", "sid", "at"),
        ("twilio_alert", "sid", "at"),
    ):
        columns = key.strip("()")
        status = await db.execute(
            f"DELETE FROM {table} WHERE {key} IN (SELECT {columns} FROM {table} WHERE {at} < $1 LIMIT $2)",
            before,
            limit,
        )
        gone += int(status.rpartition(" ")[2])
    return gone
