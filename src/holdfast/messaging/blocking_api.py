"""`/v1/consents`, `/v1/suppressions` and `/v1/customers/erase`, as far as they change what may be sent."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import AliasChoices, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from holdfast.config import Settings
from holdfast.consent import documents
from holdfast.consent.api import merchant_id_of
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import Channel
from holdfast.db.pool import Pool
from holdfast.messaging import blocking, erasing
from holdfast.messaging.blocking import ByHand, Said

MOST = 500
"""Consents of one request."""
_PATIENCE = 3.0
"""Seconds for raw events: the API answers within ten."""
Phone = Annotated[str, Field(max_length=40, description="The person's number: +14155550123.")]
Actor = Annotated[str, Field(min_length=1, max_length=200, description="Who does it.")]
Text = Annotated[str | None, Field(max_length=4000)]
Word = Annotated[str | None, Field(max_length=200)]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Consent(_Given):
    """What one person said, with Twilio's words for the source."""

    phone: Phone = Field(validation_alias=AliasChoices("phone", "contact_id"))
    merchant: str = Field(max_length=63, description="Its key; `every` of an opt-out from all of them.")
    status: Literal["opt-in", "opt-out", "re-opt-in"]
    purpose: Literal["marketing", "informational", "all"] | None = Field(
        None, description="Needed of an opt-in; an opt-out is of all unless given."
    )
    channel: Channel = "text"
    source: Literal["website", "offline", "opt-in-message", "opt-out-message", "others"] = "others"
    date_of_consent: AwareDatetime | None = Field(
        None, description="When the person did it. Needed of an opt-in; an opt-out without one is of now."
    )
    disclosure: Text = Field(None, description="The text that they were shown: marketing needs one.")
    origin: Word = Field(None, description="The form, keyword or campaign: who else came this way is told by it.")
    collector: Word = None
    method: Word = None
    ip: Annotated[str | None, Field(max_length=64)] = None
    recording: Annotated[str | None, Field(max_length=500)] = None
    correlation_id: Annotated[str | None, Field(max_length=64)] = None
    sender_id: Annotated[str | None, Field(max_length=64, description="The sender that they said it of.")] = None

    @model_validator(mode="after")
    def _scoped(self) -> "Consent":
        if self.status != "opt-out" and self.purpose in (None, "all"):
            raise ValueError("purpose: an opt-in is for marketing or for informational texts")
        if self.status != "opt-out" and self.date_of_consent is None:
            raise ValueError("date_of_consent: say when the person opted in")
        if self.status != "opt-out" and self.merchant == documents.EVERY:
            raise ValueError("merchant: a consent is given to one merchant")
        return self


class Consents(_Given):
    consents: list[Consent] = Field(min_length=1, max_length=MOST)
    actor: Actor = "api"


class Block(_Given):
    phone: Phone
    merchant: str = Field(max_length=63, description="Its key; `every`: no merchant may text them.")
    reason: ByHand = "operator"
    note: str = Field("", max_length=1000)
    actor: Actor = "api"


class Lift(_Given):
    why: str = Field(min_length=1, max_length=1000)
    actor: Actor


class Erase(_Given):
    phone: Phone
    why: str = Field(min_length=1, max_length=1000, description="The request, such as a ticket and its date.")
    actor: Actor


def router(pool: Pool, settings: Settings, key: PhoneKey) -> APIRouter:
    """Its routes."""
    made = APIRouter(tags=["consent"])

    @made.post("/consents", status_code=201)
    async def add_consents(given: Consents) -> dict[str, Any]:
        """Append what people said to the ledger, all of it or nothing. An opt-out of everything blocks the person for
        the merchant at once; no opt-in lifts a block, `blocked` says which there are.
        """
        ids = {one.merchant: await merchant_id_of(pool, one.merchant) for one in given.consents}
        now = datetime.now(UTC)
        said = [_said(one, ids[one.merchant], now) for one in given.consents]
        done = await blocking.record(pool, said, key, actor=given.actor, now=now)
        return {
            "consents": [
                {
                    "correlation_id": one.correlation_id,
                    "phone": wanted.phone,
                    "consent_seq": found.consent_seq,
                    "suppression_id": found.suppression_id,
                    "cancelled": found.cancelled,
                    "blocked": list(found.blocked),
                }
                for one, wanted, found in zip(given.consents, said, done, strict=True)
            ]
        }

    @made.post("/suppressions", status_code=201)
    async def add_suppression(given: Block) -> dict[str, Any]:
        """Block somebody. Answered when nothing can go out to them any more; what waits is cancelled."""
        merchant_id = await merchant_id_of(pool, given.merchant)
        phone, now = blocking.number(given.phone), datetime.now(UTC)
        done = await blocking.add(
            pool, phone, merchant_id, given.reason, key, actor=given.actor, note=given.note, now=now
        )
        found = await documents.one_suppression(pool, done.suppression_id)
        assert found is not None
        return found | {"is_new": done.is_new, "cancelled": len(done.cancelled)}

    @made.post("/suppressions/{suppression_id}/lift")
    async def lift_suppression(suppression_id: Annotated[int, Path(ge=1, le=2**62)], given: Lift) -> dict[str, Any]:
        """Lift a block by hand. That of an erasure is not; that of a complaint not without a reason of some words."""
        await blocking.lift(pool, suppression_id, actor=given.actor, why=given.why, now=datetime.now(UTC))
        found = await documents.one_suppression(pool, suppression_id)
        assert found is not None
        return found

    @made.post("/customers/erase")
    async def erase(given: Erase) -> dict[str, Any]:
        """Erase a person on request. What is personal goes, the number stays blocked. Done twice, it is done once.

        Where `is_complete` is false, raw events were too many for one request: end it with `holdfast consent erase`.
        """
        secret = PhoneKey.load_or_make(settings)
        now = datetime.now(UTC)
        phone = blocking.number(given.phone)
        done = await erasing.erase(
            pool,
            phone,
            secret,
            actor=given.actor,
            why=given.why,
            now=now,
            patience=_PATIENCE,
            exports=settings.data_dir / erasing.EXPORTS,
        )
        return {
            "erasure_id": done.id,
            "customer_id": done.customer_id,
            "suppression_id": done.suppression_id,
            "cancelled": done.cancelled,
            "counts": dict(done.counts),
            "is_complete": done.is_complete,
            "out_of_reach": list(done.out_of_reach),
        }

    return made


def _said(one: Consent, merchant_id: int, now: datetime) -> Said:
    names = ("method", "ip", "recording", "correlation_id", "sender_id")
    detail = {name: text for name in names if (text := getattr(one, name))}
    is_grant = one.status != "opt-out"
    purpose = one.purpose or "all"
    return Said(
        blocking.number(one.phone),
        merchant_id,
        "grant" if is_grant else "revoke",
        purpose,
        blocking.source(one.source),
        one.date_of_consent or now,
        channel=one.channel if is_grant or purpose != "all" else "all",
        disclosure=one.disclosure if is_grant else None,
        origin=one.origin,
        collector=one.collector,
        detail=detail,
    )
