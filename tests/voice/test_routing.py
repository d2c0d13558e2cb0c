"""What a call is told."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.voice.model import DAYS, MOST_TARGETS, Announce, Dial, Opening, Plan, PlanTarget, TakeMessage
from holdfast.voice.routing import decide, selects
from tests.voice.lines import BAKERY, DESK, MOBILE, NIGHTLY, NOON, line, place, plan, snapshot

OTHER, THIRD = "+14155550200", "+14155550300"


def told(lines, levers=None, *, phone=BAKERY, tried=(), call="CA1", now=NOON):
    return decide(snapshot(lines, levers), phone, call_sid=call, tried=tried, now=now)


def rung(lines, levers=None, **options) -> list[str]:
    """Whom a call rings, one after the other, when nobody answers."""
    tried: list[str] = []
    while isinstance(found := told(lines, levers, tried=tuple(tried), **options), Dial):
        assert found.tried == tuple(tried)
        tried.append(found.target.address)
    assert isinstance(found, TakeMessage)
    return tried


def test_targets_are_rung_in_order_and_then_a_message_is_taken():
    assert rung([line()]) == [DESK, MOBILE]
    last = told([line()], tried=(DESK, MOBILE))
    assert last == TakeMessage(
        "You have reached The Bakery. Nobody can take your call right now. Please leave a message after the tone.",
        "nobody answered",
    )


def test_the_greeting_is_said_once():
    greeted = line(greeting="Good day")
    first = told([greeted])
    assert isinstance(first, Dial)
    assert first.greeting == "Good day"
    second = told([greeted], tried=(DESK,))
    assert isinstance(second, Dial)
    assert second.greeting is None


def test_a_number_that_is_not_ours_is_told_so():
    found = told([line()], phone="+14155550999")
    assert isinstance(found, Announce)
    assert found.why == "unknown number"


def test_while_nothing_is_known_no_number_is_said_to_be_out_of_service():
    from holdfast.voice.snapshot import Snapshot

    found = decide(Snapshot(), BAKERY, call_sid="CA1", tried=(), now=NOON)
    assert isinstance(found, TakeMessage)


def test_a_number_without_a_plan_takes_messages():
    found = told([line(plan=Plan())])
    assert isinstance(found, TakeMessage)
    assert found.why == "no plan"


def test_out_of_hours_the_closed_greeting_is_said_and_nobody_is_rung():
    closed = line(hours=(NIGHTLY,), closed_greeting="We open at ten at night")
    assert told([closed]) == TakeMessage("We open at ten at night", "closed")
    assert isinstance(told([closed], now=NOON + timedelta(hours=11)), Dial)
    assert told([line(hours=(NIGHTLY,), voicemail_greeting="Speak")]) == TakeMessage("Speak", "closed")
    default = told([line(hours=(NIGHTLY,))])
    assert isinstance(default, TakeMessage)
    assert "We are closed" in default.greeting


@pytest.mark.parametrize(
    ("lever", "why"),
    [
        ("voice.voicemail_only", "voicemail only: all"),
        ("voice.voicemail_only region:US", "voicemail only: region:US"),
        ("voice.voicemail_only merchant:1", "voicemail only: merchant:merchant-1"),
        (f"voice.voicemail_only number:{BAKERY}", f"voicemail only: number:{BAKERY}"),
    ],
)
def test_voicemail_only_takes_a_message_whatever_was_rung_before(lever, why):
    for tried in ((), (DESK,)):
        found = told([line()], {lever: 100}, tried=tried)
        assert isinstance(found, TakeMessage)
        assert found.why == why


def test_under_voicemail_only_a_closed_shop_is_closed_and_a_number_without_a_plan_has_none():
    closed = line(hours=(NIGHTLY,), closed_greeting="We open at ten at night")
    assert told([closed], {"voice.voicemail_only": 100}) == TakeMessage("We open at ten at night", "closed")
    none = told([line(plan=Plan())], {"voice.voicemail_only": 100})
    assert isinstance(none, TakeMessage)
    assert none.why == "no plan"


@pytest.mark.parametrize("of", [" region:GB", " merchant:2", " number:+14155550199"])
def test_voicemail_only_of_others_is_none_of_its_business(of):
    assert isinstance(told([line()], {f"voice.voicemail_only{of}": 100}), Dial)


def test_a_percent_selects_the_same_numbers_always_and_a_larger_one_those_and_more():
    share = place(BAKERY)
    assert isinstance(told([line()], {"voice.voicemail_only": share - 1}), Dial)
    assert isinstance(told([line()], {"voice.voicemail_only": share}), TakeMessage)


@given(st.integers(0, 100), st.integers(0, 100), st.integers(10**9, 10**10 - 1).map(lambda n: f"+1{n}"))
def test_who_is_selected_by_a_percent_is_by_every_larger_one(one, other, phone):
    assert selects(min(one, other), phone) <= selects(max(one, other), phone)
    assert not selects(0, phone)
    assert selects(100, phone)


def test_a_percent_is_about_that_share_of_numbers():
    phones = [f"+1415555{n:04}" for n in range(10_000)]
    for percent in (10, 50, 75):
        assert abs(sum(selects(percent, phone) for phone in phones) / 100 - percent) < 3


def test_what_is_avoided_is_not_rung():
    assert rung([line()], {f"voice.avoid target:{DESK}": 100}) == [MOBILE]
    assert rung([line()], {"voice.avoid region:GB": 100}) == [DESK]
    assert rung([line()], {"voice.avoid region:US": 100}) == [MOBILE]


def test_a_target_s_own_region_counts_more_than_its_country_and_one_without_a_number_has_none():
    desks = (PlanTarget(DESK, region="US-west"), PlanTarget("sip:desk@example.com", region="office"))
    sip = [line(plan=Plan(targets=desks))]
    assert rung(sip, {"voice.avoid region:US": 100}) == [DESK, "sip:desk@example.com"]
    assert rung(sip, {"voice.avoid region:US-west": 100}) == ["sip:desk@example.com"]
    assert rung(sip, {"voice.avoid region:office": 100}) == [DESK]


def test_where_everything_is_avoided_the_merchants_other_lines_stand_in():
    lines = [line(), line(OTHER, "+14155550211"), line(THIRD, "+14155550311", merchant_id=2)]
    levers = {f"voice.avoid target:{DESK}": 100, "voice.avoid region:GB": 100}
    found = told(lines, levers)
    assert isinstance(found, Dial)
    assert (found.target.address, found.why) == ("+14155550211", "its own targets are avoided")
    assert rung(lines, levers) == ["+14155550211", DESK, MOBILE]


def test_where_everything_is_avoided_and_nobody_stands_in_its_own_are_rung_all_the_same():
    levers = {f"voice.avoid target:{DESK}": 100, "voice.avoid region:GB": 100}
    found = told([line()], levers)
    assert isinstance(found, Dial)
    assert (found.target.address, found.why) == (DESK, "avoided, but there is nobody else")
    assert rung([line()], levers) == [DESK, MOBILE]
    last = told([line()], levers, tried=(DESK, MOBILE))
    assert isinstance(last, TakeMessage)
    assert last.why == "nobody answered"


def test_where_one_of_its_own_could_be_rung_nobody_stands_in():
    lines = [line(), line(OTHER, "+14155550211")]
    assert rung(lines, {f"voice.avoid target:{DESK}": 100}) == [MOBILE]


def test_who_stands_in_is_open_takes_calls_and_is_not_avoided():
    levers = {f"voice.avoid target:{DESK}": 100}
    mine = line(BAKERY, DESK)
    assert rung([mine, line(OTHER, "+14155550211", hours=(NIGHTLY,))], levers) == [DESK]
    there = [mine, line(OTHER, "+14155550211")]
    assert rung(there, levers | {f"voice.voicemail_only number:{OTHER}": 100}) == [DESK]
    assert rung(there, levers | {"voice.avoid target:+14155550211": 100}) == [DESK]
    assert rung([mine, line(OTHER, DESK, "+14155550212")], levers) == ["+14155550212", DESK]


def test_calls_that_others_stand_in_for_are_spread_over_them():
    others = [line(f"+1415555{n:04}", f"+1415556{n:04}") for n in range(8)]
    levers = {f"voice.avoid target:{DESK}": 100}
    first = {rung([line(BAKERY, DESK), *others], levers, call=f"CA{n}")[0] for n in range(100)}
    assert len(first) == 8


def test_the_share_of_an_avoidance_is_that_of_numbers_called():
    levers = {f"voice.avoid target:{DESK}": place(BAKERY) - 1}
    assert rung([line()], levers) == [DESK, MOBILE]
    assert rung([line()], {f"voice.avoid target:{DESK}": place(BAKERY)}) == [MOBILE]


def caller_id(lines, levers=None, **options):
    found = told(lines, levers, **options)
    assert isinstance(found, Dial)
    return found.caller_id


POOL = {"voice.caller_id_pool": 100}


def test_the_callers_own_number_is_shown_unless_a_lever_wants_another():
    lines = [line(), line(OTHER, stands_in=True)]
    assert caller_id(lines) is None
    assert caller_id(lines, POOL) == OTHER
    assert caller_id(lines, {f"voice.avoid number:{BAKERY}": 100}) == OTHER
    assert caller_id([line()], POOL) is None


def test_a_number_of_the_same_merchant_is_shown_before_the_companys_and_never_anothers():
    ours, company, another = (
        line(OTHER, stands_in=True),
        line(THIRD, stands_in=True, merchant_id=0),
        line("+14155550400", stands_in=True, merchant_id=2),
    )
    assert caller_id([line(), ours, company, another], POOL) == OTHER
    assert caller_id([line(), company, another], POOL) == THIRD
    assert caller_id([line(), another], POOL) is None


def test_a_number_that_is_avoided_or_in_an_avoided_region_is_not_shown():
    lines = [line(), line(OTHER, stands_in=True, region="GB"), line(THIRD, stands_in=True, merchant_id=0)]
    assert caller_id(lines, POOL | {f"voice.avoid number:{OTHER}": 100}) == THIRD
    assert caller_id(lines, POOL | {"voice.avoid region:GB": 100}) == THIRD
    assert caller_id(lines, POOL | {"voice.avoid region:GB": 100, f"voice.avoid number:{THIRD}": 100}) is None


def test_a_call_shows_the_same_number_from_target_to_target_and_calls_show_different_ones():
    lines = [line(), *(line(f"+1415555{n:04}", stands_in=True) for n in range(8))]
    for n in range(20):
        assert caller_id(lines, POOL, call=f"CA{n}") == caller_id(lines, POOL, call=f"CA{n}", tried=(DESK,))
    assert len({caller_id(lines, POOL, call=f"CA{n}") for n in range(100)}) == 8


addresses = st.integers(0, 30).map(lambda n: f"+1415556{n:04}")
plans = st.builds(
    lambda chosen, hours: plan(*chosen, hours=hours),
    st.lists(addresses, max_size=MOST_TARGETS, unique=True),
    st.sampled_from([(), (NIGHTLY,), (Opening(DAYS, "09:00", "17:00"),)]),
)
whats = st.one_of(
    addresses.map(lambda one: f"voice.avoid target:{one}"),
    st.sampled_from(["voice.avoid region:US", "voice.voicemail_only", "voice.voicemail_only merchant:1"]),
)


@given(
    st.lists(plans, min_size=1, max_size=6),
    st.dictionaries(whats, st.integers(0, 100), max_size=12),
    st.integers(0, 23),
    st.text("0123456789abcdef", min_size=4, max_size=8),
)
def test_every_call_ends_with_a_message_having_rung_nobody_twice_and_avoided_ones_only_for_want_of_others(
    made, levers, hour, call
):
    lines = [line(f"+1415555{n:04}", plan=one) for n, one in enumerate(made)]
    now = datetime(2026, 5, 4, hour, tzinfo=UTC)
    found = rung(lines, levers, phone=lines[0].phone, call=call, now=now)
    assert len(found) == len(set(found)) <= MOST_TARGETS
    own = [target.address for target in made[0].targets]
    avoided = {one for one in [*own, *found] if is_avoided(lines, levers, one)}
    if set(own) <= avoided:
        at = next((place for place, one in enumerate(found) if one in avoided), len(found))
        assert found[at:] == own[: len(found) - at], "its own, last, in their order"
    else:
        assert not avoided & set(found)


def is_avoided(lines, levers, address):
    return any(
        selects(levers.get(what, 0), lines[0].phone)
        for what in (f"voice.avoid target:{address}", "voice.avoid region:US")
    )
