"""`/v1/calls` and `/v1/voicemails`: what became of calls, and what callers left."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel

from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants
from holdfast.voice import history_store as store
from holdfast.voice import model
from holdfast.voice.history_store import Filter
from holdfast.voice.model import CallOutcome, LegOutcome, UnknownError

Sid = Annotated[str, Path(max_length=64)]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=64, pattern="^[A-Za-z0-9]+$", description="`next` of the page before.")]
MerchantKey = Annotated[str | None, Query(max_length=63, description="Its key.")]
Number = Annotated[str | None, Query(max_length=40, description="The number called: +14155550123.")]
Caller = Annotated[str | None, Query(max_length=40, description="A part of the caller's number.")]
Time = Annotated[AwareDatetime | None, Query()]


class Call(BaseModel):
    """A call at one of our numbers, as far as it is known."""

    sid: str
    account: str
    number: str
    merchant: str | None
    """Its key; null: nobody's, or the company's."""
    region: str
    caller: str
    is_test: bool
    status: str
    """Twilio's own: ringing, in-progress, completed …"""
    began_at: datetime
    ended_at: datetime | None
    seconds: int | None
    answer: str
    """What it was told last and why."""
    answered_by: str | None
    outcome: CallOutcome | None
    """Null: it is not over yet."""


class Calls(BaseModel):
    calls: list[Call]
    next: str | None
    """The cursor of the next page; null at the end."""


class Leg(BaseModel):
    """A target that a call was put through to."""

    target: str
    place: int
    region: str
    caller_id: str | None
    outcome: LegOutcome
    sip_code: int | None
    seconds: int | None
    at: datetime


class Voicemail(BaseModel):
    """A message that a caller left; `url` wants the password of its Twilio account unless that is turned off."""

    sid: str
    call: str
    number: str
    merchant: str | None
    caller: str
    url: str
    seconds: int | None
    at: datetime
    transcription: str | None


class Voicemails(BaseModel):
    voicemails: list[Voicemail]
    next: str | None


class Story(Call):
    """A call with all that is known of it."""

    legs: list[Leg]
    voicemails: list[Voicemail]
    alerts: list[store.AlertOfCall]
    callbacks: list[store.Received]


def router(pool: Pool) -> APIRouter:
    """Its routes."""
    made = APIRouter(tags=["calls"])

    @made.get("/calls")
    async def list_calls(  # noqa: PLR0917 - filters of the query
        merchant: MerchantKey = None,
        number: Number = None,
        outcome: CallOutcome | None = None,
        caller: Caller = None,
        since: Time = None,
        until: Time = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Calls:
        """Newest first."""
        chosen = Filter(await _merchant_id(pool, merchant), number, outcome, caller, since, until)
        found = await store.calls(pool, chosen, limit=limit + 1, before=cursor)
        keys = await merchants.keys(pool, [one.merchant_id for one in found])
        shown = [Call(**call_document(one, keys)) for one in found[:limit]]
        return Calls(calls=shown, next=shown[-1].sid if len(found) > limit else None)

    @made.get("/calls/{sid}")
    async def show_call(sid: Sid) -> Story:
        """One call: its legs, voicemails and alerts, and every callback in order with what was answered."""
        found = await store.story(pool, sid)
        if found is None:
            raise UnknownError(f"there is no call {sid}")
        keys = await merchants.keys(pool, [found.call.merchant_id])
        return Story(**story_document(found, keys))

    @made.get("/voicemails")
    async def list_voicemails(  # noqa: PLR0917 - filters of the query
        merchant: MerchantKey = None,
        number: Number = None,
        caller: Caller = None,
        since: Time = None,
        until: Time = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Voicemails:
        """Newest first."""
        chosen = Filter(await _merchant_id(pool, merchant), number, None, caller, since, until)
        found = await store.voicemails(pool, chosen, limit=limit + 1, before=cursor)
        keys = await merchants.keys(pool, [one.merchant_id for one in found])
        shown = [Voicemail(**voicemail_document(one, keys)) for one in found[:limit]]
        return Voicemails(voicemails=shown, next=shown[-1].sid if len(found) > limit else None)

    return made


async def _merchant_id(pool: Pool, key: str | None) -> int | None:
    if key is None:
        return None
    found = await merchants.find(pool, key)
    if found is None:
        raise UnknownError(f"there is no merchant {key!r}")
    return found.id


def call_document(call: model.Call, keys: Mapping[int, str]) -> dict[str, Any]:
    """`keys`: what merchants are called, by id."""
    return _with_merchant(asdict(call), keys)


def voicemail_document(voicemail: model.Voicemail, keys: Mapping[int, str]) -> dict[str, Any]:
    found = _with_merchant(asdict(voicemail), keys)
    del found["account"]
    return found | {"call": found.pop("call_sid")}


def story_document(story: store.Story, keys: Mapping[int, str]) -> dict[str, Any]:
    unsaid = ("call_sid", "phone")
    return call_document(story.call, keys) | {
        "legs": [{name: value for name, value in asdict(one).items() if name not in unsaid} for one in story.legs],
        "voicemails": [voicemail_document(one, keys) for one in story.voicemails],
        "alerts": [asdict(one) for one in story.alerts],
        "callbacks": [asdict(one) for one in story.callbacks],
    }


def _with_merchant(found: dict[str, Any], keys: Mapping[int, str]) -> dict[str, Any]:
    return found | {"merchant": keys.get(found.pop("merchant_id")), "number": found.pop("phone")}
