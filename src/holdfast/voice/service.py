"""Numbers and their plans: adding, changing, importing and explaining them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg

from holdfast.db.pool import Connection, Pool
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.files import Rejected
from holdfast.merchants.model import COMPANY
from holdfast.merchants.numbers import NewNumber, Number, checked_region, e164, region_of, time_zone_of
from holdfast.twilio import store as accounts
from holdfast.twilio.model import Account
from holdfast.twilio.service import NUMBER, checked_sid
from holdfast.voice import store
from holdfast.voice.model import Plan, UnknownError, VoiceError
from holdfast.voice.plans import PlanChange, checked_change, checked_plan

_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is said of a number; None where nothing is. `merchant` is a key, empty for the company itself."""

    phone: str
    merchant: str | None = None
    region: str | None = None
    account: str | None = None
    sid: str | None = None
    stands_in: bool | None = None
    plan: Plan | PlanChange | None = None
    """A whole plan, or what is said of one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One number of a file."""

    line: int
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file: rows, of which so many numbers were new or changed, and so many plans."""

    rows: int
    added: int = 0
    changed: int = 0
    plans: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """A number as it is shown: its merchant by its key, None for the company; without a plan it takes messages."""

    phone: str
    merchant: str | None
    region: str
    account: str | None
    sid: str | None
    stands_in: bool
    created_at: datetime
    plan: Plan | None


async def known(db: Pool | Connection, numbers: Sequence[Number]) -> list[Known]:
    """What is known of numbers, in their order."""
    keys = await merchants.keys(db, list({one.merchant_id for one in numbers}))
    plans = await store.plans(db, [one.phone for one in numbers])
    return [
        Known(
            one.phone,
            keys.get(one.merchant_id),
            one.region,
            one.account,
            one.sid,
            one.stands_in,
            one.created_at,
            plans.get(one.phone),
        )
        for one in numbers
    ]


def checked(wanted: Wanted) -> Wanted:
    """What is said of a number, its phone in E.164, if it is as it must be.

    Raises MerchantError, TwilioError, VoiceError.
    """
    phone = e164(wanted.phone)
    if wanted.region is not None:
        checked_region(wanted.region)
    if wanted.sid is not None and not NUMBER.fullmatch(wanted.sid):
        raise VoiceError(f"{wanted.sid[:60]!r} is not a number's SID at Twilio: PN and 32 digits from 0 to f")
    if wanted.account is not None:
        checked_sid(wanted.account)
    plan = wanted.plan
    if plan is not None:
        plan = checked_plan(plan) if isinstance(plan, Plan) else checked_change(plan)
    return replace(wanted, phone=phone, plan=plan)


async def import_rows(
    pool: Pool, found: Iterable[Row | Rejected], *, by: str, main: str | None, dry_run: bool = False
) -> tuple[Imported, list[Rejected]]:
    """Add or change all numbers, or none where a row is rejected. `main`: the account of the settings, if any.

    What a row does not say stays as it is. Raises VoiceError.
    """
    rows: list[Row] = []
    rejected: list[Rejected] = []
    for item in found:
        if isinstance(item, Row):
            rows.append(item)
        else:
            rejected.append(item)
    async with pool.acquire() as connection, connection.transaction():
        news = await _looked_up(connection, rows, rejected, main)
        plans = await _plans(connection, rows, rejected)
        if rejected or dry_run:
            return Imported(len(rows)), sorted(rejected, key=lambda one: one.line)
        result = Imported(len(rows))
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            added, changed = await _put(connection, news[start : start + _CHUNK], _to_main(chunk, main))
            theirs = {row.wanted.phone: plans[row.wanted.phone] for row in chunk if row.wanted.phone in plans}
            put = await store.put_plans(connection, theirs, changed_by=by) if theirs else 0
            result = Imported(len(rows), result.added + added, result.changed + changed, result.plans + put)
        await _no_circles(connection, [row.wanted.phone for row in rows])
    return result, []


async def put(pool: Pool, wanted: Wanted, *, by: str, main: str | None, new: bool | None = None) -> tuple[Number, bool]:
    """Add a number or change what is said of it; whether it was added. Raises MerchantError, TwilioError, VoiceError.

    `new`: True, it must not be there yet; False, it must be.
    """
    wanted = checked(wanted)
    async with pool.acquire() as connection, connection.transaction():
        there = await number_store.find(connection, wanted.phone)
        if there is not None and new is True:
            raise VoiceError(f"{wanted.phone} is there already; change it with `holdfast numbers set {wanted.phone} …`")
        if there is None and new is False:
            raise missing(wanted.phone)
        rejected: list[Rejected] = []
        rows = [Row(1, wanted)]
        news = await _looked_up(connection, rows, rejected, main)
        plans = await _plans(connection, rows, rejected)
        if rejected:
            raise VoiceError(rejected[0].reason)
        await _put(connection, news, _to_main(rows, main))
        await store.put_plans(connection, plans, changed_by=by)
        await _no_circles(connection, [wanted.phone])
        number = await number_store.find(connection, wanted.phone)
    assert number is not None
    return number, there is None


async def find(db: Pool | Connection, phone: str) -> Number:
    """Raises MerchantError where it is no phone number, UnknownError where it is not ours."""
    written = e164(phone)
    number = await number_store.find(db, written)
    if number is None:
        raise missing(written)
    return number


async def set_plan(pool: Pool, phone: str, plan: Plan, *, by: str) -> Plan:
    """The number's plan from now on. Raises MerchantError, VoiceError."""
    made = checked_plan(plan)
    number = await find(pool, phone)
    try:
        async with pool.acquire() as connection, connection.transaction():
            await store.put_plans(connection, {number.phone: made}, changed_by=by)
            await _no_circles(connection, [number.phone])
    except asyncpg.ForeignKeyViolationError:
        raise missing(number.phone) from None
    return made


async def _no_circles(db: Connection, phones: Sequence[str]) -> None:
    """A number of ours that is rung is answered by its own plan: that may not lead back. Raises VoiceError."""
    for start, last in (await store.circles(db, phones))[:1]:
        by_way = "itself" if start == last else f"{last}, whose plan rings {start} again"
        raise VoiceError(f"calls to {start} would go in circles: they ring {by_way}; name who really answers")


def missing(phone: str) -> UnknownError:
    return UnknownError(f"{phone} is none of our numbers; `holdfast numbers list` shows them")


async def zone_is_certain(db: Pool | Connection, number: Number, plan: Plan) -> bool:
    """Whether it is known by which clock the plan's hours go."""
    if not plan.hours or plan.time_zone is not None:
        return True
    merchant = (await merchants.by_ids(db, [number.merchant_id])).get(number.merchant_id)
    return (merchant is not None and merchant.time_zone is not None) or time_zone_of(number.phone) is not None


async def _looked_up(
    db: Connection, rows: Sequence[Row], rejected: list[Rejected], main: str | None
) -> list[NewNumber]:
    """Rows as they are stored; those that name what is not there are rejected."""
    there = await number_store.by_phones(db, [row.wanted.phone for row in rows])
    ids = await merchants.ids(db, sorted({row.wanted.merchant for row in rows if row.wanted.merchant}))
    known = {account.sid: account for account in await accounts.accounts(db)}
    news = []
    for row in rows:
        wanted, before = row.wanted, there.get(row.wanted.phone)
        if wanted.merchant and wanted.merchant not in ids:
            rejected.append(
                Rejected(row.line, f"there is no merchant {wanted.merchant!r}; `holdfast merchants list` shows them")
            )
        elif wanted.account is not None and wanted.account not in known and wanted.account != main:
            rejected.append(
                Rejected(
                    row.line,
                    f"there is no Twilio account {wanted.account}; "
                    f"add it with `holdfast twilio accounts add {wanted.account}`",
                )
            )
        else:
            new = _new(wanted, before, ids.get(wanted.merchant or "", COMPANY), main)
            kept = before.account if before is not None and wanted.account is None else None
            account = known.get(new.account or kept or "")
            if account is not None and account.merchant_id not in (COMPANY, new.merchant_id):
                rejected.append(Rejected(row.line, _of_another(new.phone, account)))
            else:
                news.append(new)
    return news


def _of_another(phone: str, account: Account) -> str:
    return (
        f"{phone} cannot be of Twilio account {account.sid} ({account.name}), which is another merchant's: its calls "
        "would be refused, since a merchant's own token speaks of that merchant's numbers alone. Name the account that "
        f"has the number (--account), or whose the account is: `holdfast twilio accounts add {account.sid} --merchant "
        "KEY`, '' for the company"
    )


async def others_numbers(db: Pool | Connection, sid: str, merchant_id: int) -> list[str]:
    """Numbers of this account that could not be called if it were this merchant's; the company's may have any."""
    if merchant_id == COMPANY:
        return []
    return [one.phone for one in await number_store.of_account(db, sid) if one.merchant_id != merchant_id]


async def _plans(db: Connection, rows: Sequence[Row], rejected: list[Rejected]) -> dict[str, Plan]:
    """The plans that rows give, by phone: what is said of one is merged with what is there, or the row rejected."""
    before = await store.plans(db, [row.wanted.phone for row in rows if isinstance(row.wanted.plan, PlanChange)])
    found: dict[str, Plan] = {}
    for row in rows:
        match row.wanted.plan:
            case Plan() as plan:
                found[row.wanted.phone] = plan
            case PlanChange() as change:
                try:
                    found[row.wanted.phone] = change.of(before.get(row.wanted.phone))
                except VoiceError as error:
                    rejected.append(Rejected(row.line, str(error)))
    return found


def _new(wanted: Wanted, before: Number | None, merchant_id: int, main: str | None) -> NewNumber:
    if wanted.merchant is None and before is not None:
        merchant_id = before.merchant_id
    stands_in = wanted.stands_in
    if stands_in is None:
        stands_in = before is not None and before.stands_in
    return NewNumber(
        wanted.phone,
        merchant_id,
        wanted.region or (before.region if before is not None else region_of(wanted.phone)),
        None if wanted.account == main else wanted.account,
        wanted.sid,
        stands_in,
    )


async def _put(db: Connection, news: Sequence[NewNumber], to_main: Sequence[str]) -> tuple[int, int]:
    try:
        counts = await number_store.put(db, news)
    except asyncpg.UniqueViolationError as error:
        raise VoiceError(f"a SID belongs to another number already: {error.detail}") from None
    await number_store.set_main(db, to_main)
    return counts


def _to_main(rows: Sequence[Row], main: str | None) -> list[str]:
    """Those that are said to be of the settings' account: it has no name in the table, and none keeps what is there."""
    return [row.wanted.phone for row in rows if main is not None and row.wanted.account == main]
