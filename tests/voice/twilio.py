"""What Twilio sends, signed by its own SDK."""

import hashlib
import io
import random
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
import yarl
from twilio.request_validator import RequestValidator

from holdfast.voice.callbacks import callback
from holdfast.voice.model import Callback, CallbackKind

ACCOUNT = "AC" + "1" * 32
TOKEN = "token-of-the-main-account"
BAKERY, CALLER, DESK = "+14155550100", "+12125550111", "+14155550199"
RECORDINGS = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Recordings"
_random = random.Random(5)


def sid(prefix: str) -> str:
    return prefix + "".join(_random.choices("0123456789abcdef", k=32))


def call(**more: str) -> dict[str, str]:
    """The parameters of an incoming call."""
    return {
        "CallSid": sid("CA"),
        "AccountSid": ACCOUNT,
        "From": CALLER,
        "To": BAKERY,
        "CallStatus": "ringing",
        "Direction": "inbound",
        "ApiVersion": "2010-04-01",
    } | more


def ended(about: dict[str, str], status: str = "completed", **more: str) -> dict[str, str]:
    return about | {"CallStatus": status, "CallDuration": "7", "SequenceNumber": "2"} | more


def recording(about: dict[str, str], **more: str) -> dict[str, str]:
    """A recording's status callback: it does not say who called whom."""
    recorded = sid("RE")
    return {
        "CallSid": about["CallSid"],
        "AccountSid": about["AccountSid"],
        "RecordingSid": recorded,
        "RecordingUrl": f"{RECORDINGS}/{recorded}",
        "RecordingStatus": "completed",
        "RecordingDuration": "42",
    } | more


def transcription(recorded: dict[str, str], text: str = "Two loaves, please.") -> dict[str, str]:
    return {
        "CallSid": recorded["CallSid"],
        "AccountSid": recorded["AccountSid"],
        "RecordingSid": recorded["RecordingSid"],
        "RecordingUrl": recorded["RecordingUrl"],
        "TranscriptionSid": sid("TR"),
        "TranscriptionStatus": "completed",
        "TranscriptionText": text,
    }


def made(
    kind: CallbackKind,
    params: dict[str, str],
    query: dict[str, str] | None = None,
    *,
    received: float | None = None,
    answered: str = "",
) -> Callback:
    """As the door hands it to the recorder."""
    return callback(
        kind,
        params,
        query or {},
        account=ACCOUNT,
        received=time.time() if received is None else received,
        headers={"content-type": "application/x-www-form-urlencoded"},
        body=urlencode(params).encode(),
        answered=answered,
    )


@dataclass
class Twilio:
    """Calls the web process at `url` as Twilio would; `public` is the address that it was told."""

    session: aiohttp.ClientSession
    url: str
    token: str = TOKEN
    public: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def post(self, path: str, params: dict[str, str]) -> tuple[int, bytes, Any]:
        target = f"/hooks/twilio/{path}"
        signature = RequestValidator(self.token).compute_signature((self.public or self.url) + target, params)
        return await self.send(target, urlencode(params).encode(), signature=signature)

    async def post_json(self, path: str, body: bytes, *, digest: bool = True) -> tuple[int, bytes, Any]:
        query = f"?bodySHA256={hashlib.sha256(body).hexdigest()}" if digest else ""
        target = f"/hooks/twilio/{path}{query}"
        signature = RequestValidator(self.token).compute_signature((self.public or self.url) + target, {})
        return await self.send(target, body, signature=signature, content_type="application/json")

    async def get(self, target: str) -> tuple[int, bytes, Any]:
        signature = RequestValidator(self.token).compute_signature((self.public or self.url) + target, {})
        url = yarl.URL(self.url + target, encoded=True)
        async with self.session.get(url, headers={"X-Twilio-Signature": signature}) as answer:
            return answer.status, await answer.read(), answer.headers

    async def send(
        self, target: str, body: bytes, *, signature: str, content_type: str = "application/x-www-form-urlencoded"
    ) -> tuple[int, bytes, Any]:
        given = {"X-Twilio-Signature": signature, "Content-Type": content_type, **self.headers}
        url = yarl.URL(self.url + target, encoded=True)
        async with self.session.post(url, data=io.BytesIO(body), headers=given) as answer:
            return answer.status, await answer.read(), answer.headers
