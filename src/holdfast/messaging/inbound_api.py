"""`/v1/texts/received` and `/v1/texts/reviews`: what people wrote, and the doubtful texts that wait for a decision."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants
from holdfast.messaging import inbound_store as store
from holdfast.messaging import reviews
from holdfast.messaging.api import merchant_id
from holdfast.messaging.inbound_store import Filter, Received
from holdfast.messaging.model import Verdict

Sid = Annotated[str, Path(max_length=64)]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=64, pattern="^[A-Za-z0-9]+$", description="`next` of the page before.")]
MerchantKey = Annotated[str | None, Query(max_length=63, description="Its key.")]
Phone = Annotated[str | None, Query(max_length=40, description="The person's number: +14155550123.")]
Time = Annotated[AwareDatetime | None, Query()]


class Text(BaseModel):
    """A text that a person sent. `score`: how surely it takes consent back, 0 to 1, by the rules named."""

    sid: str
    merchant: str | None
    """Its key; null: nobody's number, or the company's."""
    customer_id: int
    from_: str | None = Field(alias="from")
    """Null: the person was erased, or it was no phone's."""
    to: str
    body: str | None
    media: list[str]
    received_at: datetime
    verdict: Verdict
    score: float
    rules: list[str]
    provider_said: str | None
    suppression_id: int | None
    reviewed_at: datetime | None
    reviewed_by: str | None
    decision: reviews.Decision | None
    review_note: str | None


class Texts(BaseModel):
    texts: list[Text]
    next: str | None
    """The cursor of the next page; null at the end."""


class Judge(BaseModel):
    model_config = ConfigDict(extra="forbid")

    decision: reviews.Decision = Field(
        description="revoked: the person wants no more texts, since then; ordinary: the merchant gets the text."
    )
    actor: Annotated[str, Field(min_length=1, max_length=200)] = "api"
    note: Annotated[str, Field(max_length=reviews.LONGEST_NOTE)] = ""


def router(pool: Pool) -> APIRouter:
    """Its routes."""
    made = APIRouter(prefix="/texts", tags=["texts"])

    @made.get("/received")
    async def list_received(  # noqa: PLR0917 - filters of the query
        merchant: MerchantKey = None,
        phone: Phone = None,
        verdict: Verdict | None = None,
        since: Time = None,
        until: Time = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Texts:
        """Texts from people, newest first."""
        chosen = Filter(await merchant_id(pool, merchant), phone, verdict, since=since, until=until)
        return await _page(pool, chosen, limit, cursor)

    @made.get("/received/{sid}")
    async def show_received(sid: Sid) -> Text:
        found = await reviews.show(pool, sid)
        return Text(**document(found, await merchants.keys(pool, [found.merchant_id])))

    @made.get("/reviews")
    async def list_reviews(merchant: MerchantKey = None, limit: Limit = 50, cursor: Cursor = None) -> Texts:
        """Doubtful texts that nobody has judged yet, oldest first: their senders get nothing until then."""
        return await _page(pool, Filter(await merchant_id(pool, merchant), to_review=True), limit, cursor)

    @made.post("/reviews/{sid}")
    async def judge_text(sid: Sid, body: Judge) -> Text:
        """Say what a doubtful text meant; once."""
        found = await reviews.decide(pool, sid, body.decision, actor=body.actor, note=body.note, now=datetime.now(UTC))
        return Text(**document(found, await merchants.keys(pool, [found.merchant_id])))

    return made


async def _page(pool: Pool, chosen: Filter, limit: int, cursor: str | None) -> Texts:
    found = await store.received(pool, chosen, limit=limit + 1, before=cursor)
    keys = await merchants.keys(pool, [one.merchant_id for one in found])
    shown = [Text(**document(one, keys)) for one in found[:limit]]
    return Texts(texts=shown, next=shown[-1].sid if len(found) > limit else None)


def document(text: Received, keys: Mapping[int, str]) -> dict[str, Any]:
    """`keys`: what merchants are called, by id."""
    found = asdict(text)
    named = {"sid": found.pop("sid"), "merchant": keys.get(found.pop("merchant_id")), "from": found.pop("from_")}
    return named | found
