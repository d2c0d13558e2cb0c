"""`/v1/complaints`: file, read, answer, close."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from holdfast.complaints import proof, replying, service, store, view
from holdfast.complaints.model import LONGEST, Complaint
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants

Number = Annotated[int, Path(ge=1, le=2**62)]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=20, pattern="^[0-9]+$", description="`next` of the page before.")]
Actor = Annotated[str, Field(min_length=1, max_length=200, description="Who says so.")]
_JSON: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {}}}}


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Filing(_Given):
    """Somebody got texts that they did not want. `key`: the same one again is the same complaint."""

    phone: str = Field(max_length=40, description="Theirs, with its country's code: +14155550123.")
    merchant: str | None = Field(None, max_length=63, description="The key of whoever texted them, where it is known.")
    text: str | None = Field(None, max_length=LONGEST, description="What they said.")
    answer_to: str | None = Field(None, max_length=320, description="A mailbox or number where they want the answer.")
    received_at: AwareDatetime | None = Field(None, description="When they said it; now unless given.")
    key: str | None = Field(None, max_length=180, description="Such as the ticket's number.")
    source: Literal["api", "audit"] = "api"
    actor: Actor


class Answering(_Given):
    """`text` is what they were told. With `send`, how `email`, it is mailed to them now."""

    how: Literal["email", "phone", "text", "letter"]
    text: str = Field(min_length=1, max_length=LONGEST)
    send: bool = False
    actor: Actor


class Closing(_Given):
    cause: str = Field(min_length=1, max_length=LONGEST, description="How it came about.")
    actor: Actor


def router(pool: Pool, settings: Settings) -> APIRouter:
    """Its routes; documents as `holdfast complaints … --json` prints them."""
    made = APIRouter(tags=["complaints"], responses=_JSON)
    _reading(made, pool, settings)
    _writing(made, pool, settings)
    return made


def _reading(made: APIRouter, pool: Pool, settings: Settings) -> None:
    @made.get("/complaints", response_class=Response)
    async def list_complaints(
        state: Literal["unanswered", "open", "all"] = "open", limit: Limit = 50, cursor: Cursor = None
    ) -> Response:
        """Newest first; `open`: not closed."""
        found = await store.listing(
            pool,
            unanswered=state == "unanswered",
            is_open=state == "open",
            limit=limit + 1,
            before=min(int(cursor), 2**62) if cursor is not None else None,
        )
        return _answer(await listing(pool, found[:limit], len(found) > limit, _now()))

    @made.get("/complaints/{complaint_id}", response_class=Response)
    async def show_complaint(complaint_id: Number) -> Response:
        """All that is known of it: consent then and now, stops, every text, how the person came in and who else did."""
        seen = await view.read(pool, await service.get(pool, complaint_id), _now())
        return _answer(view.document(seen))

    @made.get("/complaints/{complaint_id}/reply", response_class=Response)
    async def draft_reply(complaint_id: Number) -> Response:
        """An answer as it might go out."""
        found = await service.get(pool, complaint_id)
        return _answer({"complaint": found.id, "text": await replying.drafted(pool, settings, found)})

    @made.get("/complaints/{complaint_id}/proof", response_class=Response)
    async def prove_silence(complaint_id: Number) -> Response:
        """Whether nobody texted them since, by our record and by Twilio's own list."""
        found = await service.get(pool, complaint_id)
        return _answer(proof.document(await proof.prove(pool, settings, found, _now())))


def _writing(made: APIRouter, pool: Pool, settings: Settings) -> None:
    @made.post("/complaints", response_class=Response, status_code=201)
    async def file_complaint(body: Filing) -> Response:
        """File one: from now on no merchant texts them. 201; 200 if it was filed before under its key.

        Answered once nothing that was on its way can go out any more, which may take some seconds.
        """
        filed = await service.file(
            pool,
            settings,
            phone=body.phone,
            merchant=body.merchant,
            source=body.source,
            text=body.text,
            answer_to=body.answer_to,
            received_at=body.received_at,
            key=f"api:{body.key}" if body.key is not None else None,
            filed_by=body.actor,
            now=_now(),
        )
        answer = _answer(await _shown(pool, filed.complaint) | {"settled": filed.is_settled})
        answer.status_code = 201 if filed.is_new else 200
        answer.headers["location"] = f"/v1/complaints/{filed.complaint.id}"
        return answer

    @made.post("/complaints/{complaint_id}/answer", response_class=Response)
    async def answer_complaint(complaint_id: Number, body: Answering) -> Response:
        """They were answered so, or with `send` are now: what is owed to them is met."""
        found = await replying.answer(
            pool, settings, complaint_id, how=body.how, text=body.text, send=body.send, actor=body.actor, now=_now()
        )
        return _answer(await _shown(pool, found))

    @made.post("/complaints/{complaint_id}/close", response_class=Response)
    async def close_complaint(complaint_id: Number, body: Closing) -> Response:
        """Nothing is left to be done, and this is how it came about. 409 while nobody has answered them."""
        found = await service.close(pool, complaint_id, cause=body.cause, actor=body.actor, now=_now())
        return _answer(await _shown(pool, found))


async def listing(pool: Pool, found: list[Complaint], more: bool, now: datetime) -> dict[str, Any]:
    """A page of them. `more`: there are others behind it."""
    keys = await merchants.keys(pool, [one.merchant_id for one in found])
    return {
        "complaints": [view.summary(one, keys, now) for one in found],
        "next": str(found[-1].id) if more else None,
    }


async def _shown(pool: Pool, one: Complaint) -> dict[str, Any]:
    return view.summary(one, await merchants.keys(pool, [one.merchant_id]), _now())


def _answer(document: Any) -> Response:
    return Response(msgspec.json.encode(document), media_type="application/json")


def _now() -> datetime:
    return datetime.now(UTC)
