"""`/v1/people` and `/v1/rota`."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from holdfast.db.pool import Pool
from holdfast.incidents import model, people, people_store

Key = Annotated[str, Path(max_length=63, description="The person's short name.")]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Known(_Given):
    """What is known of somebody; what is left out stays."""

    name: str | None = Field(None, max_length=200)
    email: str | None = Field(None, max_length=254, description="Where to call them by mail.")
    role: Literal["responder", "admin"] | None = Field(
        None, description="An admin may also answer what is for the commander."
    )


class Person(BaseModel):
    key: str
    name: str
    email: str | None
    role: str
    position: int | None
    """The place in the rota, from 0; None: not in it."""


class People(BaseModel):
    people: list[Person]


class NewRota(_Given):
    people: list[Annotated[str, Field(max_length=63)]] = Field(
        min_length=1, max_length=people.LARGEST_ROTA, description="Keys, in the order of their weeks."
    )
    handover: AwareDatetime = Field(description="When a week of the first begins.")


class Week(BaseModel):
    person: str
    begins: datetime
    ends: datetime


class Rota(BaseModel):
    on_call: str | None
    """Whose week it is; None: there is no rota."""
    handover: datetime | None
    people: list[str]
    weeks: list[Week]
    """This one and those to come."""


def router(pool: Pool) -> APIRouter:
    """Its routes."""
    made = APIRouter(tags=["people"])

    @made.get("/people")
    async def list_people() -> People:
        """Who is on the team; those in the rota first."""
        return People(people=[_person(one) for one in await people_store.people(pool)])

    @made.put("/people/{key}")
    async def put_person(key: Key, body: Known) -> Person:
        """Add somebody, or change what is named of them."""
        found, _ = await people.add(pool, key, name=body.name, email=body.email, role=body.role)
        return _person(found)

    @made.delete("/people/{key}", status_code=204)
    async def remove_person(key: Key) -> None:
        """Take somebody off the team; what they did stays in the logs."""
        await people.remove(pool, key)

    @made.get("/rota")
    async def show_rota(weeks: Annotated[int, Query(ge=1, le=520)] = 6) -> Rota:
        """Who is on call now, and in the weeks to come."""
        return _rota(await people_store.rota(pool), datetime.now(UTC), weeks)

    @made.put("/rota")
    async def set_rota(body: NewRota) -> Rota:
        """Who is on call in turn, a week each; replaces the rota that was."""
        made = await people.set_rota(pool, body.people, body.handover)
        return _rota(made, datetime.now(UTC), len(made.people) + 1)

    return made


def _person(one: model.Person) -> Person:
    return Person(key=one.key, name=one.name, email=one.email, role=one.role, position=one.position)


def _rota(rota: model.Rota | None, now: datetime, weeks: int) -> Rota:
    if rota is None:
        return Rota(on_call=None, handover=None, people=[], weeks=[])
    on_call = rota.on_call(now)
    return Rota(
        on_call=on_call.key if on_call is not None else None,
        handover=rota.handover,
        people=[one.key for one in rota.people],
        weeks=[Week(person=week.person.key, begins=week.begins, ends=week.ends) for week in rota.weeks(now, weeks)],
    )
