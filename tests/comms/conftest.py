from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from holdfast.comms.status_board import StatusBoard
from holdfast.comms.status_page import StatusPage
from holdfast.config import Settings
from holdfast.drills.receivers import Mailboxes
from holdfast.drills.team_chat import TeamChat
from tests.comms.pages import PUBLIC, Visit
from tests.comms.town import Town


@pytest.fixture
async def chat():
    async with TeamChat() as opened:
        yield opened


@pytest.fixture
async def post():
    async with Mailboxes() as opened:
        yield opened


@pytest.fixture
def settings(chat):
    return Settings(team_channels=chat.url)


@pytest.fixture
async def town(pool) -> Town:
    return Town(pool)


@pytest.fixture
def page_settings(tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path, public_url=PUBLIC, status_name="Acme & Co", smtp_url="smtp://127.0.0.1:9?starttls=0"
    )


@pytest.fixture
def board(page_settings: Settings) -> StatusBoard:
    return StatusBoard(page_settings)


@pytest.fixture
def visit(page_settings: Settings, pool) -> Visit:
    """A visitor of the doors that a board fills."""

    @asynccontextmanager
    async def visiting(board: StatusBoard) -> AsyncIterator[httpx.AsyncClient]:
        app = Starlette(routes=StatusPage(page_settings, pool, board).routes)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PUBLIC) as client:
            yield client

    return visiting
