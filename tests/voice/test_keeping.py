"""What callbacks tell of calls comes out the same in every order, batch and repetition."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.db.pool import create_pool
from holdfast.inbox import window_store
from holdfast.inbox.replay import replay
from holdfast.inbox.store import Filter
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewDestination, NewMerchant
from holdfast.merchants.numbers import NewNumber
from holdfast.queue import store as queue
from holdfast.queue.model import Stage
from holdfast.voice import call_store, health, health_store
from holdfast.voice.keeping import SETTLING, Keeper
from holdfast.voice.model import Callback
from holdfast.voice.recorder import NOT_NOW
from holdfast.voice.signals import ALERTS, CALLS, LEGS
from holdfast.voice.voicemails import Announcer
from tests.servers import clear
from tests.voice.twilio import BAKERY, CALLER, DESK, call, ended, made, recording, sid, transcription

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC).timestamp()
SPARE = "+442071838750"
FOREIGN = "AC" + "9" * 32


def keeper(pool: Any) -> Keeper:
    return Keeper(pool, Announcer(lambda _: "America/Los_Angeles"), clock=lambda: NOW + 60)


async def bakery(pool: Any, email: str | None = "baker@example.com") -> int:
    merchant = await merchants.insert(pool, NewMerchant("bakery", "Bakery", email))
    await number_store.put(pool, [NewNumber(BAKERY, merchant.id, "US")])
    return merchant.id


def dialed(about: dict[str, str], target: str, place: int, status: str, at: float, answered: str) -> Callback:
    params = about | {"DialCallStatus": status, "DialCallSid": sid("CA"), "CallStatus": "in-progress"}
    query = {"target": target, "place": str(place), "tried": target}
    if target == DESK:
        query["region"] = "US-west"
    return made("call.dialed", params, query, received=at, answered=answered)


def story() -> list[Callback]:
    """A call that two targets did not take, and that left a message, which was written down."""
    about = call()
    recorded = recording(about)
    return [
        made("call.incoming", about, received=NOW, answered=f"dial {DESK}"),
        dialed(about, DESK, 1, "no-answer", NOW + 20, f"dial {SPARE}"),
        dialed(about, SPARE, 2, "busy", NOW + 22, "voicemail: nobody answered"),
        made("call.recording", about | {"Digits": "hangup"}, received=NOW + 61, answered="over: message left"),
        made("call.recording", recorded, received=NOW + 62),
        made("call.status", about | {"CallStatus": "ringing"}, received=NOW + 0.5),
        made("call.status", about | {"CallStatus": "in-progress"}, received=NOW + 1),
        made("call.status", ended(about, CallDuration="61"), received=NOW + 63),
        made("call.transcription", transcription(recorded), received=NOW + 90),
    ]


STORY = story()


async def rows(pool: Any) -> dict[str, list[tuple[Any, ...]]]:
    tables = {"call": "sid", "leg": "place", "voicemail": "sid"}
    found = {
        name: [tuple(row) for row in await pool.fetch(f"SELECT * FROM {name} ORDER BY {key}")]
        for name, key in tables.items()
    }
    found["event"] = [
        tuple(row) for row in await pool.fetch("SELECT event_id FROM event WHERE provider = 'twilio' ORDER BY 1")
    ]
    return found


async def test_a_call_is_what_its_callbacks_say(pool):
    merchant_id = await bakery(pool)
    await keeper(pool).store(STORY)
    row = await pool.fetchrow("SELECT * FROM call")
    assert (row["phone"], row["caller"], row["merchant_id"], row["region"]) == (BAKERY, CALLER, merchant_id, "US")
    assert (row["status"], row["seconds"], row["outcome"], row["answer"]) == (
        "completed",
        61,
        "voicemail",
        "over: message left",
    )
    assert row["began_at"].timestamp() == NOW
    legs = await pool.fetch("SELECT target, place, region, outcome FROM leg ORDER BY place")
    assert [tuple(leg) for leg in legs] == [(DESK, 1, "US-west", "no-answer"), (SPARE, 2, "GB", "busy")]
    message = await pool.fetchrow("SELECT * FROM voicemail")
    assert (message["phone"], message["caller"], message["merchant_id"], message["seconds"]) == (
        BAKERY,
        CALLER,
        merchant_id,
        42,
    )
    assert message["transcription"] == "Two loaves, please."


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(len(STORY))), cuts=st.sets(st.integers(1, 14)), again=st.randoms())
async def test_order_batches_and_repetition_make_no_difference(pool, order, cuts, again):
    sent = [STORY[place] for place in order]
    sent += again.choices(sent, k=5)
    await clear(pool)
    await bakery(pool)
    await keeper(pool).store(STORY)
    expected = await rows(pool)
    await clear(pool)
    await bakery(pool)
    one = keeper(pool)
    edges = [0, *sorted(cuts), len(sent)]
    for begin, end in pairwise(edges):
        if sent[begin:end]:
            await one.store(sent[begin:end])
    found = await rows(pool)
    assert found == expected
    own = [row[0] for row in await pool.fetch("SELECT type FROM event WHERE provider = 'holdfast' ORDER BY seq")]
    assert own[0] == "voicemail.received"
    assert len(own) == len(set(own))


@pytest.mark.parametrize(
    ("callbacks", "outcome"),
    [
        (lambda c: [made("call.incoming", c, answered="dial x"), made("call.status", ended(c))], "abandoned"),
        (
            lambda c: [made("call.incoming", c, answered="voicemail: closed"), made("call.status", ended(c))],
            "abandoned",
        ),
        (
            lambda c: [
                made("call.incoming", c, answered="announcement: no such number"),
                made("call.status", ended(c)),
            ],
            "announcement",
        ),
        (
            lambda c: [dialed(c, DESK, 1, "completed", NOW, "over: answered"), made("call.status", ended(c))],
            "person",
        ),
        (
            lambda c: [dialed(c, DESK, 1, "canceled", NOW, "over: the caller hung up"), made("call.status", ended(c))],
            "abandoned",
        ),
        (lambda c: [dialed(c, DESK, 1, "no-answer", NOW, "over"), made("call.status", ended(c))], "missed"),
        (lambda c: [made("call.incoming", c, answered="dial x"), made("call.status", ended(c, "failed"))], "failed"),
        (lambda c: [made("call.status", ended(c))], "failed"),
        (lambda c: [made("call.status", ended(c, "canceled"))], "abandoned"),
        (lambda c: [made("call.incoming", c, answered="dial x")], None),
    ],
)
async def test_outcomes(pool, callbacks, outcome):
    await keeper(pool).store(callbacks(call()))
    assert await pool.fetchval("SELECT outcome FROM call") == outcome


async def test_a_state_that_comes_late_changes_nothing(pool):
    about = call()
    one = keeper(pool)
    await one.store([made("call.status", ended(about), received=NOW)])
    await one.store([made("call.status", about | {"CallStatus": "ringing"}, received=NOW + 5)])
    assert await pool.fetchval("SELECT status FROM call") == "completed"


async def test_a_legs_own_callback_is_not_a_call(pool):
    about, leg = call(), call(To=DESK, Direction="outbound-dial", CallStatus="no-answer")
    await keeper(pool).store([made("call.status", leg | {"ParentCallSid": about["CallSid"]})])
    row = await pool.fetchrow("SELECT * FROM call")
    assert (row["sid"], row["phone"], row["status"]) == (about["CallSid"], "", "")


@pytest.mark.parametrize("at_once", [False, True])
async def test_what_another_account_says_of_a_call_changes_nothing_of_it(pool, at_once):
    await bakery(pool)
    await keeper(pool).store(STORY)
    before = await rows(pool)
    await clear(pool)
    await bakery(pool)
    about = {"CallSid": STORY[0].params["CallSid"], "AccountSid": FOREIGN}
    recorded = next(one.params for one in STORY if "RecordingSid" in one.params)
    lies = [
        made("call.status", ended(about, "failed", CallDuration="9999")),
        dialed(about, DESK, 1, "completed", NOW + 99, "over: lies"),
        dialed(about, "+15550000000", 2, "completed", NOW + 99, "over: lies"),
        made("call.recording", recording(about, RecordingUrl="https://zzz.example/lies")),
        made("call.recording", recording(about, RecordingSid=recorded["RecordingSid"], RecordingDuration="9999")),
        made("call.transcription", transcription(recorded | about, "zzz lies")),
        made("call.recording", recording(about | {"CallSid": sid("CA")}, RecordingSid=recorded["RecordingSid"])),
    ]
    lies = [msgspec.structs.replace(one, account=FOREIGN) for one in lies]
    one, legs = keeper(pool), dict(LEGS.values)
    for batch in [[*STORY, *lies]] if at_once else [STORY, lies]:
        await one.store(batch)
    after = await rows(pool)
    assert [row for row in after["call"] if row[1] != FOREIGN] == before["call"]
    assert (after["leg"], after["voicemail"]) == (before["leg"], before["voicemail"])
    assert LEGS.values.get(("US-west", "answered"), 0) == legs.get(("US-west", "answered"), 0)
    events = "SELECT DISTINCT merchant_id FROM event JOIN done ON ref = seq AND stage = 1 WHERE account = $1"
    assert [row[0] for row in await pool.fetch(events, FOREIGN)] == [0]
    assert len(await deliveries(pool)) == 1


async def test_duplicates_are_counted_but_not_what_was_put_to_disk_as_well(pool):
    about = ended(call())
    first, again = made("call.status", about, received=NOW), made("call.status", about, received=NOW + 3)
    one = keeper(pool)
    assert await one.store([first]) == [True]
    assert await one.store([first]) == [False]
    assert await pool.fetchval("SELECT count(*) FROM duplicate") == 0
    assert await one.store([again, again]) == [False, False]
    assert await pool.fetchval("SELECT count(*) FROM duplicate") == 2


async def test_what_is_accepted_is_queued_or_done(pool):
    await bakery(pool)
    await keeper(pool).store(STORY)
    total = await pool.fetchval("SELECT count(*) FROM event")
    assert total == await pool.fetchval("SELECT count(*) FROM done WHERE stage = 1") == len(STORY) + 1
    assert await pool.fetchval("SELECT count(*) FROM work WHERE stage = 1") == 0


def count(metric: Any, *labels: str) -> float:
    return float(metric.values.get(labels, 0.0))


async def test_legs_are_counted_at_once_and_calls_a_moment_after_their_end(pool):
    await bakery(pool)
    one = keeper(pool)
    legs, calls = count(LEGS, "US-west", "no-answer"), count(CALLS, "US", "voicemail")
    await one.store(STORY)
    await one.store(STORY)
    assert count(LEGS, "US-west", "no-answer") == legs + 1
    await one.count_ended(NOW + 60)
    assert count(CALLS, "US", "voicemail") == calls
    for later in (1, 2):
        await one.count_ended(NOW + 60 + SETTLING * later)
        assert count(CALLS, "US", "voicemail") == calls + 1


async def test_beyond_so_many_regions_the_rest_is_counted_together(pool, monkeypatch):
    monkeypatch.setattr("holdfast.voice.keeping.MOST_REGIONS", 1)
    known, other = count(LEGS, "AU", "busy"), count(LEGS, "other", "busy")
    one = keeper(pool)
    for target in ("+61290000000", "+61290000001", SPARE):
        await one.store([dialed(call(), target, 1, "busy", NOW, "voicemail: nobody answered")])
    assert (count(LEGS, "AU", "busy"), count(LEGS, "other", "busy")) == (known + 2, other + 1)


async def test_a_test_call_is_kept_and_counts_nowhere(pool):
    await bakery(pool)
    about = call()
    calls, legs, one = dict(CALLS.values), dict(LEGS.values), keeper(pool)
    test = {"test": "1"}
    await one.store(
        [
            made("call.incoming", about, test, answered=f"dial {DESK}"),
            made("call.dialed", about | {"DialCallStatus": "busy"}, {"target": DESK, "place": "1"} | test),
            made("call.recording", recording(about), test),
            made("call.status", ended(about), test),
        ]
    )
    await one.count_ended(NOW + 1000)
    assert await pool.fetchval("SELECT is_test FROM call")
    assert (CALLS.values, LEGS.values) == (calls, legs)
    assert await deliveries(pool) == []


async def test_a_leg_of_a_test_call_counts_in_no_health(pool):
    """Also where who calls says it, and where it is known only once the leg is there."""
    one = Keeper(pool, Announcer(lambda _: None), clock=lambda: NOW + 60, test_callers=(CALLER,))
    legs, at = dict(LEGS.values), datetime.fromtimestamp(NOW + 60, UTC)
    for second in range(6):
        about = call()
        await one.store(
            [
                made("call.incoming", about, received=NOW, answered=f"dial {DESK}"),
                dialed(about, DESK, 1, "failed", NOW + second, "voicemail: nobody answered"),
            ]
        )
    assert legs == LEGS.values
    assert await health.health(pool, at) == []
    assert await health_store.tried(pool, at - timedelta(hours=1), at) == (0, 0)
    assert await health_store.outcomes(pool, "target", DESK, at - timedelta(hours=1), at) == []
    real = call(From="+14155550170")
    await one.store([dialed(real, DESK, 1, "failed", NOW + 9, "voicemail: nobody answered")])
    assert [line.tried for line in await health.health(pool, at)] == [1, 1, 1]
    assert (await health_store.harmed(pool, at - timedelta(hours=1), at, 9))[0].failed_legs == 1


# News of voicemails


async def deliveries(pool: Any) -> list[tuple[str, str, str]]:
    found = await pool.fetch(
        """
        SELECT e.type, t.kind, t.address FROM delivery d JOIN event e ON e.seq = d.event_seq
        JOIN destination t ON t.id = d.destination_id ORDER BY e.seq, t.kind
        """
    )
    return [tuple(row) for row in found]


async def test_a_voicemail_goes_to_the_merchants_mailbox_once(pool):
    await bakery(pool)
    one = keeper(pool)
    about = call()
    recorded = recording(about)
    for _ in range(2):
        await one.store([made("call.recording", recorded, received=NOW + 10)])
    assert await deliveries(pool) == [], "whose it is, is not known yet"
    await one.store([made("call.incoming", about, received=NOW)])
    await one.store([made("call.status", ended(about), received=NOW + 11)])
    assert await deliveries(pool) == [("voicemail.received", "contact", "baker@example.com")]
    assert await pool.fetchval("SELECT count(*) FROM work WHERE stage = 2") == 1
    body = json.loads(await pool.fetchval("SELECT body FROM event WHERE type = 'voicemail.received'"))
    said = body["data"]["object"]
    assert (said["id"], said["call"], said["from"], said["to"], said["merchant"], said["duration"]) == (
        recorded["RecordingSid"],
        about["CallSid"],
        CALLER,
        BAKERY,
        "bakery",
        42,
    )
    assert (said["recording_url"], said["transcription"]) == (recorded["RecordingUrl"], None)


async def test_a_transcription_that_comes_later_is_told_once_more(pool):
    await bakery(pool)
    one = keeper(pool)
    about = call()
    recorded = recording(about)
    await one.store([made("call.incoming", about), made("call.recording", recorded)])
    for _ in range(2):
        await one.store([made("call.transcription", transcription(recorded))])
    assert [row[0] for row in await deliveries(pool)] == ["voicemail.received", "voicemail.transcribed"]


async def test_a_transcription_that_was_there_at_once_is_not_told_again(pool):
    await bakery(pool)
    one = keeper(pool)
    about = call()
    recorded = recording(about)
    await one.store([made("call.incoming", about), made("call.transcription", transcription(recorded))])
    await one.store([made("call.recording", recorded)])
    assert [row[0] for row in await deliveries(pool)] == ["voicemail.received"]


async def test_subscribed_destinations_get_it_and_then_the_mailbox_does_not(pool):
    merchant_id = await bakery(pool)
    secret = ("whsec_" + "A" * 32,)
    await merchants.upsert_destinations(
        pool,
        [
            NewDestination(merchant_id, "webhook", "https://bakery.example/hook", secret, ("voicemail.*",)),
            NewDestination(merchant_id, "email", "calls@bakery.example", (), ("voicemail.*",)),
            NewDestination(0, "application", "https://company.example/hook", secret, ("*",)),
        ],
    )
    about = call()
    await keeper(pool).store([made("call.incoming", about), made("call.recording", recording(about))])
    assert [kind for _, kind, _ in await deliveries(pool)] == ["application", "email", "webhook"]


async def test_a_storm_of_voicemails_asks_for_the_destinations_of_all_merchants_at_once(pool, database_url):
    phones = [f"+1415555{n:04}" for n in range(20)]
    for n, phone in enumerate(phones):
        merchant = await merchants.insert(pool, NewMerchant(f"shop-{n}", "Shop", f"shop{n}@example.com"))
        await number_store.put(pool, [NewNumber(phone, merchant.id, "US")])
    asked: list[str] = []
    single = await create_pool(database_url, size=1, name="tests")
    async with single.acquire() as connection:
        connection.add_query_logger(lambda record: asked.append(record.query))
    told = [call(To=phone) for phone in phones]
    callbacks = [made("call.incoming", about) for about in told]
    await keeper(single).store(callbacks + [made("call.recording", recording(about)) for about in told])
    await single.close()
    assert {row[2] for row in await deliveries(pool)} == {f"shop{n}@example.com" for n in range(20)}
    assert not [query for query in asked if "catalogue_version" in query or "FROM merchant ORDER" in query]
    assert len([query for query in asked if "INSERT INTO destination" in query]) == 1


@pytest.mark.parametrize("more", [{"RecordingDuration": "0"}, {"RecordingStatus": "absent"}, {"RecordingUrl": ""}])
async def test_a_recording_that_holds_nothing_is_no_voicemail(pool, more):
    about = call()
    await keeper(pool).store([made("call.incoming", about), made("call.recording", recording(about, **more))])
    assert await pool.fetchval("SELECT count(*) FROM voicemail") == 0


async def test_old_calls_go(pool):
    await bakery(pool)
    await keeper(pool).store(STORY)
    async with pool.acquire() as connection:
        assert await call_store.prune(connection, datetime.fromtimestamp(NOW - 1, UTC), 100) == 0
        assert await call_store.prune(connection, datetime.fromtimestamp(NOW + 100, UTC), 100) == 4


async def test_a_server_that_only_reads_is_no_store_for_callbacks(pool, database_url):
    await keeper(pool).probe()
    mark = "&" if "?" in database_url else "?"
    reading = await create_pool(f"{database_url}{mark}default_transaction_read_only=on", size=1, name="tests")
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError) as raised:
        await keeper(reading).probe()
    await reading.close()
    assert isinstance(raised.value, NOT_NOW)


def test_ids_are_the_same_for_the_same_request():
    about = call()
    one, other = made("call.status", about, received=1), made("call.status", about, received=2)
    assert one.event_id == other.event_id
    changed = made("call.status", about | {"CallStatus": "completed"})
    assert len({one.event_id, changed.event_id, made("call.incoming", about).event_id}) == 3


async def test_an_alert_is_kept_and_counted_once_with_the_number_that_it_is_about(pool):
    await bakery(pool)
    payload = {"error_code": 11200, "webhook": {"request": {"url": "https://ours", "parameters": {"To": BAKERY}}}}
    alert = {"Sid": sid("NO"), "Level": "ERROR", "Payload": json.dumps(payload)}
    one, before = keeper(pool), count(ALERTS, "ours", "voice", "11200")
    await one.store([made("debugger", alert), made("debugger", alert | {"Sent": "again"})])
    await one.store([made("debugger", alert | {"Sent": "later"})])
    row = await pool.fetchrow("SELECT phone, region, code, level FROM twilio_alert")
    assert tuple(row) == (BAKERY, "US", 11200, "error")
    assert count(ALERTS, "ours", "voice", "11200") == before + 1


async def test_an_alert_about_another_programs_address_is_that_ones(pool):
    keeping = Keeper(pool, Announcer(lambda _: None), clock=lambda: NOW, public=("https://ours.example",))
    before = count(ALERTS, "other", "voice", "11200")
    for url in ("https://sms.example/in", "https://ours.example/hooks/twilio/voice"):
        payload = json.dumps({"error_code": 11200, "webhook": {"request": {"url": url, "parameters": {}}}})
        await keeping.store([made("debugger", {"Sid": sid("NO"), "Level": "ERROR", "Payload": payload})])
    rows = await pool.fetch("SELECT url FROM twilio_alert WHERE is_foreign")
    assert [row["url"] for row in rows] == ["https://sms.example/in"]
    assert count(ALERTS, "other", "voice", "11200") == before + 1


async def test_callbacks_are_not_routed_when_events_are_replayed(pool):
    await bakery(pool)
    await keeper(pool).store(STORY)
    assert [chunk async for chunk in replay(pool, Filter(since=datetime.fromtimestamp(NOW - 60, UTC)))] == []
    assert await pool.fetchval("SELECT count(*) FROM work WHERE stage = 1") == 0


async def test_verify_and_rates_are_of_payment_events_only(pool):
    await bakery(pool)
    await keeper(pool).store(STORY)
    await keeper(pool).store([made("call.status", ended(call()), received=NOW)] * 2)
    since, until = datetime.fromtimestamp(NOW - 60, UTC), datetime.fromtimestamp(NOW + 600, UTC)
    async with pool.acquire() as connection, connection.transaction():
        assert await window_store.gather(connection, since, until) == 0
        assert await window_store.redelivered(connection, since, until) == 0
    moved = await queue.flows(pool, timedelta(seconds=60), 10, now=until)
    assert [row for row in moved if row[0] is Stage.ROUTE] == []
