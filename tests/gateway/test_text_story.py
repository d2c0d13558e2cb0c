"""A reminder, an annoyed answer, its confirmation, and a change of mind: with the sender and Twilio's callbacks."""

from datetime import UTC, datetime, timedelta

from holdfast.levers.service import Levers
from holdfast.messaging.sender import TextSender
from holdfast.twilio.client import TwilioClient
from tests.gateway.text_door import text_door, twilio_at
from tests.messaging.sending import Office
from tests.messaging.texts import ANN, BAKERY, ask, grant, town


async def test_a_stop_in_free_words_ends_it_all_and_start_begins_anew(pool, tmp_path):
    found = await town(pool)
    await grant(pool, found.bakery, ANN, datetime.now(UTC) - timedelta(days=30))
    async with (
        text_door(pool, tmp_path, reports_are_kept=True) as door,
        twilio_at(door, pool) as twilio,
        TwilioClient(twilio.account_sid, twilio.auth_token, twilio.url, timeout=5.0, tries=1) as client,
    ):
        at = Office(pool, twilio, client)

        async def send() -> None:
            at.now = datetime.now(UTC)
            sender = TextSender(pool, client, door.url, levers=Levers(routers=0, deliveries=0))
            await at.work(sender)
            await twilio.settled()

        await ask(pool, found.bakery, ANN, datetime.now(UTC))
        await send()
        await ask(pool, found.bakery, ANN, datetime.now(UTC), body="Second reminder")
        assert (await twilio.text(ANN, BAKERY, "leave me alone, stop texting me!!")).status == 200
        await send()
        assert (await ask(pool, found.bakery, ANN, datetime.now(UTC))).rule == "suppressed"
        await twilio.text(ANN, BAKERY, "START")
        await ask(pool, found.bakery, ANN, datetime.now(UTC), body="Third reminder")
        await send()
        assert [one.body for one in reversed(at.outbound)] == [
            "Your bread is ready.",
            "You will get no more texts from The Bakery. Reply START to get them again.",
            "Third reminder",
        ]
        rows = await pool.fetch("SELECT kind, state, status FROM message ORDER BY id")
        assert [tuple(row) for row in rows] == [
            ("text", "sent", "delivered"),
            ("text", "cancelled", None),
            ("confirmation", "sent", "delivered"),
            ("text", "refused", None),
            ("text", "sent", "delivered"),
        ]
