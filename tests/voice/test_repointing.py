"""Numbers' addresses at Twilio are moved to another public URL, whatever interrupts it, and back."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast.db.pool import Pool
from holdfast.drills.twilio import EmulatedTwilio
from holdfast.drills.twilio_faults import Rule, TwilioFaults
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.merchants.numbers import NewNumber
from holdfast.twilio.client import TwilioClient
from holdfast.twilio.model import Account
from holdfast.voice import repoint_store
from holdfast.voice.repointing import Repointer, RepointError, Survey, addresses

OLD, NEW = "https://old.example", "https://new.example"
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
DOOR = "/hooks/twilio/voice"
SUB = "AC" + "5" * 32


@pytest.fixture
async def twilio():
    async with EmulatedTwilio() as opened:
        yield opened


def client(twilio: EmulatedTwilio) -> TwilioClient:
    return TwilioClient(twilio.account_sid, twilio.auth_token, twilio.url, tries=1)


class Company:
    """Numbers of ours, at Twilio and in the store."""

    def __init__(self, pool: Pool, twilio: EmulatedTwilio) -> None:
        self.pool = pool
        self.twilio = twilio
        self.phones: list[str] = []

    async def number(self, phone: str, *, account: str | None = None, **urls: Any) -> str:
        urls = {"voice_url": OLD + DOOR, "status_callback": f"{OLD}{DOOR}/status"} | urls
        self.phones.append(phone)
        self.twilio.add_number(phone, account=account, **urls)
        bakery = await merchants.find(self.pool, "bakery")
        if bakery is None:
            bakery = await merchants.insert(self.pool, NewMerchant("bakery", "Bakery", None, None))
        await number_store.put(self.pool, [NewNumber(phone, bakery.id, "US", account)])
        return phone

    async def numbers(self, count) -> list[str]:
        return [await self.number(f"+1415555{place:04}") for place in range(count)]

    def release(self, phone: str) -> None:
        self.twilio.number(phone).account = "AC" + "9" * 32

    def voice_urls(self) -> set[str]:
        return {self.twilio.number(phone).voice_url for phone in self.phones}


@pytest.fixture
def company(pool, twilio) -> Company:
    return Company(pool, twilio)


@pytest.fixture
async def repointer(pool, twilio):
    async with client(twilio) as opened:
        yield Repointer(pool, opened, [OLD])


async def surveyed(pool, repointer: Repointer, to: str = NEW) -> Survey:
    return await repointer.survey(to, await number_store.numbers(pool))


async def begun(pool, repointer: Repointer) -> int:
    return await repointer.begin(await surveyed(pool, repointer), actor="ann", now=NOW)


def test_ours_move_with_their_path_query_and_fragment_and_others_stay():
    urls = {
        "voice_url": f"{OLD}{DOOR}#rc=2",
        "voice_method": "GET",
        "status_callback": "",
        "voice_fallback_url": "https://else.example/twiml",
        "sms_url": f"{OLD}/hooks/twilio/sms",
        "sms_fallback_url": f"{OLD}/other",
    }
    assert addresses(urls, NEW, [OLD, NEW]) == {
        "voice_url": f"{NEW}{DOOR}#rc=2",
        "voice_method": "POST",
        "status_callback": f"{NEW}{DOOR}/status",
        "status_callback_method": "POST",
        "sms_url": f"{NEW}/hooks/twilio/sms",
    }


async def test_the_view_says_what_moves_what_is_there_and_what_cannot_be_moved(pool, company, repointer):
    moving = await company.number("+14155550100")
    foreign = await company.number("+14155550101", voice_url="https://pbx.example/voice")
    await company.number("+14155550102", voice_url=NEW + DOOR, status_callback=f"{NEW}{DOOR}/status")
    await number_store.put(pool, [NewNumber("+14155550103", 0, "US")])
    survey = await surveyed(pool, repointer)
    assert [row.phone for row in survey.moves] == [moving, foreign]
    assert survey.there == ("+14155550102",)
    assert survey.cannot == {"+14155550103": "Twilio has no such number in the main account"}
    assert survey.from_elsewhere == {foreign: "https://pbx.example/voice"}
    assert company.twilio.number(moving).voice_url == OLD + DOOR, "nothing is changed yet"
    noted = await number_store.find(pool, moving)
    assert noted is not None
    assert noted.sid == company.twilio.number(moving).sid


@pytest.mark.parametrize("to", ["new.example", "ftp://new.example", "https://new.example?x=1", ""])
async def test_where_to_must_be_a_public_url(pool, company, repointer, to):
    with pytest.raises(RepointError, match="no public URL"):
        await surveyed(pool, repointer, to)


async def test_all_are_moved_and_the_old_addresses_are_kept(pool, company, repointer):
    await company.numbers(25)
    number = await begun(pool, repointer)
    seen: list[tuple[int, int]] = []
    moved = await repointer.advance(number, now=NOW, batch=10, told=lambda done, of: seen.append((done, of)))
    assert (moved.state, moved.numbers, moved.done, moved.failed) == ("done", 25, 25, 0)
    assert seen == [(10, 25), (20, 25), (25, 25)]
    assert company.voice_urls() == {NEW + DOOR}
    rows = await repoint_store.rows(pool, number)
    assert {row.before["voice_url"] for row in rows} == {OLD + DOOR}
    assert not (await surveyed(pool, repointer)).moves


async def test_numbers_of_subaccounts_are_moved_too(pool, company, repointer):
    company.twilio.add_subaccount(SUB, "their-token")
    phone = await company.number("+14155550100", account=SUB)
    await repointer.advance(await begun(pool, repointer), now=NOW)
    assert company.twilio.number(phone).voice_url == NEW + DOOR


async def test_what_was_interrupted_goes_on_where_it_stopped(pool, company, twilio):
    """Also where Twilio had changed a number and the store did not hear of it any more."""
    await company.numbers(30)
    async with client(twilio) as first:
        dying = Repointer(pool, first, [OLD])
        number = await begun(pool, dying)
        reached = asyncio.Event()
        task = asyncio.create_task(
            dying.advance(number, now=NOW, batch=5, told=lambda done, _: reached.set() if done >= 10 else None)
        )
        await reached.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    half = await repoint_store.get(pool, number)
    assert half is not None
    assert (half.state, 0 < half.done < 30) == ("under way", True)
    await pool.execute(
        "UPDATE repointed SET done_at = NULL WHERE phone = (SELECT min(phone) FROM repointed WHERE done_at IS NOT NULL)"
    )
    async with client(twilio) as second:
        again = Repointer(pool, second, [OLD])
        with pytest.raises(RepointError, match=f"move {number} to {NEW} is under way"):
            await begun(pool, again)
        moved = await again.advance(number, now=NOW)
    assert (moved.state, moved.done) == ("done", 30)
    assert company.voice_urls() == {NEW + DOOR}


async def test_what_somebody_changed_meanwhile_is_left_for_good_and_keeps_no_later_move_waiting(
    pool, company, repointer
):
    phones = await company.numbers(4)
    number = await begun(pool, repointer)
    company.twilio.number(phones[1]).voice_url = "https://somebody.example/voice"
    moved = await repointer.advance(number, now=NOW)
    assert (moved.state, moved.done, moved.left, moved.failed) == ("done", 3, 1, 0)
    (left,) = [row for row in await repoint_store.rows(pool, number) if row.left_at]
    assert left.error == "somebody has changed its voice_url meanwhile, to https://somebody.example/voice"
    assert company.twilio.number(phones[1]).voice_url == "https://somebody.example/voice"
    assert await begun(pool, repointer) > number


async def test_what_was_released_at_twilio_or_deleted_here_is_left_for_good(pool, company, repointer):
    released, deleted, there = await company.numbers(3)
    number = await begun(pool, repointer)
    company.release(released)
    await number_store.remove(pool, deleted)
    moved = await repointer.advance(number, now=NOW)
    assert (moved.state, moved.done, moved.left) == ("done", 1, 2)
    assert {row.phone: row.error for row in await repoint_store.rows(pool, number)} == {
        released: "Twilio has it no more",
        deleted: "it was deleted from our numbers meanwhile",
        there: None,
    }
    assert company.twilio.number(deleted).voice_url == OLD + DOOR


async def test_a_number_of_a_subaccount_that_was_deleted_here_is_moved_back_all_the_same(pool, company, repointer):
    company.twilio.add_subaccount(SUB, "their-token")
    phone = await company.number("+14155550100", account=SUB)
    number = await begun(pool, repointer)
    await repointer.advance(number, now=NOW)
    await number_store.remove(pool, phone)
    assert (await repointer.undo(number, now=NOW)).state == "undone"
    assert company.twilio.number(phone).voice_url == OLD + DOOR


async def test_a_subaccount_that_refuses_us_keeps_the_others_from_nothing_and_can_be_left(pool, company, twilio):
    twilio.add_subaccount(SUB, "their-token")
    theirs, ours = await company.number("+14155550100", account=SUB), await company.number("+14155550101")
    accounts = [Account(SUB, "sub", 1, "not-theirs-any-more")]
    async with client(twilio) as well:
        number = await begun(pool, Repointer(pool, well, [OLD]))
    async with TwilioClient(twilio.account_sid, twilio.auth_token, twilio.url, accounts=accounts, tries=1) as refused:
        await left_where_it_refuses(pool, company, Repointer(pool, refused, [OLD]), number, theirs, ours)


async def left_where_it_refuses(pool, company, repointer, number, theirs, ours):
    moved = await repointer.advance(number, now=NOW)
    assert (moved.state, moved.done, moved.failed) == ("under way", 1, 1)
    assert company.twilio.number(ours).voice_url == NEW + DOOR
    with pytest.raises(RepointError, match="finish"):
        await repointer.begin(
            Survey(NEW, tuple(await repoint_store.rows(pool, number)), (), {}, {}), actor="b", now=NOW
        )
    ended = await repointer.finish(number, "left by ann: it is closed", now=NOW)
    assert (ended.state, ended.done, ended.left, ended.failed) == ("done", 1, 1, 0)
    (left,) = [row for row in await repoint_store.rows(pool, number) if row.left_at]
    assert left.error is not None
    assert left.error.startswith(f"left by ann: it is closed (the account {SUB} cannot be asked: ")
    assert theirs in (await surveyed(pool, repointer)).cannot


async def test_it_stops_when_nothing_can_be_changed_any_more(pool, company, repointer, twilio):
    await company.numbers(30)
    number = await begun(pool, repointer)
    twilio.faults = TwilioFaults.of(Rule("api_error", status=503))
    with pytest.raises(Exception, match="503"):
        await repointer.advance(number, now=NOW, batch=5)
    twilio.faults = TwilioFaults()
    assert (await repointer.advance(number, now=NOW)).state == "done"


async def test_undoing_brings_back_the_old_addresses_and_leaves_what_others_changed_since(pool, company, repointer):
    phones = await company.numbers(3)
    number = await begun(pool, repointer)
    await repointer.advance(number, now=NOW)
    company.twilio.number(phones[2]).voice_url = "https://somebody.example/voice"
    undone = await repointer.undo(number, now=NOW)
    assert undone.state == "undone"
    assert [company.twilio.number(phone).voice_url for phone in phones] == [
        OLD + DOOR,
        OLD + DOOR,
        "https://somebody.example/voice",
    ]
    (left,) = [row for row in await repoint_store.rows(pool, number) if row.error]
    assert left.error is not None
    assert left.error.startswith("left as it is: somebody has changed its voice_url")
    assert (await surveyed(pool, repointer)).moves, "it can be moved again"


async def test_a_half_done_move_can_be_undone(pool, company, repointer, twilio):
    phones = await company.numbers(2)
    number = await begun(pool, repointer)
    rows = await repoint_store.rows(pool, number)
    async with client(twilio) as other:
        await other.update_number(rows[0].sid, **rows[0].after)
    assert (await repointer.undo(number, now=NOW)).state == "undone"
    assert {company.twilio.number(phone).voice_url for phone in phones} == {OLD + DOOR}
    assert (await repointer.begin(await surveyed(pool, repointer), actor="ann", now=NOW)) > number
