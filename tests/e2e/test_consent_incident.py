"""A consent complaint from the list that was bought to the review: who complained is silent, and so is the list."""

import asyncio
import json
import time
from pathlib import Path

import aiohttp
import pytest

from holdfast.drills.call_town import WEST, town
from holdfast.drills.text_town import Townsman
from tests.e2e.incidents import SHOPS, TOKEN, Story, story
from tests.processes import command_here

LISTED = [f"+1720{5550100 + number}" for number in range(60)]
"""Whom nobody ever asked."""
ANGRY = "I never signed up for this. Stop texting me or I report you to the FCC"


@pytest.mark.timeout(400)
async def test_a_bought_list_is_found_behind_a_complaint_and_nobody_on_it_is_texted_any_more(place):
    async with story(place, "consent-complaint", rate=2.0, texts=3.0) as told:
        number = town(SHOPS)[0].numbers[WEST]
        batch = await bought_list(told)
        asked = await campaign(told, number)
        assert asked == len(LISTED)
        for phone in LISTED[:8]:
            await told.twilio.text(phone, number, "please take me off your list")
        said = await told.twilio.text(LISTED[8], number, ANGRY)
        assert said.status == 200
        stopped = time.time()
        await complain(told, LISTED[9])
        await told.until_incident()
        await told.until_step("complaints.suppress", "done")
        told.kill_watch()
        await told.until_step("complaints.draft_reply", "done")
        await answer_the_other(told)
        await told.until_step("complaints.hold_cohort", "done")
        told.kill_watch()
        assert await campaign(told, number) == 0
        await told.until_state("resolved")
        await told.until_step("runbook-verdict", "done")
        incident = await told.check()
        steps = {row.key: row for row in await told.steps()}
        assert f"import {batch}" in steps["complaints.origin"].said.lower()
        assert "0 texts" in steps["silence-to-the-end"].said.lower(), steps["silence-to-the-end"].said
        late = [one for one in told.twilio.messages if one.to in LISTED[:10] and one.direction != "inbound"]
        assert [one.body for one in late if one.created > stopped + 1 and "no more texts" not in one.body] == []
        (mail,) = told.mail.messages("angry@people.example")
        assert "sorry" in str(mail).lower()
        assert told.mail.messages("compliance@company.example")
        await told.check_the_review(incident)
        out = (await command_here("consent", "verify", "--json", **told.settings))[1]
        assert json.loads(out)["ok"] is True
        assert told.texting is not None
        assert told.texting.lost == 0


async def bought_list(told: Story) -> int:
    """Somebody imports a list that they say agreed; the batch's number."""
    file = Path(told.settings["data_dir"]).parent / "leads.csv"
    lines = [f"{phone},I agree to marketing texts,2026-11-01,marketing" for phone in LISTED]
    file.write_text("\n".join(["phone,disclosure,date,purpose", *lines]))
    arguments = ("contacts", "import", str(file), "--merchant", "shop0", "--origin", "leads of a partner", "--apply")
    status, out, err = await command_here(*arguments, "--json", **told.settings)
    assert status == 0, err
    return int(json.loads(out)["batch"])


async def campaign(told: Story, number: str) -> int:
    """Text the whole list; how many texts were taken."""
    assert told.texting is not None
    people = [Townsman("shop0", number, phone) for phone in LISTED]
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {TOKEN}"}) as session:
        answers = [await told.texting.ask(session, one, "Open house on Friday!", marketing=False) for one in people]
    await asyncio.sleep(3.0)
    return answers.count(202)


async def answer_the_other(told: Story) -> None:
    """Whoever complained by text left no mailbox: somebody calls them."""
    out = (await command_here("complaints", "list", "--json", **told.settings))[1]
    (other,) = [one["id"] for one in json.loads(out)["complaints"] if one["answered"] is None]
    said = ("--how", "phone", "--text", "Said sorry; told her that she is blocked.", "--as", "ann")
    status, _, err = await command_here("complaints", "answer", str(other), *said, **told.settings)
    assert status == 0, err


async def complain(told: Story, phone: str) -> None:
    arguments = ("complaints", "file", phone, "--merchant", "shop0", "--said", "Who gave you my number?")
    answer_to = ("--answer-to", "angry@people.example", "--as", "ann")
    status, _, err = await command_here(*arguments, *answer_to, **told.settings)
    assert status == 0, err
