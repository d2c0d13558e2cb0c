"""How merchants text: what is set for one stands above what holds for all, and nothing impossible can be set."""

from datetime import timedelta

import pytest

from holdfast.messaging import policy
from holdfast.messaging.policy import Policy, PolicyError, read_time
from tests.messaging.texts import ANN, BAKERY, GARAGE, NOON, ask, grant, town

SERVICE = "MG" + "a" * 32


async def test_a_merchant_texts_as_every_one_but_for_what_is_its_own(pool):
    merchant = (await town(pool)).bakery
    assert await policy.own(pool, merchant) == Policy()
    await policy.change(pool, merchant, {"most_per_day": 1, "brand": "The Bakery"}, by="ann")
    own, whole = await policy.own(pool, merchant), await policy.in_force(pool, merchant)
    assert (own.most_per_day, own.brand, own.opens, own.changed_by) == (1, "The Bakery", None, "ann")
    assert (whole.most_per_day, whole.most_per_week, f"{whole.opens:%H:%M}") == (1, 10, "08:00")
    await policy.change(pool, merchant, {"most_per_day": None}, by="ann")
    assert (await policy.in_force(pool, merchant)).most_per_day == 3


async def test_the_gate_goes_by_it(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    await policy.change(pool, merchant, {"opens": read_time("14:00")}, by="ann")
    assert (await ask(pool, merchant, ANN, purpose="marketing")).send_at == NOON + timedelta(hours=2)
    await policy.change(pool, merchant, {"sender": BAKERY, "opens": None, "most_per_day": 0}, by="ann")
    assert (await ask(pool, merchant, ANN, purpose="marketing")).rule == "frequency_cap"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"opens": read_time("21:00")}, "it opens at 21:00 and closes at 21:00"),
        ({"closes": read_time("07:59")}, "open before it closes"),
        ({"most_per_day": -1}, "a number from 0"),
        ({"most_per_week": 1001}, "to 1000"),
        ({"sender": "the bakery"}, "is no sender"),
        ({"sender": GARAGE}, "is no number of this merchant"),
        ({"brand": " "}, "1 to 200"),
        ({"brand": "a\nb"}, "printable"),
        ({"help_text": ""}, "the answer to HELP"),
        ({"help_text": "x" * 481}, "480"),
        ({"help_text": "\0"}, "cannot be stored"),
        ({"colour": "red"}, "has no 'colour'"),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(pool, changes, said):
    merchant = (await town(pool)).bakery
    with pytest.raises(PolicyError, match=said):
        await policy.change(pool, merchant, changes, by="ann")
    assert await policy.own(pool, merchant) == Policy()


@pytest.mark.parametrize(
    ("changes", "said"), [({"opens": None}, "nothing else to fall back on"), ({"sender": BAKERY}, "a merchant's own")]
)
async def test_what_holds_for_every_merchant_is_whole(pool, changes, said):
    await town(pool)
    before = await policy.own(pool, 0)
    with pytest.raises(PolicyError, match=said):
        await policy.change(pool, 0, changes, by="ann")
    assert await policy.own(pool, 0) == before


async def test_a_messaging_service_may_be_the_sender(pool):
    merchant = (await town(pool)).bakery
    assert (await policy.change(pool, merchant, {"sender": SERVICE}, by="ann")).sender == SERVICE
    await grant(pool, merchant, ANN)
    await ask(pool, merchant, ANN)
    assert await pool.fetchval("SELECT count(*) FROM message WHERE from_phone IS NOT NULL") == 1


async def test_hours_too_short_for_people_of_whom_it_is_not_known_where_they_are_are_warned_of(pool):
    await town(pool)
    assert policy.warnings(await policy.in_force(pool, 0)) == []
    await policy.change(pool, 0, {"opens": read_time("10:00"), "closes": read_time("16:01")}, by="ann")
    assert policy.warnings(await policy.in_force(pool, 0)) == []
    await policy.change(pool, 0, {"closes": read_time("16:00")}, by="ann")
    (said,) = policy.warnings(await policy.in_force(pool, 0))
    assert "from 10:00 to 16:00" in said


@pytest.mark.parametrize("text", ["", "8:00", "24:00", "08:60", "08:00:00", "noon"])
def test_a_time_that_is_none_is_refused(text):
    with pytest.raises(PolicyError, match="write it as 08:00"):
        read_time(text)
