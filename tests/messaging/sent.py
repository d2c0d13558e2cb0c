"""Texts that went out, for tests of what is said of them afterwards."""

from datetime import datetime
from typing import Any

from holdfast.messaging import gate
from tests.messaging.texts import ask, grant


def person(number: int) -> str:
    return f"+1415556{number:04d}"


async def text(pool: Any, merchant_id: int, phone: str, at: datetime, *, sid: str | None = None, **fields: Any) -> int:
    """A text that was asked for, allowed and handed to Twilio at that time."""
    said = await ask(pool, merchant_id, phone, at, **fields)
    assert said.state == "queued", said
    leaves = await gate.begin_sending(pool, [said.id], now=at)
    assert leaves[said.id].verdict == "send"
    await pool.execute(
        "UPDATE message SET state = 'sent', sending_until = NULL, sid = $2 WHERE id = $1",
        said.id,
        sid or f"SM{said.id}",
    )
    return said.id


async def campaign(
    pool: Any, merchant_id: int, people: range, at: datetime, *, phone: Any = person, **consent: Any
) -> None:
    """A text to each of these, who agreed before."""
    for number in people:
        await grant(pool, merchant_id, phone(number), **consent)
        await text(pool, merchant_id, phone(number), at)
