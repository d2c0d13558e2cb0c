"""Sends messages to team channels: any address that Apprise knows (https://github.com/caronc/apprise)."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import SecretStr

from holdfast.delivery.model import Attempt, Message, Outcome, OwnMessage, read_own
from holdfast.merchants.model import Destination

if TYPE_CHECKING:
    from apprise import Apprise

PREFIX = "team:"
"""An address is this and the number of the channel in HOLDFAST_TEAM_CHANNELS: the URL itself is a secret."""


class TeamSender:
    """Sends to destinations of kind `team`. Apprise says whether it was taken, not why not."""

    def __init__(self, channels: Sequence[SecretStr]) -> None:
        self._urls = [channel.get_secret_value() for channel in channels]
        self._opened: dict[int, Apprise] = {}

    async def send(self, destination: Destination, message: Message, now: datetime) -> Attempt:
        """Try once, for at most `destination.timeout` seconds."""
        try:
            number = int(destination.address.removeprefix(PREFIX))
            said = read_own(message.body)
        except ValueError:
            return Attempt(Outcome.REFUSED, None, 0.0, "the destination is no team channel, or this no message for one")
        if not 1 <= number <= len(self._urls):
            there = len(self._urls)
            text = f"there is no team channel {number}: HOLDFAST_TEAM_CHANNELS names {there}"
            return Attempt(Outcome.REFUSED, None, 0.0, text)
        began = time.perf_counter()
        try:
            async with asyncio.timeout(destination.timeout):
                why = await self._notify(number, said)
        except TimeoutError:
            why = f"team channel {number} timed out after {destination.timeout:g} s"
        except Exception as error:  # noqa: BLE001 - its plugins raise what they like, perhaps with the address in it
            why = f"team channel {number}: {type(error).__name__}"
        latency = time.perf_counter() - began
        if why is not None:
            return Attempt(Outcome.RETRY, None, latency, why, down=True, congested=True)
        return Attempt(Outcome.DELIVERED, None, latency)

    async def _notify(self, number: int, said: OwnMessage) -> str | None:
        """Why it was not taken; None if it was."""
        channel = self._opened.get(number) or await asyncio.to_thread(self._open, number)
        if channel is None:
            return f"address {number} of HOLDFAST_TEAM_CHANNELS is none that Apprise knows"
        if await channel.async_notify(title=said.subject, body=said.text, body_format="text"):
            return None
        return f"team channel {number} did not take it"

    def _open(self, number: int) -> "Apprise | None":
        """Apprise takes half a second to import: in a thread, when there is something to send."""
        import apprise

        opened = apprise.Apprise()
        if not opened.add(self._urls[number - 1]):
            return None
        self._opened[number] = opened
        return opened
