"""Reading an event's envelope."""

import random

import pytest

from holdfast.drills.stripe_objects import ObjectMaker
from holdfast.inbox.model import EventError, parse_stripe
from tests.inbox.events import body, event

RECEIVED = 1_800_000_000.5


def parsed(payload: bytes):
    return parse_stripe(payload, "{}", RECEIVED)


def test_a_snapshot_event_of_a_connected_account():
    made = event("charge.succeeded", account="acct_1A", livemode=True)
    found = parsed(body(made))
    assert (found.provider, found.event_id, found.type) == ("stripe", made["id"], "charge.succeeded")
    assert (found.account, found.livemode, found.created) == ("acct_1A", True, made["created"])
    assert found.object_id == made["data"]["object"]["id"]
    assert found.body == body(made)


def test_the_platforms_own_event_has_no_account():
    assert parsed(body(event(account=None))).account is None


def test_test_mode_is_told_from_live_mode():
    assert not parsed(body(event(livemode=False))).livemode


def test_a_thin_event_names_its_account_in_the_context_and_its_object_by_reference():
    maker = ObjectMaker(random.Random(1))
    thin = maker.thin_twin(event(account="acct_1B", created=1_800_000_000))
    found = parsed(body(thin))
    assert (found.type, found.account) == ("v1.payment_intent.succeeded", "acct_1B")
    assert found.object_id == thin["related_object"]["id"]
    assert found.created == 1_800_000_000


def test_an_account_may_be_the_end_of_a_context_path():
    assert parsed(b'{"id":"evt_1","type":"a.b","context":"org_1/acct_2"}').account == "acct_2"


@pytest.mark.parametrize("about", ['"text"', "[1]", '{"object": 5}', '{"object": {"id": 7}}', '{"object": {}}', "null"])
def test_what_an_event_is_about_may_have_any_form(about):
    found = parsed(f'{{"id":"evt_1","type":"a.b","data":{about}}}'.encode())
    assert (found.event_id, found.object_id) == ("evt_1", None)


@pytest.mark.parametrize(
    "created",
    [
        "null",
        '"yesterday"',
        "-5",
        "1e300",
        "{}",
        "99999999999999",
        '"9999-12-31T23:59:59-01:00"',
        '"0001-01-01T00:00:00+01:00"',
        '"0001-01-01T00:00:00"',
        '"1969-12-31T23:59:59Z"',
        '"3000-01-01T00:00:00Z"',
    ],
)
def test_an_event_without_a_usable_time_counts_as_made_now(created):
    assert parsed(f'{{"id":"evt_1","type":"a.b","created":{created}}}'.encode()).created == RECEIVED


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (b"", "empty"),
        (b"hello", "not JSON"),
        (b'{"id":"evt_1"', "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"id":"\\ud800","type":"a"}', "not JSON"),
        (b"[]", "not an object"),
        (b'"evt_1"', "not an object"),
        (b"{}", "`id`"),
        (b'{"id":"","type":"a"}', "`id`"),
        (b'{"id":5,"type":"a"}', "`id`"),
        (b'{"id":"evt_1"}', "`type`"),
        (b'{"id":"evt_1","type":null}', "`type`"),
        (b'{"id":"' + b"x" * 256 + b'","type":"a"}', "`id`"),
        (b'{"id":"evt_1","type":"a","account":5}', "`account`"),
        (b'{"id":"evt_\\u0000","type":"a"}', "NUL"),
    ],
)
def test_what_is_no_event_is_refused_by_what_is_wrong_with_it(payload, named):
    with pytest.raises(EventError, match=named):
        parsed(payload)
