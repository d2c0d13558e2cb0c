"""Calls as they are in the store once Twilio has told of them."""

import time
from typing import Any

from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.merchants.numbers import NewNumber
from holdfast.voice.keeping import Keeper
from holdfast.voice.model import Callback
from holdfast.voice.voicemails import Announcer
from tests.voice.twilio import BAKERY, DESK, call, ended, made, recording, sid, transcription


async def keep(pool: Any, callbacks: list[Callback]) -> None:
    keeper = Keeper(pool, Announcer(lambda _: None))
    await keeper.store(callbacks)


async def two_calls(pool: Any) -> tuple[str, str, str]:
    """A voicemail for the bakery, and later a call to nobody: (call, voicemail, other call)."""
    bakery = await merchants.insert(pool, NewMerchant("bakery", "The Bakery", "baker@example.com"))
    await number_store.put(pool, [NewNumber(BAKERY, bakery.id, "US")])
    now = time.time() - 60
    about, other = call(), call(To="+14155550142", From="+12125550177")
    recorded = recording(about)
    dialed = about | {"DialCallStatus": "no-answer", "CallStatus": "in-progress"}
    alert = {"Sid": sid("NO"), "Level": "WARNING", "Payload": '{"resource_sid": "%s", "error_code": 13224}'}
    await keep(
        pool,
        [
            made("call.incoming", about, received=now, answered=f"dial {DESK}"),
            made("call.dialed", dialed, {"target": DESK, "place": "1"}, received=now + 20, answered="voicemail: no"),
            made("call.recording", recorded, received=now + 30),
            made("call.status", ended(about), received=now + 31),
            made("call.transcription", transcription(recorded), received=now + 40),
            made("debugger", alert | {"Payload": alert["Payload"] % about["CallSid"]}, received=now + 21),
            made("call.incoming", other, received=now + 50, answered="announcement: no such number"),
        ],
    )
    return about["CallSid"], recorded["RecordingSid"], other["CallSid"]
