"""SQL that reads what became of calls: for commands, the API and whoever shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import msgspec

from holdfast.db.pool import Connection, Pool
from holdfast.twilio.model import PROVIDER
from holdfast.voice.call_store import PREFIX
from holdfast.voice.callbacks import ANSWER, PATH
from holdfast.voice.model import Call, CallOutcome, Leg, Voicemail

Executor = Connection | Pool
_CALL = """sid, account, phone, merchant_id, region, caller, is_test, status, began_at, ended_at, seconds, answer,
    answered_by, outcome"""
_LEG = "call_sid, target, place, phone, region, caller_id, outcome, sip_code, seconds, at"
_VOICEMAIL = "sid, call_sid, account, merchant_id, phone, caller, url, seconds, at, transcription"
_headers = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(frozen=True, slots=True)
class Filter:
    """Which calls or voicemails: every field that is set must fit. `caller`: a part of the caller's number.

    `outcome` is for calls, `call_sid` for voicemails.
    """

    merchant_id: int | None = None
    phone: str | None = None
    outcome: CallOutcome | None = None
    caller: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    call_sid: str | None = None


async def calls(db: Executor, chosen: Filter, *, limit: int, before: str | None = None) -> list[Call]:
    """Newest first; `before` is the sid to go on behind."""
    rows = await db.fetch(
        f"""
        SELECT {_CALL} FROM call
        WHERE ($1::bigint IS NULL OR merchant_id = $1) AND ($2::text IS NULL OR phone = $2)
          AND ($3::text IS NULL OR outcome = $3) AND ($4::text IS NULL OR strpos(caller, $4) > 0)
          AND ($5::timestamptz IS NULL OR began_at >= $5) AND ($6::timestamptz IS NULL OR began_at < $6)
          AND ($7::text IS NULL OR (began_at, sid) < (SELECT began_at, sid FROM call WHERE sid = $7))
        ORDER BY began_at DESC, sid DESC LIMIT $8
        """,
        chosen.merchant_id,
        chosen.phone,
        chosen.outcome,
        chosen.caller,
        chosen.since,
        chosen.until,
        before,
        limit,
    )
    return [Call(*row) for row in rows]


async def call(db: Executor, sid: str) -> Call | None:
    row = await db.fetchrow(f"SELECT {_CALL} FROM call WHERE sid = $1", sid)
    return Call(*row) if row else None


async def legs(db: Executor, call_sid: str) -> list[Leg]:
    rows = await db.fetch(f"SELECT {_LEG} FROM leg WHERE call_sid = $1 ORDER BY place, target", call_sid)
    return [Leg(*row) for row in rows]


async def voicemails(db: Executor, chosen: Filter, *, limit: int, before: str | None = None) -> list[Voicemail]:
    """Newest first; `before` is the sid to go on behind."""
    rows = await db.fetch(
        f"""
        SELECT {_VOICEMAIL} FROM voicemail
        WHERE ($1::bigint IS NULL OR merchant_id = $1) AND ($2::text IS NULL OR phone = $2)
          AND ($3::text IS NULL OR call_sid = $3) AND ($4::text IS NULL OR strpos(caller, $4) > 0)
          AND ($5::timestamptz IS NULL OR at >= $5) AND ($6::timestamptz IS NULL OR at < $6)
          AND ($7::text IS NULL OR (at, sid) < (SELECT at, sid FROM voicemail WHERE sid = $7))
        ORDER BY at DESC, sid DESC LIMIT $8
        """,
        chosen.merchant_id,
        chosen.phone,
        chosen.call_sid,
        chosen.caller,
        chosen.since,
        chosen.until,
        before,
        limit,
    )
    return [Voicemail(*row) for row in rows]


async def voicemail(db: Executor, sid: str) -> Voicemail | None:
    row = await db.fetchrow(f"SELECT {_VOICEMAIL} FROM voicemail WHERE sid = $1", sid)
    return Voicemail(*row) if row else None


@dataclass(frozen=True, slots=True)
class AlertOfCall:
    """What Twilio's Debugger said of a call."""

    sid: str
    at: datetime
    level: str
    code: int
    said: str
    url: str | None


async def alerts(db: Executor, call_sid: str) -> list[AlertOfCall]:
    rows = await db.fetch(
        "SELECT sid, at, level, code, said, url FROM twilio_alert WHERE resource = $1 ORDER BY at, sid", call_sid
    )
    return [AlertOfCall(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class Received:
    """A callback as it came. `kind`: `call.status`; `address`: the path and query that Twilio called."""

    event_id: str
    kind: str
    at: datetime
    address: str
    answered: str | None
    body: str


async def callbacks(db: Executor, call_sid: str, limit: int = 500) -> list[Received]:
    """In the order in which they came."""
    rows = await db.fetch(
        """
        SELECT event_id, type, received_at, headers, body FROM event
        WHERE object_id = $1 AND provider = $2 ORDER BY received_at, seq LIMIT $3
        """,
        call_sid,
        PROVIDER,
        limit,
    )
    return [_received(row) for row in rows]


def _received(row: asyncpg.Record) -> Received:
    headers = _headers(row["headers"])
    return Received(
        row["event_id"],
        row["type"].removeprefix(PREFIX),
        row["received_at"],
        headers.get(PATH, ""),
        headers.get(ANSWER),
        bytes(row["body"]).decode("utf-8", "replace"),
    )


@dataclass(frozen=True, slots=True)
class Story:
    """A call with all that is known of it."""

    call: Call
    legs: Sequence[Leg]
    voicemails: Sequence[Voicemail]
    alerts: Sequence[AlertOfCall]
    callbacks: Sequence[Received]


async def story(db: Executor, sid: str) -> Story | None:
    found = await call(db, sid)
    if found is None:
        return None
    left = await voicemails(db, Filter(call_sid=sid), limit=100)
    return Story(found, await legs(db, sid), left, await alerts(db, sid), await callbacks(db, sid))
