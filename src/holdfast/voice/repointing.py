"""Moves numbers' addresses at Twilio to another public URL, and back.

What is to be changed, and how it was, is stored before anything is; each number's own row says how far it is. What
Twilio says a number has now decides what is still to be done: a kill at any moment leaves nothing that the next run
would not find. A number that nobody can move any more, since somebody else has changed its addresses meanwhile, it was
released at Twilio or deleted here, is left where it is, and said: it keeps no later move waiting.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from holdfast.db.locks import Lock
from holdfast.db.pool import Pool
from holdfast.merchants import number_store
from holdfast.merchants.numbers import Number
from holdfast.twilio.client import TwilioClient
from holdfast.twilio.model import TwilioApiError, TwilioNumber
from holdfast.voice import repoint_store as store
from holdfast.voice.addresses import INCOMING, STATUS, base_of, behind
from holdfast.voice.model import VoiceError
from holdfast.voice.repoint_store import Repoint, Row

BATCH = 20
AT_ONCE = 4
"""Requests to Twilio at the same time: far below its limit of concurrent ones for an account."""
FEW = 10
"""So many numbers of an account are asked for one by one; of more, its whole list is read."""
_REFUSED = frozenset((401, 403, 404))
"""How Twilio answers for a subaccount that is closed or suspended, or whose token is not right any more."""
_ALWAYS = {"voice_url": INCOMING, "status_callback": STATUS}
"""What of each number is ours once it is moved, wherever it was before."""
_IF_OURS = ("voice_fallback_url", "sms_url", "sms_fallback_url")
"""What is only moved where it was ours: fallbacks are best elsewhere, and texts may be another program's."""
Told = Callable[[int, int], None]
"""(numbers done, of how many)"""
_One = Callable[[int, Row, TwilioNumber | None, datetime], Awaitable[str | None]]


class RepointError(VoiceError):
    """It cannot be moved so; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What moving to `base` would do: `moves`, numbers that are `there` already, and those that cannot be moved, why.

    `from_elsewhere`: of the moves, those whose calls go to an address that is none of ours.
    """

    base: str
    moves: tuple[Row, ...]
    there: tuple[str, ...]
    cannot: Mapping[str, str]
    from_elsewhere: Mapping[str, str]


class Repointer:
    """`public`: our public URLs, the present one and former ones."""

    def __init__(self, pool: Pool, twilio: TwilioClient, public: Iterable[str]) -> None:
        self._pool = pool
        self._twilio = twilio
        self._public = tuple(public)

    async def survey(self, to: str, numbers: Sequence[Number]) -> Survey:
        """What would be moved, by what Twilio says now. Notes the numbers' PN…. Raises RepointError, TwilioApiError."""
        base = base_of(to)
        if base is None:
            raise RepointError(f"{to!r} is no public URL: write https://host, without path behind, query or fragment")
        ours = {*self._public, *await store.bases(self._pool), base}
        there, refused = await self._at_twilio([(one.phone, one.account) for one in numbers])
        await number_store.set_sids(self._pool, [(phone, one.sid) for phone, one in there.items()])
        moves, settled, cannot, elsewhere = [], [], {}, {}
        for number in numbers:
            found = there.get(number.phone)
            why = refused.get(number.account) or _why_not(number, found)
            if found is None or why is not None:
                cannot[number.phone] = why or ""
                continue
            after = addresses(found.urls, base, ours)
            if not after:
                settled.append(number.phone)
                continue
            moves.append(Row(number.phone, found.sid, number.account, found.urls, after))
            if found.urls["voice_url"] and behind(found.urls["voice_url"], ours) is None:
                elsewhere[number.phone] = found.urls["voice_url"]
        return Survey(base, tuple(moves), tuple(settled), cannot, elsewhere)

    async def begin(self, survey: Survey, *, actor: str, now: datetime) -> int:
        """Store what is to be done; nothing is changed yet. Raises RepointError while another one is under way."""
        if not survey.moves:
            raise RepointError("there is nothing to move")
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", Lock.REPOINT + 1)
            last = await store.latest(connection)
            if last and last[0].state == "under way":
                raise RepointError(
                    f"move {last[0].id} to {last[0].base} is under way: `holdfast voice repoint resume`; `finish` "
                    "to leave the numbers that are not moved yet; or `undo`"
                )
            return await store.insert(connection, survey.base, survey.moves, actor, now)

    async def advance(self, repoint_id: int, *, now: datetime, batch: int = BATCH, told: Told | None = None) -> Repoint:
        """Move what is left, a batch at a time; how it stands then. Raises RepointError, TwilioApiError.

        Numbers that failed are tried again, those that were left are not. It stops after a batch of which none could
        be moved.
        """
        async with self._alone():
            rows = await store.rows(self._pool, repoint_id)
            left = [row for row in rows if row.done_at is None and row.left_at is None]
            await self._all(repoint_id, left, self._move, now=now, batch=batch, told=told)
            await store.end(self._pool, repoint_id, now)
        return await self._found(repoint_id)

    async def finish(self, repoint_id: int, why: str, *, now: datetime) -> Repoint:
        """Leave the numbers that are not moved yet where they are, and end the move. Raises RepointError."""
        async with self._alone():
            await store.leave_rest(self._pool, repoint_id, now, why)
            await store.end(self._pool, repoint_id, now)
        return await self._found(repoint_id)

    async def undo(self, repoint_id: int, *, now: datetime, batch: int = BATCH, told: Told | None = None) -> Repoint:
        """Bring the old addresses back where ours are still in place; other ones are left, and said."""
        async with self._alone():
            left = [row for row in await store.rows(self._pool, repoint_id) if row.undone_at is None]
            await self._all(repoint_id, left, self._move_back, now=now, batch=batch, told=told)
            await store.end_undone(self._pool, repoint_id, now)
        return await self._found(repoint_id)

    async def _all(
        self,
        repoint_id: int,
        left: Sequence[Row],
        one: _One,
        *,
        now: datetime,
        batch: int,
        told: Told | None,
    ) -> None:
        there, refused = await self._at_twilio([(row.phone, row.account) for row in left])
        limit, finished = asyncio.Semaphore(AT_ONCE), 0

        async def limited(row: Row) -> str | None:
            if row.account in refused:
                await store.mark_failed(self._pool, repoint_id, row.phone, refused[row.account])
                return refused[row.account]
            async with limit:
                return await one(repoint_id, row, there.get(row.phone), now)

        for begin in range(0, len(left), batch):
            some = left[begin : begin + batch]
            errors = [error for error in await asyncio.gather(*map(limited, some)) if error is not None]
            finished += len(some)
            if told is not None:
                told(finished, len(left))
            if len(errors) == len(some):
                raise RepointError(
                    f"of the last {len(some)} none could be changed ({errors[0]}): go on when that is mended, "
                    "with `holdfast voice repoint resume`"
                )

    async def _move(self, repoint_id: int, row: Row, found: TwilioNumber | None, now: datetime) -> str | None:
        """Why it could not be; None once it is moved, or left for good."""
        why = _why_left(row, found)
        if found is None or why:
            await store.mark_left(self._pool, repoint_id, row.phone, now, why)
            return None
        error = await self._change(row, found, row.after)
        if error is None:
            await store.mark_done(self._pool, repoint_id, row.phone, now)
        else:
            await store.mark_failed(self._pool, repoint_id, row.phone, error)
        return error

    async def _move_back(self, repoint_id: int, row: Row, found: TwilioNumber | None, now: datetime) -> str | None:
        """Why it could not be; None once it is moved back, or left to whoever has changed it since."""
        before = {name: row.before.get(name, "") for name in row.after}
        if found is None or _changed_since(row, found):
            why = "left as it is: " + ("Twilio has it no more" if found is None else _changed_since(row, found))
            await store.mark_undone(self._pool, repoint_id, row.phone, now, why)
            return None
        error = await self._change(row, found, before)
        if error is None:
            await store.mark_undone(self._pool, repoint_id, row.phone, now)
        else:
            await store.mark_failed(self._pool, repoint_id, row.phone, error)
        return error

    async def _change(self, row: Row, found: TwilioNumber, wanted: Mapping[str, str]) -> str | None:
        left = {name: value for name, value in wanted.items() if found.urls.get(name) != value}
        if not left:
            return None
        try:
            await self._twilio.update_number(found.sid, account=row.account, **left)
        except TwilioApiError as error:
            return str(error)
        return None

    async def _at_twilio(
        self, numbers: Sequence[tuple[str, str | None]]
    ) -> tuple[dict[str, TwilioNumber], dict[str | None, str]]:
        """As Twilio has them now, by phone; and why subaccounts cannot be asked, which keeps the others from nothing.

        Raises TwilioApiError.
        """
        wanted: dict[str | None, set[str]] = {}
        for phone, account in numbers:
            wanted.setdefault(account, set()).add(phone)
        found: dict[str, TwilioNumber] = {}
        refused: dict[str | None, str] = {}
        for account, phones in wanted.items():
            try:
                found |= await self._of_account(account, phones)
            except TwilioApiError as error:
                if account is None or error.status not in _REFUSED:
                    raise
                refused[account] = f"the account {account} cannot be asked: {error}"
        return found, refused

    async def _of_account(self, account: str | None, phones: Collection[str]) -> dict[str, TwilioNumber]:
        if len(phones) > FEW:
            return {one.phone: one async for one in self._twilio.numbers(account) if one.phone in phones}
        some = [await self._twilio.number_by_phone(phone, account) for phone in sorted(phones)]
        return {one.phone: one for one in some if one is not None}

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Two at once would undo each other's work. Raises RepointError."""
        async with self._pool.acquire() as connection:
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", Lock.REPOINT):
                raise RepointError("numbers are being moved by another process just now")
            try:
                yield
            finally:
                await connection.execute("SELECT pg_advisory_unlock($1)", Lock.REPOINT)

    async def _found(self, repoint_id: int) -> Repoint:
        found = await store.get(self._pool, repoint_id)
        if found is None:
            raise RepointError(f"there is no move {repoint_id}; see `holdfast voice repoint status`")
        return found


def addresses(urls: Mapping[str, str], base: str, ours: Iterable[str]) -> dict[str, str]:
    """Those addresses of a number that change when it is moved to `base`, and what they become."""
    ours = tuple(ours)
    wanted = {name: base + (behind(urls.get(name, ""), ours) or path) for name, path in _ALWAYS.items()}
    wanted["voice_method"] = wanted["status_callback_method"] = "POST"
    for name in _IF_OURS:
        rest = behind(urls.get(name, ""), ours)
        if rest is not None:
            wanted[name] = base + rest
    return {name: value for name, value in wanted.items() if urls.get(name, "") != value}


def _why_not(number: Number, found: TwilioNumber | None) -> str | None:
    if found is None:
        whose = f"the account {number.account}" if number.account else "the main account"
        return f"Twilio has no such number in {whose}"
    for name, what in (("trunk_sid", "trunk"), ("voice_application_sid", "application")):
        if found.urls.get(name):
            return f"its calls go to the {what} {found.urls[name]}, whatever its addresses: take it out of there first"
    return None


def _why_left(row: Row, found: TwilioNumber | None) -> str:
    """Why nobody can move it any more, in words; empty if it can be, or is moved already."""
    if found is None:
        return "Twilio has it no more"
    is_moved = all(found.urls.get(name) == value for name, value in row.after.items())
    if not is_moved and not row.is_ours:
        return "it was deleted from our numbers meanwhile"
    return _changed_since(row, found)


def _changed_since(row: Row, found: TwilioNumber) -> str:
    """What somebody else has changed since it was surveyed, in words; empty if nothing."""
    for name, value in row.after.items():
        now = found.urls.get(name, "")
        if now not in (value, row.before.get(name, "")):
            return f"somebody has changed its {name} meanwhile, to {now or 'nothing'}"
    return ""
