from collections.abc import AsyncIterator

import pytest

from holdfast.drills.twilio import EmulatedTwilio
from tests.drills.twiml_server import TwimlServer
from tests.drills.webhook_receiver import Receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as opened:
        yield opened


@pytest.fixture
async def server() -> AsyncIterator[TwimlServer]:
    async with TwimlServer() as opened:
        yield opened


@pytest.fixture
async def twilio() -> AsyncIterator[EmulatedTwilio]:
    """A Twilio in which an hour takes a few hundredths of a second."""
    async with EmulatedTwilio(speed=100_000) as opened:
        yield opened
