from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from holdfast.comms.status_board import Page, StatusBoard
from holdfast.comms.status_page import StatusPage
from holdfast.config import Settings

Visit = Callable[[StatusBoard], AbstractAsyncContextManager[httpx.AsyncClient]]
PUBLIC = "https://status.example"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path, public_url=PUBLIC, status_name="Acme & Co", smtp_url="smtp://127.0.0.1:9?starttls=0"
    )


@pytest.fixture
def board(settings: Settings) -> StatusBoard:
    return StatusBoard(settings)


def shown(board: StatusBoard, path: str = "/status") -> Page:
    """The page as it is in memory."""
    page = board.page(path)
    assert page is not None, path
    return page


@pytest.fixture
def visit(settings: Settings, pool) -> Visit:
    """A visitor of the doors that a board fills."""

    @asynccontextmanager
    async def visiting(board: StatusBoard) -> AsyncIterator[httpx.AsyncClient]:
        app = Starlette(routes=StatusPage(settings, pool, board).routes)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as client:
            yield client

    return visiting
