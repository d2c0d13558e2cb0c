"""Who is ill, by how much at the least, and that nobody is condemned for another or by chance."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.levers.model import Change
from holdfast.signals.shares import bounds
from holdfast.voice.health import began, dated, health, measure, verdict
from holdfast.voice.isolation import isolation
from holdfast.voice.redistributing import propose
from holdfast.voice.signals import ILL
from tests.voice.calls import NOW, OTHER, PHONE, alert, call, legs


async def ill(pool, now=NOW):
    return {(line.kind, line.key) for line in await health(pool, now) if line.verdict == "ill"}


async def targets(pool, now):
    return [line for line in await health(pool, now) if line.kind == "target"]


@given(st.integers(0, 500), st.integers(0, 500))
def test_the_bound_holds_what_was_seen_and_is_a_share(failed, others):
    tried = failed + others
    low, high = bounds(failed, tried)
    assert 0 <= low <= high <= 1
    if tried:
        assert low - 1e-9 <= failed / tried <= high + 1e-9


@given(st.integers(0, 100), st.integers(1, 100), st.integers(2, 20))
def test_more_of_the_same_narrows_the_bound(failed, others, times):
    low, high = bounds(failed, failed + others)
    narrower = bounds(failed * times, (failed + others) * times)
    assert narrower[0] >= low - 1e-9
    assert narrower[1] <= high + 1e-9


@given(st.integers(0, 100), st.integers(1, 100))
def test_a_failure_more_never_looks_better(failed, tried):
    failed = min(failed, tried)
    assert bounds(failed + 1, tried + 1)[0] >= bounds(failed, tried)[0] - 1e-9
    assert bounds(failed, tried + 1)[1] <= bounds(failed, tried)[1] + 1e-9


def test_three_unlucky_calls_condemn_nobody_and_five_do():
    assert (verdict(3, 3), round(bounds(3, 3)[0], 2)) == ("unknown", 0.31)
    assert verdict(5, 5) == "ill"
    assert verdict(0, 0) == "unknown"
    assert verdict(0, 3) == "unknown"
    assert verdict(0, 20) == "well"
    assert verdict(100, 1000) == "well"


async def test_a_target_that_takes_no_call_is_ill_and_neither_its_region_nor_its_number(pool):
    await legs(pool, "+14155550111", "FFFFFF")
    assert await ill(pool) == {("target", "+14155550111")}
    await legs(pool, "+14155550112", "AAA", phone=OTHER)
    assert await ill(pool) == {("target", "+14155550111")}


async def test_what_rings_is_no_failure(pool):
    await legs(pool, "+14155550111", "BNCBNCBNC")
    assert await ill(pool) == set()


async def test_a_region_is_ill_when_several_targets_of_several_numbers_fail(pool):
    for target, phone in (("+4930100", PHONE), ("+4930101", PHONE), ("+4930100", OTHER), ("+4930101", OTHER)):
        await legs(pool, target, "FFFF", region="DE", phone=phone)
    await legs(pool, "+14155550111", "AAAAAA")
    found = await ill(pool)
    assert ("region", "DE") in found
    assert ("region", "US") not in found
    assert not [key for kind, key in found if kind == "number"], "its region explains what its calls came to"


async def test_a_region_is_not_ill_for_one_busy_target_that_fails(pool):
    await legs(pool, "+4930100", "F" * 40, region="DE")
    for place in range(8):
        await legs(pool, f"+493020{place}", "A", region="DE", phone=OTHER)
    assert await ill(pool) == {("target", "+4930100")}


async def test_a_number_all_of_whose_targets_fail_for_it_alone_is_ill_and_its_region_is_not(pool):
    for target in ("+14155550111", "+14155550112"):
        await legs(pool, target, "FFFFF", phone=PHONE)
        await legs(pool, target, "AAAAAAAA", phone=OTHER)
    assert await ill(pool) == {("number", PHONE)}


async def test_a_number_is_not_ill_for_a_target_that_fails_for_others_too(pool):
    for phone in (PHONE, OTHER):
        await legs(pool, "+14155550111", "FFFFF", phone=phone)
    assert await ill(pool) == {("target", "+14155550111")}


async def test_what_was_long_ago_says_nothing(pool):
    await legs(pool, "+14155550111", "FFFFFF", at=NOW - timedelta(minutes=30))
    assert await health(pool, NOW) == []


async def test_alerts_are_told_with_the_line_that_they_are_about_even_where_no_call_was_tried(pool):
    await legs(pool, "+14155550111", "A")
    for _ in range(2):
        await alert(pool, 32011, phone=PHONE, region="US", target="+14155550111")
    await alert(pool, 13224, target="+14155550119")
    found = {(line.kind, line.key): line for line in await health(pool, NOW)}
    assert found["target", "+14155550111"].alerts == {"32011": 2}
    assert found["number", PHONE].alerts == {"32011": 2}
    other = found["target", "+14155550119"]
    assert (other.tried, other.verdict, other.alerts) == (0, "unknown", {"13224": 1})


async def test_since_is_when_failures_began_also_before_the_window(pool):
    began_at = NOW - timedelta(hours=2)
    await legs(pool, "+14155550111", "FAAAAAA", at=began_at - timedelta(hours=1))
    await legs(pool, "+14155550111", "F" * 40, at=began_at, every=timedelta(minutes=3))
    (line,) = [line for line in await dated(pool, await health(pool, NOW), NOW) if line.verdict == "ill"]
    assert line.since == began_at


async def test_each_kind_of_line_has_its_own_since_and_what_is_not_ill_has_none(pool):
    long_ago = NOW - timedelta(days=1)
    for phone in (PHONE, OTHER):
        for target in ("+4930100", "+4930101"):
            await legs(pool, target, "FFFF", region="DE", phone=phone, at=NOW - timedelta(minutes=8))
    await legs(pool, "+4930102", "F" * 9, region="DE", phone=PHONE, at=long_ago)
    await legs(pool, "+4930100", "A" * 12, region="DE", phone=PHONE, at=long_ago + timedelta(hours=1))
    await legs(pool, "+14155550111", "AAAAAA")
    since = {(line.kind, line.key): line.since for line in await dated(pool, await health(pool, NOW), NOW)}
    assert since["target", "+4930100"] == since["region", "DE"] == NOW - timedelta(minutes=8)
    assert since["target", "+14155550111"] is None


class Counting:
    """A pool that counts what it is asked."""

    def __init__(self, pool):
        self.pool, self.asked = pool, 0

    async def fetch(self, *given):
        self.asked += 1
        return await self.pool.fetch(*given)

    def __getattr__(self, name):
        return getattr(self.pool, name)


async def asked(pool, work):
    counting = Counting(pool)
    await work(counting)
    return counting.asked


async def test_an_outage_of_many_lines_is_judged_by_as_few_questions_as_one_of_one(pool):
    await legs(pool, "+14155550111", "FFFFFF")
    alone = await asked(pool, lambda counting: isolation(counting, NOW))
    for place in range(12):
        await legs(pool, f"+1415555{place:04}", "FFFFFF")
    assert await asked(pool, lambda counting: isolation(counting, NOW)) == alone


async def test_since_is_looked_up_of_so_many_lines_and_no_more(pool, monkeypatch):
    monkeypatch.setattr("holdfast.voice.health.MOST_ILL", 3)
    for place in range(6):
        await legs(pool, f"+1415555{place:04}", "FFFFFF")
    lines = await dated(pool, await health(pool, NOW), NOW)
    assert [line.since is not None for line in lines[:5]] == [True, True, True, False, False]
    ills = await asked(pool, lambda counting: measure(counting, NOW))
    assert ills == await asked(pool, lambda counting: health(counting, NOW)) + 3
    assert len(ILL.values) == 3


async def test_what_was_gone_round_a_moment_ago_is_judged_again_by_one_question_for_all(pool):
    def rounds(count):
        at = NOW - timedelta(minutes=1)
        moved = [Change(at, "set", "voice.avoid", name, 100, 0, "ann", "", None) for name in names[:count]]
        return lambda counting: propose(counting, moved, NOW)

    names = [f"target:+1415555{place:04}" for place in range(10)]
    for name in names:
        await legs(pool, name.removeprefix("target:"), "FFFFFF")
    assert await asked(pool, rounds(10)) == await asked(pool, rounds(1))


def test_failures_begin_after_the_last_time_that_all_was_well():
    at = [NOW + timedelta(minutes=minute) for minute in range(10)]
    assert began([]) is None
    assert began(zip(at, [False] * 10, strict=True)) is None
    assert began(zip(at, [False, True, False, False, True, True, True, False, True, True], strict=True)) == at[4]


@given(st.lists(st.booleans(), max_size=60))
def test_failures_that_go_on_have_begun_with_one_and_ten_that_go_through_end_them(failed):
    at = [(NOW + timedelta(seconds=second), fails) for second, fails in enumerate([*failed, *[True] * 3])]
    found = began(at)
    assert found is not None
    assert (found, True) in at
    later = NOW + timedelta(hours=1)
    assert began([*at, *((later + timedelta(seconds=second), False) for second in range(10))]) is None


async def test_it_is_said_how_far_trouble_reaches(pool):
    assert (await isolation(pool, NOW)).extent == "unknown"
    await legs(pool, "+14155550111", "A" * 20)
    await legs(pool, "+14155550112", "A" * 20, phone=OTHER)
    calm = await isolation(pool, NOW)
    assert (calm.extent, calm.whose, calm.tried) == ("nothing", "nobody", 40)
    await legs(pool, "sip:desk@example.com", "FFFFFF", region="unknown")
    lone = await isolation(pool, NOW)
    assert (lone.extent, lone.whose, lone.ill["target"]) == ("targets", "target", ["sip:desk@example.com"])
    assert "Some targets fail: sip:desk@example.com" in lone.said
    assert "6 of 46 legs" in lone.said
    for target in ("+4930100", "+4930101"):
        for phone in (PHONE, OTHER):
            await legs(pool, target, "FFFF", region="DE", phone=phone)
    region = await isolation(pool, NOW)
    assert (region.extent, region.whose, region.ill["region"]) == ("regions", "twilio", ["DE"])


async def test_everything_fails_when_no_region_is_spared(pool):
    for region, targets in (("DE", ("+4930100", "+4930101")), ("US", ("+14155550111", "+14155550112"))):
        for target in targets:
            for phone in (PHONE, OTHER):
                await legs(pool, target, "FFFF", region=region, phone=phone)
    found = await isolation(pool, NOW)
    assert (found.extent, found.whose) == ("all", "twilio")


async def test_it_is_our_own_trouble_when_twilio_cannot_use_our_doors(pool):
    for _ in range(4):
        await alert(pool, 11200)
        await call(pool, "failed")
    found = await isolation(pool, NOW)
    assert (found.extent, found.whose, found.unheard) == ("all", "ours", 4)
    assert found.alerts == {"ours": 4}
    assert "our own trouble" in found.said


async def test_it_is_not_our_own_trouble_when_twilio_cannot_use_another_programs_addresses(pool):
    for target in ("+14155550111", "+14155550112"):
        await legs(pool, target, "FFFFF")
    for _ in range(20):
        await pool.execute(
            "UPDATE twilio_alert SET is_foreign = true, url = 'https://sms.example/hook' WHERE sid = $1",
            await alert(pool, 11200),
        )
    found = await isolation(pool, NOW)
    assert found.whose == "twilio"
    assert found.alerts == {"other": 20}


@pytest.mark.parametrize("kinds", [("target",), ("number", "region")])
async def test_only_the_kinds_that_are_asked_for_are_told(pool, kinds):
    await legs(pool, "+14155550111", "FFFFFF")
    assert {line.kind for line in await health(pool, NOW, kinds=kinds)} == set(kinds)


async def test_what_is_ill_is_in_the_gauge_and_gone_from_it_when_it_is_well(pool):
    await legs(pool, "+14155550111", "FFFFFF")
    await legs(pool, "+14155550112", "AAAAAA")
    await measure(pool, NOW)
    assert {labels: round(value, 2) for labels, value in ILL.values.items()} == {("target", "+14155550111"): 0.47}
    await measure(pool, NOW + timedelta(hours=1))
    assert ILL.values == {}


async def test_the_last_minutes_count_where_they_say_something(pool):
    await legs(pool, "+14155550111", "A" * 60, at=NOW - timedelta(minutes=10))
    await legs(pool, "+14155550111", "F" * 8, at=NOW - timedelta(seconds=30))
    (line,) = await dated(pool, await targets(pool, NOW), NOW)
    assert (line.verdict, line.tried, line.since) == ("ill", 8, NOW - timedelta(seconds=30))
    await legs(pool, "+14155550111", "A" * 30, at=NOW + timedelta(minutes=2))
    (line,) = await targets(pool, NOW + timedelta(minutes=3))
    assert (line.verdict, line.failed) == ("well", 0)


async def test_what_the_last_minutes_leave_open_the_whole_window_says(pool):
    await legs(pool, "+14155550111", "F" * 8, at=NOW - timedelta(minutes=10))
    await legs(pool, "+14155550111", "A", at=NOW - timedelta(seconds=30))
    (line,) = await targets(pool, NOW)
    assert (line.verdict, line.tried) == ("ill", 9)
