"""Sends texts: takes them from the queue, asks the gate for leave, hands them to Twilio, writes down what came of it.

Twilio knows no idempotency key for texts, so that one whose answer was lost is *uncertain*: it stays `sending`, and is
looked up at Twilio before anybody tries it again. Source: https://www.twilio.com/docs/messaging/api/message-resource
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Final, NamedTuple

import structlog

from holdfast.consent import customers, ledger
from holdfast.db.pool import AWAY, Connection, Pool
from holdfast.delivery.backoff import Backoff
from holdfast.delivery.gate import Gate as AccountGate
from holdfast.delivery.model import Attempt, Outcome
from holdfast.levers.service import Levers
from holdfast.messaging import answers, gate, looking_up, meanings
from holdfast.messaging import sending_store as store
from holdfast.messaging.accounts import Accounts
from holdfast.messaging.answers import Result
from holdfast.messaging.callbacks import RANKS
from holdfast.messaging.sending_store import Failed, Sent, Text
from holdfast.messaging.signals import SENT
from holdfast.queue import store as queue
from holdfast.queue.model import ClaimPolicy, Lane, Postponed, Settled, Stage, Work
from holdfast.queue.service import Claimer
from holdfast.twilio.client import TwilioClient
from holdfast.twilio.model import TwilioApiError

log = structlog.get_logger()

CONCURRENCY: Final = 32
"""Texts that a process has in hand: beyond this, Twilio's own rates decide how fast they go."""
RESERVE: Final = 4
"""Of these for confirmations, which have five minutes."""
MARGIN: Final = timedelta(seconds=1.5)
"""Before the leave ends nothing is begun, and what is under way is broken off: what the kernel has may still go out."""
GRACE: Final = timedelta(seconds=30)
"""How long after that a text may turn up at Twilio. Not before is one that is not there sent again."""
HELD: Final = 15.0
"""Seconds between looks at a text that the lever holds, where it is claimed at all."""
UNKNOWN_FOR: Final = timedelta(days=1)
"""For so long is asked whether Twilio has a text. Then nobody would want it any more, and it counts as failed."""
PATH: Final = "/hooks/twilio/message-status"
SOON: Final = Backoff(base=2.0, factor=2.0, cap=300.0, tries=18)
"""Reminders, codes and confirmations: about half an hour, at most one. Later they say what is not so any more."""
PATIENT: Final = Backoff(base=5.0, factor=3.0, cap=7200.0, tries=20)
"""Marketing: about half a day, at most one."""
LOOKING: Final = Backoff(base=2.0, factor=2.0, cap=300.0, tries=1_000_000)
POLICY: Final = ClaimPolicy(lease=timedelta(seconds=60))
_MOST: Final = 500
_CLOSE: Final = 5.0


class _Leave(NamedTuple):
    """What is needed to hand a text over. `until`, on our clock: then nothing may be begun any more."""

    account: AccountGate
    permit: int
    until: float


class TextSender:
    """One process's sending. `tick` claims and begins; results are written in the background by `settle`.

    Whoever is killed at any moment loses nothing: what it had in hand comes back when the lease ends.
    """

    def __init__(
        self,
        pool: Pool,
        client: TwilioClient,
        public: str,
        *,
        levers: Levers,
        concurrency: int = CONCURRENCY,
        grace: timedelta = GRACE,
        lasts: timedelta = gate.SENDING,
        rng: Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`public`: our address, for Twilio's callbacks. `clock`: monotonic seconds."""
        self._pool = pool
        self._client = client
        self._callback = f"{public.rstrip('/')}{PATH}?m="
        self._levers = levers
        self._concurrency = concurrency
        self._grace = grace
        self._lasts = lasts
        self._rng = rng or Random()  # noqa: S311 - jitter
        self._clock = clock
        # Confirmations of opt-outs go out whatever the lever of texts says.
        self._urgent = Claimer(pool, Stage.SEND, POLICY, lambda: levers.rules)
        self._rest = Claimer(pool, Stage.SEND, POLICY, lambda: levers.text_rules)
        self._accounts = Accounts(self._rng, concurrency, lasts.total_seconds())
        self._in_hand: dict[int, Work] = {}
        self._tasks: dict[asyncio.Task[None], Work] = {}
        self._results: list[Result] = []
        self._settling = asyncio.Lock()
        self.ended = asyncio.Event()
        """Set when there is something to settle."""
        self.progress = asyncio.Event()
        """Set when there is room again."""

    @property
    def in_flight(self) -> int:
        return len(self._tasks)

    # Taking

    async def tick(self, now: datetime | None = None) -> int:
        """Claim what may be sent now and begin; returns how much. Raises what `AWAY` lists."""
        began = self._clock()
        free, room = self._concurrency - len(self._in_hand), self._accounts.room(began)
        if free <= 0 or room <= 0:
            return 0
        reserve = min(RESERVE, self._concurrency // 4)
        works = await self._urgent.claim(min(free, room), lanes=(Lane.CRITICAL,), now=now)
        room = min(free - reserve, room) - len(works)
        if room > 0:
            works += await self._rest.claim(room, lanes=(Lane.STANDARD, Lane.BULK), now=now)
        if works:
            await self._begin(works, began, now)
        return len(works) or int(not self._rest.exhausted and room > 0)

    async def _begin(self, works: Sequence[Work], began: float, now: datetime | None) -> None:
        """`began`: before they were claimed, on our clock."""
        self._in_hand |= {work.ref: work for work in works}
        try:
            texts = await store.load(self._pool, [work.ref for work in works], self._grace, now=now)
            fresh = []
            for work in works:
                text = texts.get(work.ref)
                if text is None or text.state not in ("queued", "sending"):
                    self._end(Result(work, "over", note=text.state if text is not None else "gone"))
                elif text.state == "sending":
                    self._start(work, self._resolve(work, text, began, now))
                else:
                    fresh.append((work, text))
            await self._send(fresh, began, now)
        except BaseException:
            self._give_back(works)
            raise

    def _give_back(self, works: Sequence[Work]) -> None:
        """What is neither under way nor ended. What of it got its leave is looked up first, like what was lost."""
        busy = {work.ref for work in self._tasks.values()} | {result.work.ref for result in self._results}
        for work in works:
            if work.ref in self._in_hand and work.ref not in busy:
                self._end(Result(work, "later", delay=1.0))

    async def _send(self, texts: Sequence[tuple[Work, Text]], began: float, now: datetime | None) -> None:
        """Ask for leave for all of these, of which none can have reached Twilio, and hand over what gets it."""
        asked: dict[int, tuple[Work, Text, AccountGate, int]] = {}
        clock = self._clock()
        for work, text in texts:
            account = self._accounts.of(text.account, clock)
            permit = self._accounts.permit(account, clock)
            if isinstance(permit, float):
                self._end(Result(work, "later", delay=permit))
            else:
                asked[text.id] = (work, text, account, permit)
        if not asked:
            return
        until = min(clock + (self._lasts - MARGIN).total_seconds(), began + POLICY.lease.total_seconds() - _CLOSE)
        try:
            leaves = await gate.begin_sending(self._pool, list(asked), lasts=self._lasts, now=now)
            missing = [ref for ref in asked if ref not in leaves]
            states = await store.states(self._pool, missing) if missing else {}
        except BaseException:
            for _, _, account, permit in asked.values():
                account.cancel(permit)
            raise
        for ref, (work, text, account, permit) in asked.items():
            leave = leaves.get(ref)
            if leave is not None and leave.verdict == "send" and leave.account == text.account:
                text = replace(text, from_=leave.from_)  # noqa: PLW2901 - it may be another one by now
                self._start(work, self._hand_over(work, text, _Leave(account, permit, until)))
                continue
            account.cancel(permit)
            if leave is not None and leave.verdict == "send":
                why = "it goes out with another Twilio account now"
                self._end(Result(work, "again", text, note=why, delay=0.1))
            elif leave is None:
                self._end(Result(work, "over", note=states.get(ref, "gone")))
            elif leave.verdict == "later":
                self._end(self._put_off(work, leave, now))
            else:
                self._end(Result(work, "over", note=leave.verdict))

    def _put_off(self, work: Work, leave: gate.Leave, now: datetime | None) -> Result:
        """Until the person's morning; or for a moment, while the lever holds it."""
        if leave.at is None:
            return Result(work, "later", delay=HELD * self._rng.uniform(0.8, 1.2))
        delay = (leave.at - (now or datetime.now().astimezone())).total_seconds()
        return Result(work, "later", delay=max(0.0, delay), opening=leave.at)

    def _start(self, work: Work, doing: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(doing)
        self._tasks[task] = work
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    # Handing over

    async def _hand_over(self, work: Work, text: Text, leave: _Leave) -> None:
        began = self._clock()
        try:
            result, attempt = await self._tried(work, text, leave.until - began, began)
        except Exception as error:  # noqa: BLE001 - whatever it was, the text may be on its way
            leave.account.cancel(leave.permit)
            log.error("text.answer_not_understood", message_id=text.id, error=type(error).__name__)
            why = "Twilio's answer was not understood"
            self._end(Result(work, "uncertain", text, note=why, delay=1.0))
        except BaseException:
            leave.account.cancel(leave.permit)
            raise
        else:
            leave.account.end(leave.permit, attempt, self._clock())
            self._end(result)

    async def _tried(self, work: Work, text: Text, left: float, began: float) -> tuple[Result, Attempt]:
        refused = Attempt(Outcome.REFUSED, None, 0.0)
        if left <= 0:
            return self._again(work, text, "the leave to send it had ended", None), refused
        if text.to is None or text.from_ is None or not text.body:
            return Result(work, "failed", text, note="it has no number, sender or body any more"), refused
        try:
            told = await self._client.send_text(
                text.to,
                text.from_,
                text.body,
                status_callback=f"{self._callback}{text.id}",
                account=text.account,
                timeout=left,
            )
        except TwilioApiError as error:
            return self._judged(work, text, error), answers.attempt(error, self._clock() - began)
        except TimeoutError:
            why = "Twilio did not answer in time"
            return Result(work, "uncertain", text, note=why, delay=1.0), answers.lost(self._clock() - began)
        status = told.status if told.status in RANKS else "queued"
        sent = Sent(text.id, told.sid, status, RANKS[status])
        return Result(work, "sent", text, sent=sent), Attempt(Outcome.DELIVERED, 201, self._clock() - began)

    def _judged(self, work: Work, text: Text, error: TwilioApiError) -> Result:
        why = answers.why(error, text)
        match answers.verdict(error):
            case "uncertain":
                return Result(work, "uncertain", text, note=why, delay=1.0)
            case "again":
                return self._again(work, text, why, error.pause)
        return Result(work, "failed", text, note=why, code=error.code)

    def _again(self, work: Work, text: Text, why: str, pause: float | None) -> Result:
        backoff = PATIENT if text.purpose == "marketing" else SOON
        tries = text.tries + 1
        delay = backoff.next_try(tries, pause, self._rng, self._levers.backoff)
        if delay is None:
            return Result(work, "failed", text, note=f"given up after {tries} tries; the last: {why}")
        return Result(work, "again", text, note=why, delay=delay)

    # What was lost

    async def _resolve(self, work: Work, text: Text, began: float, now: datetime | None) -> None:
        """An earlier try of it came to no answer: adopt what Twilio has, or send it once it certainly has nothing."""
        try:
            await self._resolved(work, text, began, now)
        except AWAY as error:
            log.warning("text.not_looked_up", message_id=text.id, error=type(error).__name__)
            self._end(self._look_later(work, text, "it could not be looked up"))
        except Exception as error:  # noqa: BLE001 - such as an answer that nobody can read
            log.error("text.not_looked_up", message_id=text.id, error=type(error).__name__)
            self._end(self._look_later(work, text, "what Twilio said of it was not understood"))

    async def _resolved(self, work: Work, text: Text, began: float, now: datetime | None) -> None:
        try:
            found = await looking_up.look_up(self._pool, self._client, text)
        except TwilioApiError as error:
            self._end(self._look_later(work, text, answers.why(error, text)))
            return
        if found == "perhaps":
            why = "Twilio has a text to this person of that moment, in other words: it may be this one"
            self._end(self._look_later(work, text, why))
        elif found is not None:
            self._end(Result(work, "sent", text, sent=found))
        elif text.open_for > 0:
            self._end(Result(work, "later", text, delay=text.open_for))
        else:
            await self._send([(work, text)], began, now)

    def _look_later(self, work: Work, text: Text, why: str) -> Result:
        if text.tried_for > UNKNOWN_FOR.total_seconds():
            note = "for a day nobody could say whether Twilio took it"
            return Result(work, "failed", text, note=note)
        return Result(work, "uncertain", text, note=why, delay=LOOKING.ceiling(min(work.attempts, 16)))

    # Settling

    def _end(self, result: Result) -> None:
        self._results.append(result)
        self.ended.set()

    async def settle(self, now: datetime | None = None) -> int:
        """Write down all results that came in; returns how many. Raises what `AWAY` lists, and loses none."""
        async with self._settling:
            results = self._results[:_MOST]
            if not results:
                return 0
            outcomes = await self._write(results, now)
            del self._results[: len(results)]
        for result in results:
            self._in_hand.pop(result.work.ref, None)
        for outcome in outcomes:
            SENT.inc(1, outcome)
        self.progress.set()
        return len(results)

    async def _write(self, results: Sequence[Result], now: datetime | None) -> list[str]:
        """Text and work in one transaction. Locks in the order that everybody keeps; see `ledger.lock`."""
        works = {result.work.ref: result.work for result in results}
        async with self._pool.acquire() as db, db.transaction():
            await customers.lock(db, await store.owners(db, list(works)))
            facts = [fact for one in results if (fact := one.fact(now)) is not None]
            if any(meanings.MEANINGS[fact.code].is_wish for fact in facts):
                await ledger.lock(db)
            await store.lock(db, list(works))
            results = await self._write_sent(db, results, now)
            ended = [Settled(one.work.ref, one.outcome) for one in results if one.delay is None]
            ours = await queue.settle(db, Stage.SEND, list(works.values()), ended, now=now) if ended else set()
            later = [Postponed(one.work.ref, one.delay, one.is_try) for one in results if one.delay is not None]
            if later:
                ours |= await queue.postpone(db, Stage.SEND, list(works.values()), later, now=now)
            mine = [one for one in results if one.work.ref in ours]
            await self._write_rest(db, mine, now)
        _tell(mine)
        return [one.kind if one.kind != "over" else one.outcome for one in mine]

    async def _write_sent(self, db: Connection, results: Sequence[Result], now: datetime | None) -> list[Result]:
        """That Twilio has a text is written down whoever has its work now. Two of the same words may have been taken
        for each other: the one whose sid is gone is looked up again.
        """
        sent = {one.sent.sid: one.sent for one in reversed(results) if one.sent is not None}
        if not sent:
            return list(results)
        done = await store.mark_sent(db, list(sent.values()), now=now)
        states = await store.states(db, [one.id for one in sent.values() if one.id not in done])
        return [
            one
            if one.sent is None or one.work.ref in done
            else Result(one.work, "over", note=states[one.work.ref])
            if states.get(one.work.ref, "sending") not in ("queued", "sending")
            else Result(one.work, "uncertain", one.text, note="another text of the same words has its sid", delay=1.0)
            for one in results
        ]

    async def _write_rest(self, db: Connection, results: Sequence[Result], now: datetime | None) -> None:
        by_kind: Mapping[str, list[Result]] = {
            kind: [one for one in results if one.kind == kind] for kind in ("failed", "again", "uncertain", "later")
        }
        if by_kind["failed"]:
            failed = [Failed(one.work.ref, one.code, one.note) for one in by_kind["failed"]]
            await store.mark_failed(db, failed, now=now)
            facts = [fact for one in by_kind["failed"] if (fact := one.fact(now)) is not None]
            await meanings.apply(db, facts, now or datetime.now().astimezone())
        if by_kind["again"]:
            await store.mark_waiting(db, [(one.work.ref, one.note) for one in by_kind["again"]])
        if by_kind["uncertain"]:
            await store.note(db, [(one.work.ref, one.note) for one in by_kind["uncertain"]])
        put_off = [(one.work.ref, one.opening) for one in by_kind["later"] if one.opening is not None]
        if put_off:
            await store.put_off(db, put_off)

    async def drain(self, patience: float) -> None:
        """Let what is under way end for `patience` seconds, then break it off: whoever takes it next looks it up."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=patience)
        left = dict(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._give_back(list(self._in_hand.values()))
        try:
            async with asyncio.timeout(2.0):
                while await self.settle():
                    pass
        except AWAY as error:
            log.warning("text.not_released", texts=len(self._in_hand), error=type(error).__name__)


def _tell(results: Sequence[Result]) -> None:
    for one in results:
        if one.kind == "failed":
            log.warning("text.failed", message_id=one.work.ref, code=one.code)
        elif one.kind == "uncertain":
            log.warning("text.uncertain", message_id=one.work.ref)
