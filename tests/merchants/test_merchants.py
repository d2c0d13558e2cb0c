"""Merchants, destinations and the catalogue."""

import asyncio

import asyncpg
import pytest

from holdfast.delivery.signing import new_secret
from holdfast.merchants import store
from holdfast.merchants.catalogue import Catalogue
from holdfast.merchants.files import Rejected
from holdfast.merchants.model import COMPANY, MerchantError, NewDestination, NewMerchant
from holdfast.merchants.service import Row, checked, checked_events, read_file

pytestmark = pytest.mark.usefixtures("any_server")


async def merchant(pool, key="bakery", account: str | None = "acct_1A"):
    return await store.insert(pool, NewMerchant(key, key.title(), f"{key}@example.com", account))


async def destination(pool, merchant_id, *events, **options):
    address = f"https://example.com/{'-'.join(events)}"
    made = NewDestination(merchant_id, "webhook", address, (new_secret(),), events, **options)
    return await store.insert_destination(pool, made)


async def catalogue(pool) -> Catalogue:
    made = Catalogue()
    await made.refresh(pool)
    return made


async def test_an_account_leads_to_its_merchant_and_an_unknown_one_to_nobody(pool):
    bakery = await merchant(pool)
    found = await catalogue(pool)
    assert found.merchant_of("acct_1A") == bakery.id
    assert found.merchant_of("acct_1Other") == COMPANY
    assert found.merchant_of(None) == COMPANY


async def test_subscribers_are_the_merchants_and_the_companys_that_want_the_type(pool):
    bakery, cafe = await merchant(pool), await merchant(pool, "cafe", "acct_1B")
    charges = await destination(pool, bakery.id, "charge.*")
    all_of_it = await destination(pool, bakery.id, "*")
    await destination(pool, cafe.id, "*")
    company = await destination(pool, COMPANY, "*.failed")
    found = await catalogue(pool)
    assert set(found.subscribers(bakery.id, "charge.failed")) == {charges.id, all_of_it.id, company.id}
    assert found.subscribers(bakery.id, "payout.paid") == (all_of_it.id,)
    assert found.subscribers(COMPANY, "charge.failed") == (company.id,)


async def test_the_catalogue_is_read_again_only_when_something_changed(pool):
    bakery = await merchant(pool)
    found = await catalogue(pool)
    assert not await found.refresh(pool)
    added = await destination(pool, bakery.id, "*")
    assert found.subscribers(bakery.id, "charge.failed") == ()
    assert await found.refresh(pool)
    assert found.subscribers(bakery.id, "charge.failed") == (added.id,)
    for change in (
        store.set_enabled(pool, added.id, False),
        store.begin_rotation(pool, added.id, new_secret()),
        store.end_rotation(pool, added.id, "new"),
        store.set_subscription(pool, added.id, ["payout.*"], 5),
        store.delete_destination(pool, added.id),
        store.update(pool, "bakery", NewMerchant("bakery", "Other", None, None)),
    ):
        await change
        assert await found.refresh(pool)


async def test_of_two_rotations_at_once_one_is_refused_and_no_secret_is_lost(pool):
    bakery = await merchant(pool)
    one = await destination(pool, bakery.id, "*")
    first, second = new_secret(), new_secret()
    begun = await asyncio.gather(*(store.begin_rotation(pool, one.id, secret) for secret in (first, second)))
    [found] = [changed for changed in begun if changed is not None]
    assert found.secrets in ((first, *one.secrets), (second, *one.secrets))
    assert found.rotating_since is not None
    assert await store.begin_rotation(pool, one.id, new_secret()) is None
    assert await store.destination(pool, one.id) == found


async def test_a_rotation_ends_with_the_new_secret_or_with_the_old_one(pool):
    bakery = await merchant(pool)
    one = await destination(pool, bakery.id, "*")
    await store.begin_rotation(pool, one.id, new_secret())
    assert await store.end_rotation(pool, one.id, "old") == one
    secret = new_secret()
    await store.begin_rotation(pool, one.id, secret)
    ended = await store.end_rotation(pool, one.id, "new")
    assert ended is not None
    assert ended.secrets == (secret,)
    assert await store.end_rotation(pool, one.id, "old") is None, "there is none to end"


async def test_one_that_is_disabled_by_itself_says_since_when_and_why_until_it_is_enabled(pool):
    bakery = await merchant(pool)
    one = await destination(pool, bakery.id, "*")
    await store.set_enabled(pool, one.id, False, "it answered 410 Gone")
    found = await store.destination(pool, one.id)
    assert found is not None
    assert found.disabled_since is not None
    assert found.disabled_why == "it answered 410 Gone"
    await store.set_enabled(pool, one.id, True)
    assert await store.destination(pool, one.id) == one


async def test_a_disabled_destination_subscribes_to_nothing(pool):
    bakery = await merchant(pool)
    one = await destination(pool, bakery.id, "*")
    assert await store.set_enabled(pool, one.id, False)
    assert not await store.set_enabled(pool, one.id, False)
    assert (await catalogue(pool)).subscribers(bakery.id, "charge.failed") == ()


async def test_only_ceilings_of_their_own_are_named(pool):
    bakery = await merchant(pool)
    await destination(pool, bakery.id, "a")
    own = await destination(pool, bakery.id, "b", ceiling=3)
    assert (await catalogue(pool)).ceilings == {own.id: 3}


async def test_keys_and_accounts_are_unique(pool):
    await merchant(pool)
    with pytest.raises(asyncpg.UniqueViolationError):
        await merchant(pool, "bakery", "acct_1B")
    with pytest.raises(asyncpg.UniqueViolationError):
        await merchant(pool, "cafe", "acct_1A")
    assert await store.accounts(pool, ["acct_1A", "acct_1B"]) == {"acct_1A": "bakery"}


async def test_an_upsert_adds_changes_and_leaves_alone(pool):
    await merchant(pool)
    rows = [NewMerchant("bakery", "Bakery"), NewMerchant("cafe", "Café", None, "acct_1B")]
    assert await store.upsert(pool, rows) == (1, 0)
    assert await store.upsert(pool, rows) == (0, 0)
    assert await store.upsert(pool, [NewMerchant("bakery", "The Bakery", "new@example.com")]) == (0, 1)
    found = await store.find(pool, "bakery")
    assert found is not None
    assert (found.name, found.email, found.stripe_account) == ("The Bakery", "new@example.com", "acct_1A")
    zoned = NewMerchant("bakery", "The Bakery", time_zone="Europe/Berlin")
    assert await store.upsert(pool, [zoned]) == (0, 1)
    assert await store.upsert(pool, [NewMerchant("bakery", "The Bakery")]) == (0, 0)
    found = await store.find(pool, "bakery")
    assert found is not None
    assert (found.email, found.time_zone) == ("new@example.com", "Europe/Berlin")


async def test_merchants_are_searched_by_any_of_their_texts(pool):
    await merchant(pool)
    await merchant(pool, "cafe_100%", None)
    found = await store.search(pool, "EXAMPLE.com", limit=10, after=None)
    assert [item.key for item in found] == ["bakery", "cafe_100%"]
    assert [item.key for item in await store.search(pool, "0%", limit=10, after=None)] == ["cafe_100%"]
    assert [item.key for item in await store.search(pool, "acct_1A", limit=10, after=None)] == ["bakery"]
    assert await store.search(pool, "x%y", limit=10, after=None) == []
    assert [item.key for item in await store.search(pool, None, limit=10, after="bakery")] == ["cafe_100%"]


@pytest.mark.parametrize(
    "wrong",
    [
        NewMerchant("", "x"),
        NewMerchant("Bakery", "x"),
        NewMerchant("a" * 64, "x"),
        NewMerchant("bakery", " "),
        NewMerchant("bakery", "a\nb"),
        NewMerchant("bakery", "x", "not an address"),
        NewMerchant("bakery", "x", "two@a.example, three@b.example"),
        NewMerchant("bakery", "x", None, "cus_123"),
        NewMerchant("bakery", "x", None, "acct_1 A"),
        NewMerchant("bakery", "x", time_zone="Berlin"),
        NewMerchant("bakery", "x", time_zone="localtime"),
        NewMerchant("bakery", "x", time_zone="../UTC"),
    ],
)
def test_a_merchant_that_is_not_as_it_must_be_is_refused(wrong):
    with pytest.raises(MerchantError):
        checked(wrong)


@pytest.mark.parametrize("patterns", [[], ["charge failed"], [""], ["a" * 256], ["é"], [f"a.{n}" for n in range(101)]])
def test_a_subscription_that_is_not_as_it_must_be_is_refused(patterns):
    with pytest.raises(MerchantError):
        checked_events(patterns)


def rows(tmp_path, name: str, text: str):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return list(read_file(path))


def test_merchants_are_read_from_csv(tmp_path):
    text = (
        "key,name,email,stripe_account,webhook_url,webhook_events\n"
        'bakery,"Smith, Bakery",a@example.com,acct_1A,https://a.example/h,charge.* payout.*\n'
        "cafe,Café,,,,\n"
    )
    bakery, cafe = rows(tmp_path, "m.csv", text)
    assert bakery == Row(
        2,
        NewMerchant("bakery", "Smith, Bakery", "a@example.com", "acct_1A"),
        "https://a.example/h",
        ("charge.*", "payout.*"),
        None,
    )
    assert cafe == Row(3, NewMerchant("cafe", "Café"), None, (), None)


def test_merchants_are_read_from_a_spreadsheets_csv_with_a_byte_order_mark(tmp_path):
    (tmp_path / "m.csv").write_bytes("\ufeffkey,name\r\nbakery,Bakery\r\n".encode())
    assert [row.merchant.key for row in read_file(tmp_path / "m.csv") if isinstance(row, Row)] == ["bakery"]


def test_a_merchants_time_zone_is_read_and_checked(tmp_path):
    text = "key,name,time_zone\nbakery,Bakery,Europe/Berlin\ncafe,Cafe,\ngym,Gym,Moon\n"
    bakery, cafe, gym = rows(tmp_path, "m.csv", text)
    assert (bakery.merchant.time_zone, cafe.merchant.time_zone) == ("Europe/Berlin", None)
    assert gym == Rejected(
        4, "'Moon' is not a time zone: write its IANA name, such as Europe/Berlin or America/New_York"
    )


async def test_a_merchant_keeps_its_time_zone(pool):
    made = await store.insert(pool, NewMerchant("bakery", "Bakery", time_zone="Europe/Berlin"))
    assert made.time_zone == "Europe/Berlin"
    changed = await store.update(pool, "bakery", NewMerchant("bakery", "Bakery", time_zone="Europe/Paris"))
    assert changed is not None
    assert changed.time_zone == "Europe/Paris"


def test_merchants_are_read_from_json_lines(tmp_path):
    text = '{"key": "bakery", "name": "Bakery", "email": null}\n\n{"key": "cafe", "name": "Café"}\n'
    found = rows(tmp_path, "m.jsonl", text)
    assert [(row.line, row.merchant.key) for row in found if isinstance(row, Row)] == [(1, "bakery"), (3, "cafe")]


def test_every_row_that_cannot_be_taken_says_where_and_why(tmp_path):
    text = (
        "key,name,stripe_account,webhook_secret\n"
        "BAKERY,x,,\n"
        "cafe,Café,acct_1A,\n"
        "cafe,Again,,\n"
        "gym,Gym,acct_1A,\n"
        "spa,Spa,,,,\n"
        "zoo,Zoo,,whsec_x\n"
        "ok,Fine,,\n"
    )
    found = rows(tmp_path, "m.csv", text)
    rejected = [(item.line, item.reason) for item in found if isinstance(item, Rejected)]
    assert [line for line, _ in rejected] == [2, 4, 5, 6, 7]
    for (_, reason), part in zip(
        rejected,
        ["merchant key", "cafe was on line 3", "acct_1A was on line 3", "more fields", "no webhook_url"],
        strict=True,
    ):
        assert part in reason
    assert [item.merchant.key for item in found if isinstance(item, Row)] == ["cafe", "ok"]


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("m.csv", b"name\nx\n", "lacks key"),
        ("m.csv", b"key,name,colour\n", "unknown colour"),
        ("m.csv", b'key,name\n"bakery,x\n', "not CSV"),
        ("m.csv", b"key,name\nbakery,\xff\n", "not UTF-8"),
        ("m.jsonl", b'{"key": "' + b"x" * 70_000 + b'"}', "longer than"),
    ],
)
def test_a_file_that_is_none_is_refused_as_a_whole(tmp_path, name, content, named):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MerchantError, match=named):
        list(read_file(tmp_path / name))


def test_json_lines_of_another_form_are_rejected_one_by_one(tmp_path):
    found = rows(tmp_path, "m.jsonl", '[1]\n{"key": 5}\n{"key": "a", "name": "A", "x": "y"}\nnothing\n')
    assert [item.line for item in found if isinstance(item, Rejected)] == [1, 2, 3, 4]
