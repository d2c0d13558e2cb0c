"""A consent complaint from the list that was bought to the review: who complained is silent, and so is the list."""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.drills import text_town
from holdfast.drills.call_town import WEST, town
from holdfast.drills.text_town import Townsman
from tests.e2e.incidents import SHOPS, Story, story
from tests.processes import command_here

ANGRY = "I never signed up for this. Stop texting me or I report you to the FCC"
ANSWER = ("--how", "phone", "--text", "Said sorry; told her that she is blocked.", "--as", "ann")


@pytest.mark.timeout(900)
async def test_a_bought_list_is_found_behind_a_complaint_and_nobody_on_it_is_texted_any_more(place):
    async with story(place, "consent-complaint", rate=2.0, texts=3.0) as told:
        assert told.texting is not None
        leads = text_town.bought_list(town(SHOPS)[0].numbers[WEST], SHOPS[0])
        batch = await imported(told, leads)
        assert await told.texting.campaign(leads, "Open house on Friday!") == len(leads)
        await asyncio.sleep(3.0)
        for one in leads[:8]:
            await told.twilio.text(one.phone, one.number, "please take me off your list")
        assert (await told.twilio.text(leads[8].phone, leads[8].number, ANGRY)).status == 200
        assert await told.texting.complain(leads[9], "Who gave you my number?", "angry@people.example") == 201
        stopped = time.time()

        await told.until_incident()
        await told.until_step("complaints.suppress", "done")
        told.kill_watch()
        await told.until_step("complaints.draft_reply", "done")
        await answer_who_left_no_mailbox(told)
        await told.until_step("complaints.hold_cohort", "done")
        told.kill_watch()
        assert await told.texting.campaign(leads, "Last chance!") == 0
        await told.until_state("resolved")
        await told.until_step("runbook-verdict", "done")

        incident = await told.check()
        steps = {row.key: row.said for row in await told.steps()}
        assert f"import {batch}" in steps["complaints.origin"]
        assert "none was sent" in steps["silence-to-the-end"]
        late = [one for one in told.twilio.messages if one.direction != "inbound" and one.created > stopped]
        gone = {one.phone for one in leads[:10]}
        assert [one.body for one in late if one.to in gone and not ours(one.body)] == []
        (mail,) = told.mail.messages("angry@people.example")
        assert "sorry" in str(mail).lower()
        assert told.mail.messages("compliance@company.example")
        await told.check_the_review(incident)
        assert json.loads((await command_here("consent", "verify", "--json", **told.settings))[1])["ok"] is True
        assert told.texting.lost == 0


def ours(body: str) -> bool:
    """Whether a text is the confirmation of a stop."""
    return "no more texts" in body


async def imported(told: Story, leads: Sequence[Townsman]) -> int:
    """The list, said to have agreed; the batch's number."""
    file = Path(told.settings["data_dir"]).parent / "leads.csv"
    file.write_text(text_town.written(leads, datetime.now(UTC)), encoding="utf-8")
    arguments = ("contacts", "import", str(file), "--merchant", SHOPS[0], "--origin", "leads of a partner", "--apply")
    status, out, err = await command_here(*arguments, "--json", **told.settings)
    assert status == 0, err
    return int(json.loads(out)["batch"])


async def answer_who_left_no_mailbox(told: Story) -> None:
    """Whoever complained by text is called by somebody."""
    out = (await command_here("complaints", "list", "--json", **told.settings))[1]
    (other,) = [one["id"] for one in json.loads(out)["complaints"] if one["answered"] is None]
    status, _, err = await command_here("complaints", "answer", str(other), *ANSWER, **told.settings)
    assert status == 0, err
