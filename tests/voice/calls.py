"""Calls, legs and alerts in the store, as callbacks would have left them."""

from datetime import UTC, datetime, timedelta
from itertools import count

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
PHONE, OTHER, CALLER = "+14155550100", "+14155550101", "+14155550177"
ACCOUNT = "AC" + "1" * 32
_NUMBERS = count(1)


async def legs(
    pool, target, outcomes, *, region="US", phone=PHONE, at=NOW - timedelta(minutes=5), every=timedelta(seconds=1)
):
    """One leg for each of the outcomes: F failed, A answered, B busy, N no answer, C canceled; each of its own call."""
    words = {"F": "failed", "A": "answered", "B": "busy", "N": "no-answer", "C": "canceled"}
    for place, letter in enumerate(outcomes):
        sid = f"CA{next(_NUMBERS):032d}"
        await pool.execute(
            "INSERT INTO leg (call_sid, target, place, phone, region, outcome, at) VALUES ($1, $2, 1, $3, $4, $5, $6)",
            sid,
            target,
            phone,
            region,
            words[letter],
            at + place * every,
        )


async def call(pool, outcome="person", *, phone=PHONE, region="US", merchant_id=1, at=NOW - timedelta(minutes=5)):
    sid = f"CA{next(_NUMBERS):032d}"
    await pool.execute(
        f"""
        INSERT INTO call (sid, account, phone, merchant_id, region, caller, status, rank, began_at, ended_at, outcome)
        VALUES ($1, $2, $3, $4, $5, '{CALLER}', 'completed', 9, $6, $7, $8)
        """,
        sid,
        ACCOUNT,
        phone,
        merchant_id,
        region,
        at,
        at + timedelta(seconds=30),
        outcome,
    )
    return sid


async def alert(pool, code, *, at=NOW - timedelta(minutes=5), level="error", phone=None, region=None, target=None):
    sid = f"NO{next(_NUMBERS):032d}"
    await pool.execute(
        "INSERT INTO twilio_alert (sid, account, at, level, code, phone, region, target) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        sid,
        ACCOUNT,
        at,
        level,
        code,
        phone,
        region,
        target,
    )
    return sid
