"""`/v1/numbers`, their call plans, and whom a lever of calls touches."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from holdfast.db.pool import Pool
from holdfast.levers.turning import Turner
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.voice import service, store
from holdfast.voice.explaining import document, explain
from holdfast.voice.model import Plan, UnknownError
from holdfast.voice.plans import plan_of
from holdfast.voice.reach import reach
from holdfast.voice.service import Known, Wanted

Phone = Annotated[str, Path(max_length=40, description="With its country's code: +14155550123.")]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=20, pattern=r"^\+[0-9]+$", description="`next` of the page before.")]
Actor = Annotated[str, Field(min_length=1, max_length=200, description="Who says so.")]
BY = "api"


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Target(_Given):
    """Somebody who may answer."""

    address: str = Field(max_length=260, description="A number such as +14155550123, or sip:desk@example.com.")
    rings: int = Field(20, description="Seconds.")
    region: str | None = Field(None, max_length=40, description="Where it is; by default the country of its number.")


class Opening(_Given):
    """On these days, from `opens` to `closes`; where that is not after, until the next day's."""

    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = Field(min_length=1, max_length=7)
    opens: str = Field(max_length=5, description="09:00")
    closes: str = Field(max_length=5, description="17:00, or 24:00.")


class CallPlan(_Given):
    """What is done with a call: greeting, targets one after the other, voicemail."""

    targets: list[Target] = Field(min_length=1, max_length=10)
    hours: list[Opening] = Field([], max_length=50, description="Empty: always open.")
    time_zone: str | None = Field(None, max_length=60, description="By default the merchant's, else the number's.")
    greeting: str | None = Field(None, max_length=1000, description="Said, or played if it is an http(s) address.")
    closed_greeting: str | None = Field(None, max_length=1000)
    voicemail_greeting: str | None = Field(None, max_length=1000)
    voicemail_seconds: int = 120
    transcribe: bool = False
    language: str = Field("en-US", max_length=40)


class Number(BaseModel):
    phone: str
    merchant: str | None
    """Its key; null: the company itself."""
    region: str
    account: str | None
    """The Twilio account; null: the main one."""
    sid: str | None
    stands_in: bool
    """Whether it may be shown as caller ID instead of another number."""
    created_at: datetime
    plan: CallPlan | None
    """Null: its calls are asked for a message."""


class Numbers(BaseModel):
    numbers: list[Number]
    next: str | None
    """The cursor of the next page; null at the end."""


class NewNumber(_Given):
    """What is said of a number; what is not given stays as it is, or is at its default."""

    merchant: str | None = Field(None, max_length=63, description="Its key; empty: the company itself.")
    region: str | None = Field(None, max_length=40)
    account: str | None = Field(None, max_length=60)
    sid: str | None = Field(None, max_length=60)
    stands_in: bool | None = None
    plan: CallPlan | None = None


class Step(BaseModel):
    """What a call is told, one after the other while nobody answers."""

    what: Literal["dial", "voicemail", "announcement", "over"]
    why: str
    target: str | None = None
    rings: int | None = None
    caller_id: str | None = None
    says: str | None = None


class Skipped(BaseModel):
    address: str
    why: str


class Told(BaseModel):
    """What a call is told at a time, by the levers that are in force."""

    number: str
    merchant: str | None
    time_zone: str
    at: datetime
    open: bool
    changes_at: datetime | None
    """When it opens or closes next."""
    steps: list[Step]
    skipped: list[Skipped]
    levers: list[str]


class Reach(BaseModel):
    """Whom a lever of calls touches."""

    numbers: int
    merchants: int
    calls: int
    """To these numbers, in the last hour."""
    first: list[str]
    """What some of the merchants are called, those with the most numbers first."""


def router(pool: Pool, turner: Turner, main: str | None) -> APIRouter:
    """Its routes. `main`: the Twilio account of the settings, if any."""
    made = APIRouter()
    _numbers(made, pool, main)
    _plans(made, pool)
    _reach(made, pool, turner)
    return made


def _numbers(made: APIRouter, pool: Pool, main: str | None) -> None:
    @made.get("/numbers", tags=["numbers"])
    async def list_numbers(
        merchant: Annotated[str | None, Query(max_length=63, description="Its key.")] = None,
        region: Annotated[str | None, Query(max_length=40)] = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Numbers:
        """By number."""
        merchant_id = None
        if merchant is not None:
            found = await merchants.find(pool, merchant)
            if found is None:
                raise UnknownError(f"there is no merchant {merchant!r}")
            merchant_id = found.id
        there = await number_store.numbers(pool, merchant_id=merchant_id, region=region, after=cursor, limit=limit + 1)
        shown = [_number(one) for one in await service.known(pool, there[:limit])]
        return Numbers(numbers=shown, next=there[limit - 1].phone if len(there) > limit else None)

    @made.get("/numbers/{phone}", tags=["numbers"])
    async def show_number(phone: Phone) -> Number:
        """One number."""
        return await _shown(pool, phone)

    @made.put("/numbers/{phone}", tags=["numbers"])
    async def put_number(phone: Phone, body: NewNumber, response: Response) -> Number:
        """Add a number (201), or change what is given of it (200). Its calls are answered so within a second."""
        plan = _plan(body.plan) if body.plan is not None else None
        wanted = Wanted(phone, body.merchant, body.region, body.account, body.sid, body.stands_in, plan)
        number, is_new = await service.put(pool, wanted, by=BY, main=main)
        response.status_code = 201 if is_new else 200
        return await _shown(pool, number.phone)

    @made.delete("/numbers/{phone}", tags=["numbers"], status_code=204)
    async def remove_number(phone: Phone) -> None:
        """Remove a number and its plan: calls to it are told that it is not in service."""
        number = await service.find(pool, phone)
        await number_store.remove(pool, number.phone)


def _plans(made: APIRouter, pool: Pool) -> None:
    @made.get("/numbers/{phone}/plan", tags=["numbers"])
    async def show_plan(phone: Phone) -> CallPlan:
        """Its call plan."""
        known = await _shown(pool, phone)
        if known.plan is None:
            raise UnknownError(f"{known.phone} has no call plan: its calls are asked for a message")
        return known.plan

    @made.put("/numbers/{phone}/plan", tags=["numbers"])
    async def set_plan(phone: Phone, body: CallPlan) -> CallPlan:
        """Give it a call plan, in force within a second."""
        return _call_plan(await service.set_plan(pool, phone, _plan(body), by=BY))

    @made.delete("/numbers/{phone}/plan", tags=["numbers"], status_code=204)
    async def remove_plan(phone: Phone) -> None:
        """Take its call plan away: its calls are asked for a message."""
        number = await service.find(pool, phone)
        await store.remove_plan(pool, number.phone)

    @made.get("/numbers/{phone}/told", tags=["numbers"])
    async def explain_number(
        phone: Phone, at: Annotated[AwareDatetime | None, Query(description="Now unless given.")] = None
    ) -> Told:
        """What a call to it is told, by its plan, hours and the levers in force."""
        number = await service.find(pool, phone)
        told = await explain(pool, number.phone, at or datetime.now(UTC))
        if told is None:
            raise service.missing(number.phone)
        return Told.model_validate(document(told), extra="ignore")


def _reach(made: APIRouter, pool: Pool, turner: Turner) -> None:
    @made.get("/levers/{name}/reach", tags=["levers"])
    async def lever_reach(
        name: str,
        target: Annotated[str, Query(max_length=200, description="As for the lever: region:US, merchant:KEY …")] = "",
        value: Annotated[int, Query(ge=0, le=100, description="Percent.")] = 100,
    ) -> Reach:
        """Whom a lever of calls would touch, before it is turned."""
        _, on = await turner.read(name, target)
        return Reach(**asdict(await reach(pool, name, on, value)))


async def _shown(pool: Pool, phone: str) -> Number:
    number = await service.find(pool, phone)
    return _number((await service.known(pool, [number]))[0])


def _number(known: Known) -> Number:
    plan = _call_plan(known.plan) if known.plan is not None else None
    return Number(**asdict(known) | {"plan": plan})


def _plan(body: CallPlan) -> Plan:
    return plan_of(body.model_dump())


def _call_plan(plan: Plan) -> CallPlan:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(plan))
    return CallPlan.model_construct(
        **plain
        | {
            "targets": [Target.model_construct(**one) for one in plain["targets"]],
            "hours": [Opening.model_construct(**one) for one in plain["hours"]],
        }
    )
