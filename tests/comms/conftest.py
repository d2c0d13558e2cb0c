from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from holdfast.comms.status_board import StatusBoard
from holdfast.comms.status_page import StatusPage
from holdfast.config import Settings
from holdfast.drills.receivers import Mailboxes
from holdfast.drills.team_chat import TeamChat
from holdfast.incidents import store as incidents
from holdfast.runbooks import store as steps
from holdfast.runbooks.actions import Run
from holdfast.runbooks.model import Step
from tests.comms.pages import PUBLIC, Visit
from tests.comms.town import Town

UPDATE = Step(
    "comms.team_update", "every", "communication", "1", "Post", 1, "comms.team_update", every=timedelta(minutes=15)
)
ASK = Step("comms.notify_merchants", "ask", "communication", "2", "Notify merchants", 2, "comms.notify_merchants")


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


@pytest.fixture
async def trouble(pool, town):
    """An incident since half an hour, in the store."""
    since = town.now - timedelta(minutes=30)
    await incidents.keep_text(pool, "v1", "webhook-backlog", "…", since)
    made = await incidents.insert(
        pool,
        runbook="webhook-backlog",
        version="v1",
        scope="",
        title="Events wait",
        severity="critical",
        cause="spike",
        since=since,
        opened_by="holdfast",
        commander="ann",
        affected={},
        now=since,
    )
    assert made is not None
    await steps.add(pool, made.id, [UPDATE, ASK])
    return made


@pytest.fixture
def run(pool, town, trouble, settings):
    return Run(pool, settings, trouble, "comms.team_update", 1, town.now)
