"""The status page as a whole: somebody subscribes on the page, and is mailed what is published, by real processes."""

import asyncio
import re
from datetime import UTC, datetime

import httpx

from holdfast.drills.receivers import Mailboxes
from tests.comms.incidents import moved, opened
from tests.processes import command_here, running

ANN = "ann@shop.example"


async def mail(post, subject, patience=60.0):
    """Wait for a mail to Ann whose subject has this text; returns its text."""
    async with asyncio.timeout(patience):
        while True:
            for message in post.messages(ANN):
                if subject in message["subject"]:
                    return message.get_body(("plain",)).get_content()
            await asyncio.sleep(0.1)


async def test_a_subscriber_hears_of_an_incident_from_the_first_update_to_the_last(database_url, pool, tmp_path):
    async with Mailboxes() as post:
        settings = {
            "database_url": database_url,
            "smtp_url": f"{post.url}?starttls=0",
            "data_dir": str(tmp_path),
            "public_url": "https://status.example",
        }
        async with (
            running("web", **settings) as web,
            running("worker", **settings) as worker,
            httpx.AsyncClient(base_url=web.url) as client,
        ):
            await web.answers()
            await worker.says("worker.started")
            await client.post("/status/subscribe", data={"email": ANN})
            link = re.search(r"/status/confirm/\S+", await mail(post, "confirm your subscription"))
            assert link is not None
            assert (await client.post(link[0])).status_code == 200

            now = datetime.now(UTC)
            incident = await opened(pool, now=now)
            status, _, err = await command_here(
                "status", "publish", str(incident.id), "investigating", "We look into it.", **settings
            )
            assert status == 0, err
            assert "We look into it." in await mail(post, "investigating: Payment events are delayed")
            await moved(pool, incident, "resolved", now)  # and nobody publishes that
            assert "works as usual" in await mail(post, "resolved: Payment events are delayed")
            summary = (await client.get("/api/v2/summary.json")).json()
            async with asyncio.timeout(20):
                while summary["incidents"]:
                    await asyncio.sleep(0.2)
                    summary = (await client.get("/api/v2/summary.json")).json()
            assert summary["status"]["indicator"] == "none"
        assert post.received[ANN] == 3
