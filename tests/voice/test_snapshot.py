"""The snapshot that calls are answered from: fresh, on disk, and there when the store is not."""

import asyncio
import stat
from datetime import datetime, timedelta

import asyncpg
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.config import Settings
from holdfast.db.pool import AWAY, create_pool
from holdfast.gateway.calls import Calls
from holdfast.levers import model as levers
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY, NewMerchant
from holdfast.merchants.numbers import NewNumber
from holdfast.twilio import store as accounts
from holdfast.twilio.model import Account
from holdfast.voice import snapshot as module
from holdfast.voice import snapshot_file, store
from holdfast.voice.model import Line, Opening, Plan, PlanTarget
from holdfast.voice.snapshot import Snapshots
from tests.voice.lines import BAKERY, DESK, NOON, plan

NONE = levers.Snapshot()
SUBACCOUNT = Account(
    "AC" + "1" * 32, "The Bakery", 1, "token-of-the-bakery", {"key": "secret-of-it"}, ("its-old-token",)
)
HOURS = (Opening(("mon",), "09:00", "17:00"),)


async def bakery(pool, *phones: str) -> int:
    merchant = await merchants.insert(pool, NewMerchant("bakery", "The Bakery"))
    await number_store.put(pool, [NewNumber(phone, merchant.id, "US") for phone in phones or (BAKERY,)])
    return merchant.id


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


async def test_everything_that_answers_a_call_is_read(pool, tmp_path):
    merchant_id = await bakery(pool)
    await number_store.put(pool, [NewNumber("+14155550900", COMPANY, "US-west", stands_in=True)])
    await store.put_plans(pool, {BAKERY: plan(DESK, greeting="Hello")}, changed_by="ana")
    await accounts.put(pool, SUBACCOUNT)
    held = Snapshots(tmp_path)
    turned = levers.Snapshot({("voice.avoid", "region:US"): 25, ("queue.paused", "lane:bulk"): True})
    assert await held.refresh(pool, turned)
    found = held.current
    assert (found.lines[BAKERY].merchant, found.lines[BAKERY].merchant_name) == ("bakery", "The Bakery")
    assert found.lines[BAKERY].plan == plan(DESK, greeting="Hello")
    assert found.lines["+14155550900"].plan == Plan()
    assert [line.phone for line in found.by_merchant[merchant_id]] == [BAKERY]
    assert [line.phone for line in found.pool[COMPANY]] == ["+14155550900"]
    assert found.accounts == {SUBACCOUNT.sid: SUBACCOUNT}
    assert found.levers == {("voice.avoid", "region:US"): 25}


async def test_it_is_read_again_only_when_something_changed(pool, tmp_path):
    merchant_id = await bakery(pool)
    held = Snapshots(tmp_path)
    assert await held.refresh(pool, NONE)
    assert not await held.refresh(pool, NONE)
    for change in (
        store.put_plans(pool, {BAKERY: plan(DESK)}, changed_by="ana"),
        merchants.update(pool, "bakery", NewMerchant("bakery", "The Other Bakery")),
        number_store.put(pool, [NewNumber("+14155550101", merchant_id, "US")]),
        accounts.put(pool, SUBACCOUNT),
        accounts.remove(pool, SUBACCOUNT.sid),
        store.remove_plan(pool, BAKERY),
        number_store.remove(pool, BAKERY),
    ):
        await change
        assert await held.refresh(pool, NONE)
        assert not await held.refresh(pool, NONE)
    assert list(held.current.lines) == ["+14155550101"]
    assert held.current.lines["+14155550101"].merchant_name == "The Other Bakery"


async def test_a_lever_that_is_turned_changes_it_without_reading_the_numbers(pool, tmp_path):
    await bakery(pool)
    held = Snapshots(tmp_path)
    await held.refresh(pool, NONE)
    lines = held.current.lines
    assert await held.refresh(pool, levers.Snapshot({("voice.voicemail_only", ""): 100}))
    assert held.current.lines is lines
    assert held.current.levers == {("voice.voicemail_only", ""): 100}
    assert await held.refresh(pool, NONE)
    assert held.current.levers == {}


async def test_every_change_is_notified(pool, database_url):
    connection, heard = await asyncpg.connect(database_url), []
    await connection.add_listener(module.CHANNEL, lambda *_: heard.append(1))
    await bakery(pool)
    await connection.fetchval("SELECT 1")
    await connection.close()
    assert heard


async def test_the_time_zone_is_the_plans_else_the_merchants_else_the_numbers(pool, tmp_path):
    london = "+442079460100"
    await bakery(pool, london, BAKERY)
    held = Snapshots(tmp_path)

    async def zone(phone: str, **fields: str) -> str:
        await store.put_plans(pool, {phone: plan(DESK, hours=HOURS, **fields)}, changed_by="ana")
        await held.refresh(pool, NONE)
        return held.current.lines[phone].time_zone

    assert await zone(london) == "Europe/London"
    assert await zone(BAKERY) == "America/Los_Angeles"
    await store.remove_plan(pool, BAKERY)
    await held.refresh(pool, NONE)
    assert held.current.lines[BAKERY].time_zone == "America/Los_Angeles"
    await pool.execute("UPDATE merchant SET time_zone = 'Europe/Paris'")
    assert await zone(london) == "Europe/Paris"
    assert await zone(london, time_zone="Asia/Tokyo") == "Asia/Tokyo"
    await pool.execute("UPDATE merchant SET time_zone = NULL")
    assert await zone(london) == "Europe/London"


async def test_with_the_store_away_the_last_one_stays_in_force_and_says_how_old_it_is(pool, tmp_path):
    await bakery(pool)
    clock = Clock()
    held = Snapshots(tmp_path, clock)
    assert held.age() is None
    await held.refresh(pool, NONE)
    found = held.current
    away = await create_pool("postgresql://127.0.0.1:9/nothing", size=1, name="tests")
    clock.now += timedelta(minutes=5)
    with pytest.raises(AWAY):
        await held.refresh(away, NONE)
    away.terminate()
    assert (held.current, held.age()) == (found, 300.0)
    assert not await held.refresh(pool, NONE)
    assert held.age() == 0.0


async def test_a_cold_start_without_the_store_answers_from_disk(pool, tmp_path):
    await bakery(pool)
    await store.put_plans(pool, {BAKERY: plan(DESK, hours=HOURS)}, changed_by="ana")
    await accounts.put(pool, SUBACCOUNT)
    clock = Clock()
    held = Snapshots(tmp_path, clock)
    await held.refresh(pool, levers.Snapshot({("voice.avoid", f"target:{DESK}"): 100}))
    clock.now += timedelta(hours=2)
    started = Snapshots(tmp_path, clock)
    assert started.load()
    assert started.current == held.current
    assert started.age() == 7200.0
    await pool.execute("DELETE FROM number")
    assert await started.refresh(pool, NONE)
    assert started.current.lines == {}


async def test_a_start_keeps_the_levers_that_were_turned_until_it_has_read_them(pool, tmp_path):
    await bakery(pool)
    only = {("voice.voicemail_only", ""): 100}
    await Snapshots(tmp_path).refresh(pool, levers.Snapshot(only))
    started = Snapshots(tmp_path)
    assert started.load()
    for _ in range(2):
        await started.refresh(pool)
        assert started.current.levers == only
        again = Snapshots(tmp_path)
        assert again.load()
        assert again.current.levers == only
    await started.refresh(pool, NONE)
    assert started.current.levers == {}


async def test_the_process_starts_with_the_levers_on_disk(pool, tmp_path):
    only = {("voice.voicemail_only", ""): 100}
    await Snapshots(tmp_path).refresh(pool, levers.Snapshot(only))
    before = (tmp_path / "voice.levers").stat().st_ino
    stop = asyncio.Event()
    with Calls(Settings(data_dir=tmp_path), pool, pool) as calls:
        running = asyncio.gather(*calls.loops(lambda loop: loop, stop))
        async with asyncio.timeout(10):
            while (tmp_path / "voice.levers").stat().st_ino == before:
                await asyncio.sleep(0.01)
        stop.set()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    started = Snapshots(tmp_path)
    assert started.load()
    assert started.current.levers == only


async def test_a_lever_that_is_turned_writes_little(pool, tmp_path):
    await bakery(pool)
    held = Snapshots(tmp_path)
    await held.refresh(pool, NONE)
    large = (tmp_path / "voice.snapshot").stat().st_ino
    for percent in (25, 50, 100):
        values = {("voice.voicemail_only", ""): percent}
        await held.refresh(pool, levers.Snapshot(values))
        started = Snapshots(tmp_path)
        assert started.load()
        assert started.current == held.current
    assert (tmp_path / "voice.snapshot").stat().st_ino == large


async def test_numbers_that_change_often_are_saved_every_few_seconds_and_the_last_change_always(pool, tmp_path):
    merchant_id = await bakery(pool)
    clock = Clock()
    held = Snapshots(tmp_path, clock)

    def saved() -> list[str]:
        started = Snapshots(tmp_path)
        assert started.load()
        return list(started.current.lines)

    await held.refresh(pool, NONE)
    await number_store.put(pool, [NewNumber("+14155550101", merchant_id, "US")])
    clock.now += timedelta(seconds=1)
    assert await held.refresh(pool, NONE)
    assert saved() == [BAKERY]
    clock.now += timedelta(seconds=module.SAVED_EVERY)
    assert not await held.refresh(pool, NONE)
    assert saved() == [BAKERY, "+14155550101"]


async def test_damaged_levers_are_ignored_and_the_numbers_are_not(pool, tmp_path):
    await bakery(pool)
    await Snapshots(tmp_path).refresh(pool, levers.Snapshot({("voice.voicemail_only", ""): 100}))
    (tmp_path / "voice.levers").write_bytes(b"nonsense")
    started = Snapshots(tmp_path)
    assert started.load()
    assert (list(started.current.lines), started.current.levers) == ([BAKERY], {})


def test_what_is_written_in_parts_is_what_the_encoder_makes_of_the_whole(tmp_path):
    line = Line("+14155550000", 1, "bakery", "The Bakery", "US", "America/Los_Angeles", plan(DESK, hours=HOURS))
    lines = tuple(msgspec.structs.replace(line, phone=f"+1415{n:07}") for n in range(1_234))
    stored = snapshot_file.Stored(7, 1.5, lines, (SUBACCOUNT,))
    snapshot_file.write(tmp_path, stored)
    assert snapshot_file.read(tmp_path) == (stored, {})


async def test_the_store_is_read_after_a_start_even_where_the_versions_are_the_same_by_chance(pool, tmp_path):
    await bakery(pool)
    await Snapshots(tmp_path).refresh(pool, NONE)
    version = await store.version(pool)
    await pool.execute("DELETE FROM number")
    await pool.execute("UPDATE voice_version SET version = $1", version)
    started = Snapshots(tmp_path)
    assert started.load()
    await started.refresh(pool, NONE)
    assert started.current.lines == {}


async def test_the_file_is_for_nobody_else_to_read(pool, tmp_path):
    await accounts.put(pool, SUBACCOUNT)
    held = Snapshots(tmp_path / "new" / "place")
    await held.refresh(pool, NONE)
    found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "new" / "place").iterdir()}
    assert found == {"voice.snapshot": 0o600, "voice.levers": 0o600}
    assert SUBACCOUNT.auth_token not in repr(held.current)


def test_without_a_file_nothing_is_loaded(tmp_path):
    held = Snapshots(tmp_path)
    assert not held.load()
    assert held.current.lines == {}


async def test_a_file_that_is_damaged_or_of_another_version_is_ignored(pool, tmp_path):
    await bakery(pool)
    await Snapshots(tmp_path).refresh(pool, NONE)
    file = tmp_path / "voice.snapshot"
    good = file.read_bytes()
    for bad in (
        b"",
        good[:-1],
        good + b"x",
        good[: len(good) // 2],
        good[:60] + bytes([good[60] ^ 1]) + good[61:],
        good.replace(b"snapshot 1\n", b"snapshot 2\n"),
    ):
        file.write_bytes(bad)
        held = Snapshots(tmp_path)
        assert not held.load()
        assert (held.current.lines, held.age()) == ({}, None)
    file.write_bytes(good)
    assert Snapshots(tmp_path).load()
    file.unlink()
    file.mkdir()
    assert not Snapshots(tmp_path).load()


async def test_what_cannot_be_saved_is_in_force_all_the_same_and_saved_later(pool, tmp_path):
    await bakery(pool)
    place = tmp_path / "place"
    place.write_text("no directory")
    held = Snapshots(place)
    assert await held.refresh(pool, NONE)
    assert list(held.current.lines) == [BAKERY]
    place.unlink()
    assert not await held.refresh(pool, NONE)
    assert Snapshots(place).load()


async def test_a_plan_that_a_newer_version_wrote_leaves_the_one_that_was_there(pool, tmp_path):
    await bakery(pool, BAKERY, "+14155550101")
    await store.put_plans(pool, {BAKERY: plan(DESK)}, changed_by="ana")
    held = Snapshots(tmp_path)
    await held.refresh(pool, NONE)
    await pool.execute("""UPDATE call_plan SET plan = '{"music": "waltz"}'""")
    assert await held.refresh(pool, NONE)
    assert held.current.lines[BAKERY].plan == plan(DESK)
    fresh = Snapshots(tmp_path)
    await fresh.refresh(pool, NONE)
    assert fresh.current.lines[BAKERY].plan == Plan()


async def test_many_numbers_are_held(pool, tmp_path):
    merchant = await merchants.insert(pool, NewMerchant("bakery", "The Bakery"))
    phones = [f"+1415{n:07}" for n in range(2_000)]
    await number_store.put(pool, [NewNumber(phone, merchant.id, "US") for phone in phones])
    await store.put_plans(pool, {phone: plan(f"+1650{n:07}") for n, phone in enumerate(phones)}, changed_by="ana")
    held = Snapshots(tmp_path)
    await held.refresh(pool, NONE)
    started = Snapshots(tmp_path)
    assert started.load()
    assert len(started.current.lines) == 2_000
    assert started.current == held.current


plans = st.builds(
    Plan,
    targets=st.lists(
        st.builds(PlanTarget, st.just(DESK), st.integers(5, 600), st.none() | st.just("US")), max_size=3
    ).map(tuple),
    greeting=st.none() | st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20),
    transcribe=st.booleans(),
)


@given(plans)
@settings(max_examples=30)
async def test_a_plan_comes_back_from_the_store_as_it_was_given(module_pool, made):
    await module_pool.execute("TRUNCATE number, call_plan, merchant RESTART IDENTITY CASCADE")
    await number_store.put(module_pool, [NewNumber(BAKERY, 0, "US")])
    assert await store.put_plans(module_pool, {BAKERY: made}, changed_by="ana") == 1
    assert await store.put_plans(module_pool, {BAKERY: made}, changed_by="ana") == 0
    assert await store.plans(module_pool, [BAKERY]) == {BAKERY: made}
