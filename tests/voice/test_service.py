"""Numbers: added, changed, imported; what their calls would be told; whom a lever touches."""

import json
import re
from datetime import timedelta

import msgspec
import pytest

from holdfast.levers import store as levers
from holdfast.levers.model import Target
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.files import Rejected
from holdfast.merchants.model import COMPANY, MerchantError, NewMerchant
from holdfast.twilio import store as accounts
from holdfast.twilio.model import Account, TwilioError
from holdfast.voice import number_files, service, store
from holdfast.voice.explaining import explain, sentence
from holdfast.voice.model import Opening, Plan, PlanTarget, UnknownError, VoiceError
from holdfast.voice.plans import PlanChange
from holdfast.voice.reach import Reach, reach
from holdfast.voice.service import Imported, Row, Wanted
from tests.voice.lines import BAKERY, DESK, MOBILE, NIGHTLY, NOON, plan

MAIN, SUB = "AC" + "0" * 32, "AC" + "1" * 32
PN = "PN" + "a" * 32
LONDON = "+442079460100"


@pytest.fixture
async def bakery(pool) -> int:
    merchant = await merchants.insert(pool, NewMerchant("bakery", "The Bakery"))
    return merchant.id


async def put(pool, phone=BAKERY, merchant="bakery", *, new=None, **said):
    return await service.put(pool, Wanted(phone, merchant, **said), by="ana", main=MAIN, new=new)


async def test_a_number_is_added_where_it_is_with_its_plan(pool, bakery):
    number, is_new = await put(pool, "+44 20 7946 0100", plan=plan(DESK))
    assert is_new
    assert (number.phone, number.merchant_id, number.region, number.stands_in) == (LONDON, bakery, "GB", False)
    assert await store.plans(pool, [LONDON]) == {LONDON: plan(DESK)}


async def test_what_is_not_said_of_a_number_stays(pool, bakery):
    await accounts.put(pool, Account(SUB, "Sub", COMPANY, "x" * 32))
    await put(pool, region="US-west", account=SUB, sid=PN, stands_in=True, plan=plan(DESK))
    number, is_new = await put(pool, merchant=None)
    assert not is_new
    assert (number.merchant_id, number.region, number.account, number.sid, number.stands_in) == (
        bakery,
        "US-west",
        SUB,
        PN,
        True,
    )
    assert (await put(pool, merchant="", stands_in=False))[0].merchant_id == COMPANY
    assert (await put(pool, merchant=None, account=MAIN))[0].account is None
    assert await store.plans(pool, [BAKERY]) == {BAKERY: plan(DESK)}


async def test_a_number_is_added_once_and_changed_only_where_it_is(pool, bakery):
    with pytest.raises(UnknownError, match="is none of our numbers"):
        await put(pool, new=False)
    await put(pool, new=True)
    with pytest.raises(VoiceError, match="is there already; change it with `holdfast numbers set"):
        await put(pool, new=True)


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ({"phone": "0171 555"}, MerchantError, "is not a phone number"),
        ({"merchant": "gym"}, VoiceError, "there is no merchant 'gym'"),
        ({"region": "the moon"}, MerchantError, "is no region"),
        ({"account": "AC1"}, TwilioError, "is not an account's SID"),
        ({"account": SUB}, VoiceError, f"add it with `holdfast twilio accounts add {SUB}`"),
        ({"sid": "PN1"}, VoiceError, "is not a number's SID at Twilio"),
        ({"plan": Plan()}, VoiceError, "the plan has no targets"),
    ],
)
async def test_a_number_that_cannot_be_is_refused_with_the_reason(pool, bakery, said, error, message):
    with pytest.raises(error, match=message):
        await put(pool, **said)
    assert await number_store.numbers(pool) == []


async def test_a_number_cannot_be_of_another_merchants_account(pool, bakery):
    gym = await merchants.insert(pool, NewMerchant("gym", "The Gym"))
    await accounts.put(pool, Account(SUB, "The Gym's own", gym.id, "x" * 32))
    because = re.escape(
        f"Twilio account {SUB} (The Gym's own), which is another merchant's: its calls would be refused"
    )
    for merchant in ("bakery", ""):
        with pytest.raises(VoiceError, match=because):
            await put(pool, merchant=merchant, account=SUB)
    await put(pool, merchant="gym", account=SUB)
    for merchant in ("bakery", ""):
        with pytest.raises(VoiceError, match=because):
            await put(pool, merchant=merchant)
    assert (await put(pool, merchant="bakery", account=MAIN))[0].account is None
    _, rejected = await load(pool, [Row(2, Wanted(BAKERY, "bakery", account=SUB)), Row(3, Wanted(LONDON, "bakery"))])
    assert [(one.line, "another merchant's" in one.reason) for one in rejected] == [(2, True)]
    await accounts.put(pool, Account(SUB, "The company's", COMPANY, "x" * 32))
    assert (await put(pool, merchant="bakery", account=SUB))[0].account == SUB


async def test_two_numbers_cannot_have_the_same_sid(pool, bakery):
    await put(pool, sid=PN)
    with pytest.raises(VoiceError, match="a SID belongs to another number already"):
        await put(pool, LONDON, sid=PN)


async def test_a_plan_is_for_a_number_that_is_there(pool, bakery):
    with pytest.raises(UnknownError, match="is none of our numbers"):
        await service.set_plan(pool, BAKERY, plan(DESK), by="ana")
    await put(pool)
    assert (await service.set_plan(pool, BAKERY, plan("+1 415 555 0111"), by="ana")).targets[0].address == DESK


async def test_plans_that_ring_each_other_in_circles_are_refused(pool, bakery):
    b, c = "+14155550101", "+14155550102"
    with pytest.raises(VoiceError, match="would go in circles: they ring itself"):
        await put(pool, plan=plan(BAKERY))
    await put(pool, plan=plan(b, DESK))
    await put(pool, b, plan=plan(c))
    with pytest.raises(VoiceError, match=f"calls to {re.escape(c)} would go in circles: they ring .* again"):
        await put(pool, c, plan=plan(DESK, BAKERY))
    await put(pool, c, plan=plan(DESK))
    with pytest.raises(VoiceError, match="would go in circles"):
        await service.set_plan(pool, c, plan(b), by="ana")
    with pytest.raises(VoiceError, match="would go in circles"):
        await load(pool, [Row(1, Wanted(c, "bakery", plan=plan(BAKERY)))])
    assert (await store.plans(pool, [c])) == {c: plan(DESK)}


async def test_a_number_that_plans_ring_already_is_added_only_where_that_leads_nowhere_back(pool, bakery):
    b = "+14155550101"
    await put(pool, plan=plan(b))
    with pytest.raises(VoiceError, match="would go in circles"):
        await put(pool, b, plan=plan(BAKERY))
    assert (await put(pool, b, plan=plan(DESK)))[1]


def rows(tmp_path, text: str, name: str = "n.csv"):
    path = tmp_path / name
    path.write_text(text)
    return list(number_files.read_file(path))


FILE = """\
phone,merchant,region,stands_in,targets,rings,time_zone,greeting,hours
+14155550100,bakery,US-west,yes,+14155550111 sip:desk@example.com,30,Europe/Berlin,Hello,\
mon-fri 09:00-17:00; sat 10:00-12:00
+442079460100,,,,,,,,
"""


HOURS = (Opening(("mon", "tue", "wed", "thu", "fri"), "09:00", "17:00"), Opening(("sat",), "10:00", "12:00"))


def test_numbers_are_read_with_their_plans(tmp_path):
    bakery, company = rows(tmp_path, FILE)
    assert bakery == Row(
        2,
        Wanted(
            BAKERY,
            "bakery",
            "US-west",
            stands_in=True,
            plan=PlanChange(
                (DESK, "sip:desk@example.com"),
                30,
                {"hours": HOURS, "time_zone": "Europe/Berlin", "greeting": "Hello"},
            ),
        ),
    )
    assert company == Row(3, Wanted(LONDON, ""))
    as_json = rows(tmp_path, json.dumps({"phone": BAKERY, "merchant": "bakery", "targets": DESK}), "n.jsonl")
    assert as_json == [Row(1, Wanted(BAKERY, "bakery", plan=PlanChange((DESK,))))]


def test_every_row_that_cannot_be_taken_says_where_and_why(tmp_path):
    text = (
        "phone,merchant,stands_in,sid,account,targets,greeting,rings,hours\n"
        "415,bakery,,,,,,,\n"
        "+14155550100,bakery,perhaps,,,,,,\n"
        f"+14155550100,bakery,,{PN},,,,,\n"
        "+1 415 555 0100,bakery,,,,,,,\n"
        f"+14155550101,bakery,,{PN},,,,,\n"
        "+14155550102,bakery,,,AC1,,,,\n"
        "+14155550104,bakery,,,,+14155550111,,soon,\n"
        "+14155550105,bakery,,,,+14155550111,,,mon\n"
        "+14155550106,bakery,,,,desk,,,\n"
    )
    found = rows(tmp_path, text)
    said = {item.line: item.reason for item in found if isinstance(item, Rejected)}
    for line, part in {
        2: "is not a phone number",
        3: "stands_in is yes or no, not 'perhaps'",
        5: "+14155550100 was on line 4 already",
        6: f"{PN} was on line 4 already",
        7: "is not an account's SID",
        8: "rings is a number of seconds, not 'soon'",
        9: "'mon' is no opening",
        10: "target 1: 'desk' is not a phone number",
    }.items():
        assert part in said.pop(line)
    assert said == {}


async def load(pool, found, **options):
    return await service.import_rows(pool, found, by="ana", main=None, **options)


async def test_all_rows_are_taken_or_none(pool, bakery, tmp_path):
    found = rows(tmp_path, FILE)
    wrong = [Row(4, Wanted("+14155550101", "gym")), Row(5, Wanted("+14155550102", "bakery", account=SUB))]
    result, rejected = await load(pool, [*found, *wrong, Rejected(6, "is nothing")])
    assert result == Imported(4)
    assert [(one.line, one.reason[:20]) for one in rejected] == [
        (4, "there is no merchant"),
        (5, "there is no Twilio a"),
        (6, "is nothing"),
    ]
    assert await number_store.numbers(pool) == []
    assert await load(pool, found, dry_run=True) == (Imported(2), [])
    assert await number_store.numbers(pool) == []
    assert await load(pool, found) == (Imported(2, added=2, plans=1), [])
    assert await load(pool, found) == (Imported(2), [])
    assert [one.region for one in await number_store.numbers(pool)] == ["US-west", "GB"]
    assert (await store.plans(pool, [BAKERY]))[BAKERY] == Plan(
        (PlanTarget(DESK, 30), PlanTarget("sip:desk@example.com", 30)), HOURS, "Europe/Berlin", "Hello"
    )


CAREFUL = Plan(
    (PlanTarget(DESK, 45, "office"), PlanTarget(MOBILE, 10)),
    HOURS,
    "Europe/Berlin",
    "Hello",
    "Closed",
    "Speak",
    voicemail_seconds=90,
    transcribe=True,
    language="de-DE",
)


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("", "", {}),
        ("targets", f"sip:a@b.example {DESK}", {"targets": ("sip:a@b.example", DESK)}),
        ("targets,rings", f"{DESK},30", {"targets": (DESK,), "rings": 30}),
        ("rings", "30", {"rings": 30}),
        ("greeting,hours", "Moin,", {"greeting": "Moin"}),
        ("hours", "sat 10:00-12:00", {"hours": HOURS[1:]}),
    ],
)
async def test_a_file_changes_of_a_plan_only_what_it_says(pool, bakery, tmp_path, header, row, expected):
    await put(pool, plan=CAREFUL, region="US-west")
    found = rows(tmp_path, f"phone,merchant,{header}\n{BAKERY},bakery,{row}\n".replace(",\n", "\n"))
    assert (await load(pool, found))[1] == []
    known = {one.address: one for one in CAREFUL.targets}
    targets = [known.get(one, PlanTarget(one)) for one in expected.pop("targets", known)]
    rings = expected.pop("rings", None)
    if rings is not None:
        targets = [msgspec.structs.replace(one, rings=rings) for one in targets]
    changed = msgspec.structs.replace(CAREFUL, targets=tuple(targets), **expected)
    assert await store.plans(pool, [BAKERY]) == {BAKERY: changed}
    (number,) = await number_store.numbers(pool)
    assert number.region == "US-west"


async def test_what_a_file_says_of_a_plan_that_is_not_there_needs_targets(pool, bakery, tmp_path):
    found = rows(tmp_path, f"phone,merchant,greeting,rings\n{BAKERY},bakery,Hello,10\n")
    _, (rejected,) = await load(pool, found, dry_run=True)
    assert (rejected.line, "has rings, greeting but no targets" in rejected.reason) == (2, True)
    await put(pool, plan=plan(DESK))
    found = rows(tmp_path, f"phone,merchant,time_zone\n{BAKERY},bakery,the moon\n")
    _, (rejected,) = await load(pool, found)
    assert "'the moon' is not a time zone" in rejected.reason


async def test_json_lines_that_do_not_say_whose_a_number_is_leave_it_where_it_is(pool, bakery, tmp_path):
    await put(pool)
    found = rows(tmp_path, json.dumps({"phone": BAKERY, "targets": DESK}), "n.jsonl")
    assert (await load(pool, found))[1] == []
    assert (await number_store.numbers(pool))[0].merchant_id == bakery


async def test_a_file_of_many_numbers_is_taken_in_pieces(pool, bakery):
    many = [Row(n, Wanted(f"+1415{n:07}", "bakery", plan=plan(DESK))) for n in range(2_500)]
    assert await load(pool, many) == (Imported(2_500, added=2_500, plans=2_500), [])


async def test_where_a_clock_cannot_be_known_it_is_said(pool, bakery):
    number, _ = await put(pool, LONDON)
    toll_free, _ = await put(pool, "+18005550100")
    assert await service.zone_is_certain(pool, toll_free, plan(DESK))
    open_ = plan(DESK, hours=(NIGHTLY,))
    assert await service.zone_is_certain(pool, number, open_)
    assert not await service.zone_is_certain(pool, toll_free, open_)
    assert await service.zone_is_certain(pool, toll_free, plan(DESK, hours=(NIGHTLY,), time_zone="UTC"))
    await merchants.update(pool, "bakery", NewMerchant("bakery", "The Bakery", time_zone="UTC"))
    assert await service.zone_is_certain(pool, toll_free, open_)


async def turn(pool, name, target, percent, lasts=None):
    await levers.turn(pool, name, Target.read(target), percent, actor="ana", reason="", lasts=lasts, now=NOON)


async def test_a_plan_is_explained_as_a_call_would_go(pool, bakery):
    await put(pool, plan=plan(DESK, MOBILE, hours=(NIGHTLY,), time_zone="UTC", closed_greeting="Come at ten"))
    closed = await explain(pool, BAKERY, NOON)
    assert closed is not None
    assert (closed.is_open, closed.changes_at) == (False, NOON + timedelta(hours=10))
    assert [sentence(step) for step in closed.steps] == ["takes a message (closed): Come at ten"]
    night = await explain(pool, BAKERY, NOON + timedelta(hours=11))
    assert night is not None
    assert [sentence(step) for step in night.steps][:2] == [
        f"rings {DESK} for 20 s (in its plan)",
        f"rings {MOBILE} for 20 s (in its plan)",
    ]
    assert (len(night.steps), night.levers, night.skipped) == (3, (), ())
    assert await explain(pool, "+14155550999", NOON) is None


async def test_levers_are_explained_as_long_as_they_last(pool, bakery):
    await put(pool, plan=plan(DESK))
    await put(pool, LONDON, plan=plan("+442079460111"))
    await put(pool, "+14155550900", "", stands_in=True)
    await turn(pool, "voice.avoid", f"target:{DESK}", 100, timedelta(hours=1))
    await turn(pool, "voice.caller_id_pool", "region:US", 100)
    found = await explain(pool, BAKERY, NOON)
    assert found is not None
    assert sentence(found.steps[0]) == (
        "rings +442079460111 for 20 s, showing +14155550900 (its own targets are avoided)"
    )
    assert sentence(found.steps[1]).startswith(f"rings {DESK} for 20 s")
    assert sentence(found.steps[1]).endswith("(avoided, but there is nobody else)")
    assert found.skipped == (), "it is rung, if last"
    assert found.levers == (f"voice.avoid of target:{DESK}: 100 %", "voice.caller_id_pool of region:US: 100 %")
    later = await explain(pool, BAKERY, NOON + timedelta(hours=2))
    assert later is not None
    assert later.levers == ("voice.caller_id_pool of region:US: 100 %",)


async def town(pool, bakery) -> None:
    """Three numbers of the bakery, one of a café, one of the company; calls to two of them."""
    await merchants.insert(pool, NewMerchant("cafe", "The Café"))
    await put(pool, plan=plan(DESK, MOBILE))
    await put(pool, "+14155550101", plan=plan(DESK))
    await put(pool, LONDON)
    await put(pool, "+14155550102", "cafe", plan=Plan((PlanTarget(MOBILE, region="office"),)))
    await put(pool, "+14155550103", "")
    for sid, phone, ago in (("CA1", BAKERY, 5), ("CA2", LONDON, 30), ("CA3", BAKERY, 90)):
        await pool.execute(
            "INSERT INTO call (sid, account, phone, merchant_id, region, caller, status, rank, began_at) "
            "VALUES ($1, 'AC', $2, 1, 'US', '+1', 'completed', 9, $3)",
            sid,
            phone,
            NOON - timedelta(minutes=ago),
        )


@pytest.mark.parametrize(
    ("name", "target", "expected"),
    [
        ("voice.voicemail_only", "", Reach(5, 3, 2, ("The Bakery", "the company", "The Café"))),
        ("voice.voicemail_only", "region:US", Reach(4, 3, 1, ("The Bakery", "the company", "The Café"))),
        ("voice.voicemail_only", "region:FR", Reach(0, 0, 0, ())),
        ("voice.caller_id_pool", f"number:{LONDON}", Reach(1, 1, 1, ("The Bakery",))),
        ("voice.avoid", f"number:{BAKERY}", Reach(1, 1, 1, ("The Bakery",))),
        ("voice.avoid", f"target:{DESK}", Reach(2, 1, 1, ("The Bakery",))),
        ("voice.avoid", "region:GB", Reach(1, 1, 1, ("The Bakery",))),
        ("voice.avoid", "region:office", Reach(1, 1, 0, ("The Café",))),
    ],
)
async def test_whom_a_lever_touches_is_counted_before_it_is_turned(pool, bakery, name, target, expected):
    await town(pool, bakery)
    assert await reach(pool, name, Target.read(target), now=NOON) == expected


async def test_a_merchants_lever_touches_its_numbers_and_a_percent_some_of_them(pool, bakery):
    await town(pool, bakery)
    whole = await reach(pool, "voice.voicemail_only", Target("merchant", str(bakery)), now=NOON)
    assert whole == Reach(3, 1, 2, ("The Bakery",))
    assert str(whole) == "3 numbers of The Bakery; 2 calls in the last hour"
    nobody = await reach(pool, "voice.voicemail_only", Target("merchant", str(bakery)), 0, now=NOON)
    assert (nobody, str(nobody)) == (Reach(0, 0, 0, ()), "no number")


async def test_of_many_merchants_those_with_the_most_numbers_are_named(pool):
    for n in range(8):
        await merchants.insert(pool, NewMerchant(f"m{n}", f"Merchant {n}"))
        for k in range(n + 1):
            await put(pool, f"+1415{n:03}{k:04}", f"m{n}")
    found = await reach(pool, "voice.voicemail_only", Target(), now=NOON)
    assert str(found) == (
        "36 numbers of Merchant 7, Merchant 6, Merchant 5, Merchant 4, Merchant 3 and 3 more; 0 calls in the last hour"
    )


async def test_a_lever_of_something_else_reaches_no_calls(pool):
    with pytest.raises(VoiceError, match="is no lever of calls"):
        await reach(pool, "queue.paused", Target())
