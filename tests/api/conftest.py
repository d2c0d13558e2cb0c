from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from holdfast.api.door import ApiDoor
from holdfast.config import Settings
from tests.incidents.shop import Shop, desk_of

TOKEN = "a-token-of-some-length"


@pytest.fixture
def settings() -> Settings:
    return Settings(api_token=TOKEN, delivery_concurrency=200, router_concurrency=2, workers=1)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
async def door(pool, settings, shop) -> ApiDoor:
    """Where incidents are worked on, they are the shop's."""
    return ApiDoor(settings, pool, lambda pool, settings: desk_of(pool, shop, settings))


def client_of(door: ApiDoor, *, token: str | None = TOKEN) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Starlette(routes=[Mount("/v1", door)]))
    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    return httpx.AsyncClient(transport=transport, base_url="http://holdfast", headers=headers)


@pytest.fixture
async def client(door) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(door) as made:
        yield made
