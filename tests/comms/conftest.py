import pytest

from holdfast.config import Settings
from holdfast.drills.receivers import Mailboxes
from holdfast.drills.team_chat import TeamChat
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
