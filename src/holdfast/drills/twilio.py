"""The emulated Twilio: a real HTTP server, people who call and are called, and TwiML that is really walked.

It plays Twilio for drills, tests and measurements: the official SDK uses its API and accepts what it signs.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from holdfast.drills.pacing import discard, paced
from holdfast.drills.serving import serve
from holdfast.drills.status_page import ComponentStatus, Incident, Indicator
from holdfast.drills.twilio_api import STATUS_PATH, ApiSetup, TwilioApi
from holdfast.drills.twilio_api_traffic import TrafficApi
from holdfast.drills.twilio_callbacks import Callbacks
from holdfast.drills.twilio_debugger import Debugger
from holdfast.drills.twilio_exchange import CallResult, Exchange
from holdfast.drills.twilio_faults import TwilioEmulatorError, TwilioFaults
from holdfast.drills.twilio_people import Caller, People, Person, Regions, e164
from holdfast.drills.twilio_state import KEPT, Account, Alert, CallRecord, Message, Number, Recording, TwilioState
from holdfast.drills.twilio_status import StatusPage
from holdfast.drills.twilio_switch import Switch
from holdfast.drills.twilio_texts import TextResult, Texts
from holdfast.drills.twilio_traffic import CallMix, Shares, Totals, shares
from holdfast.drills.twilio_webhooks import Answer, Ask, WebhookPoster

DEFAULT_ACCOUNT_SID: Final = "AC" + "e" * 32
DEFAULT_AUTH_TOKEN: Final = "emulated-auth-token"  # noqa: S105 - of a Twilio that does not exist


class EmulatedTwilio:
    """A Twilio of our own: an async context manager that serves while it is open.

    `seed` fixes all randomness. `speed` is simulated seconds per real second, for all that lasts within a call or text
    and for waits before webhooks are retried. `read_timeout` and `connect_timeout` (of webhooks) and `rate_limit`
    (API requests/s for each account) are in real time. `clock` gives Unix time. `regions` maps prefixes of numbers to
    regions, where their ISO country will not do. `faults` may be replaced at any moment. TwilioEmulatorError when it is
    set up or used wrongly.
    """

    def __init__(
        self,
        *,
        account_sid: str = DEFAULT_ACCOUNT_SID,
        auth_token: str = DEFAULT_AUTH_TOKEN,
        regions: Mapping[str, str] | None = None,
        seed: int = 0,
        speed: float = 1.0,
        rate_limit: float | None = None,
        read_timeout: float = 15.0,
        connect_timeout: float = 10.0,
        call_concurrency: int = 2_000,
        webhook_concurrency: int = 128,
        history: int = 20_000,
        kept: int = KEPT,
        faults: TwilioFaults | None = None,
        clock: Callable[[], float] = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        if speed <= 0:
            raise TwilioEmulatorError(f"speed is simulated seconds per real second: give more than 0, not {speed}")
        self.faults = faults or TwilioFaults()
        self.account_sid, self.auth_token = account_sid, auth_token
        self._clock = clock
        self._host, self._port = host, port
        self._rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._state = TwilioState(random.Random(seed + 1), kept)  # noqa: S311 - sids must not change the traffic
        self._state.accounts[account_sid] = Account(account_sid, auth_token, created=clock())
        self._status = StatusPage()
        self._poster = WebhookPoster(
            speed=speed, read_timeout=read_timeout, connect_timeout=connect_timeout, concurrency=webhook_concurrency
        )
        callback_rng = random.Random(seed + 2)  # noqa: S311 - as above
        self._callbacks = Callbacks(self._poster, lambda: self.faults, callback_rng, webhook_concurrency)
        self._exchange = Exchange(
            state=self._state,
            people=People(),
            regions=Regions(dict(regions or {})),
            poster=self._poster,
            callbacks=self._callbacks,
            debugger=Debugger(self._state, self._callbacks, clock),
            clock=clock,
            speed=speed,
            faults=lambda: self.faults,
            seed=seed,
            base_url=lambda: self.url,
        )
        self._switch = Switch(self._exchange, call_concurrency, history)
        self._texts = Texts(self._exchange, call_concurrency)
        setup = ApiSetup(self._exchange, self._status, rate_limit, random.Random(seed + 3))  # noqa: S311 - as above
        self._api = TwilioApi(setup, TrafficApi(self._switch, self._texts).routes())
        self._stack = AsyncExitStack()
        self._url: str | None = None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._url = await serve(stack, self._api.application(), self._host, self._port)
            await stack.enter_async_context(self._poster)
            for ending in (self._callbacks.close, self._texts.close, self._switch.close):
                stack.push_async_callback(ending)
            stack.push_async_callback(_cancelled, asyncio.create_task(self._noise()))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """The base address of all APIs, without a path. TwilioEmulatorError when not open."""
        if self._url is None:
            raise TwilioEmulatorError("the emulated Twilio has no address yet: use it with `async with`")
        return self._url

    @property
    def status_url(self) -> str:
        return f"{self.url}{STATUS_PATH}"

    def add_subaccount(self, sid: str, token: str) -> None:
        """Add an account under the main one."""
        self._state.accounts[sid] = Account(sid, token, self.account_sid, self._clock())

    def use_shared_key(self, key_id: str, secret: str, account: str | None = None) -> None:
        """Sign an account's webhooks with a shared key (HMAC_SHA256) from now on, instead of with the auth token."""
        self._state.account(account or self.account_sid).shared_key = (key_id, secret)

    def set_debugger_url(self, url: str | None, account: str | None = None) -> None:
        """Tell an account's alerts to this address from now on."""
        self._state.account(account or self.account_sid).debugger_url = url

    def add_number(
        self,
        phone: str,
        *,
        account: str | None = None,
        voice_url: str = "",
        voice_fallback_url: str | None = None,
        status_callback: str | None = None,
        status_callback_events: Iterable[str] = ("completed",),
        sms_url: str | None = None,
        sms_fallback_url: str | None = None,
        advanced_opt_out: bool = False,
        region: str | None = None,
    ) -> Number:
        """Buy a number. TwilioEmulatorError if it is none, or is taken."""
        known = e164(phone)
        if known is None or known != phone or phone in self._state.by_phone:
            raise TwilioEmulatorError(f"{phone} is no number in E.164, or was added before")
        if region is not None:
            self._exchange.regions.numbers[phone] = region
        now = self._clock()
        number = Number(
            sid=self._state.new_sid("PN"),
            phone=phone,
            account=self._state.account(account or self.account_sid).sid,
            region=self._exchange.regions.of(phone),
            created=now,
            updated=now,
            friendly_name=phone,
            voice_url=voice_url,
            voice_fallback_url=voice_fallback_url or "",
            status_callback=status_callback or "",
            status_callback_events=tuple(status_callback_events),
            sms_url=sms_url or "",
            sms_fallback_url=sms_fallback_url or "",
            advanced_opt_out=advanced_opt_out,
        )
        self._state.by_phone[phone] = number
        return self._state.numbers.add(number)

    def set_person(self, target: str, person: Person, *, region: str | None = None) -> None:
        """Say who is at a number or SIP address, and where, if that is not where its number says."""
        self._exchange.people.known[target] = person
        if region is not None:
            self._exchange.regions.numbers[target] = region

    def set_default_person(self, person: Person) -> None:
        """Say who is at every other target."""
        self._exchange.people.default = person

    def set_status(
        self,
        indicator: Indicator,
        components: Mapping[str, ComponentStatus] | None = None,
        incidents: Iterable[Incident] | None = None,
    ) -> None:
        """Change what the status page says; `incidents` replaces those that are open."""
        self._status.update(indicator, components or {}, self._clock(), incidents)

    async def call(self, from_: str, to: str, caller: Caller | None = None) -> CallResult:
        """Call one of our numbers, and see how it goes. TwilioEmulatorError for a number that is not ours."""
        return await self._switch.begin(self._switch.incoming(from_, self._number(to), caller or Caller()))

    async def text(
        self, from_: str, to: str, body: str, *, media: Iterable[str] = (), service: str | None = None
    ) -> TextResult:
        """Text one of our numbers. `media` are addresses of pictures, `service` the sid of a messaging service."""
        return await self._texts.receive(from_, self._number(to), body, tuple(media), service)

    async def run(
        self, rate_per_s: float, until: Awaitable[object], mix: CallMix | None = None, totals: Totals | None = None
    ) -> Totals:
        """Place calls at random moments, on average `rate_per_s` a real second, until `until` is done.

        The pace does not wait for answers; a call that would be one too many at once is left out. Calls under way go
        on afterwards, and still count in `totals`: `settled` waits for them.
        """
        if rate_per_s <= 0 or not self._state.by_phone:
            discard(until)
            raise TwilioEmulatorError(f"calls need a rate above 0 (not {rate_per_s}) and a number to call")
        mix, counted = mix or CallMix(), totals or Totals()
        await paced(rate_per_s, until, lambda: self._place(mix, counted), self._rng)
        return counted

    async def post_json(self, url: str, document: bytes, account: str | None = None) -> Answer:
        """POST a signed JSON body, as Twilio's newer products do: the address carries the body's `bodySHA256`."""
        known = self._state.account(account or self.account_sid)
        return await self._poster.ask(Ask(url, {}, known, self._state.new_sid("IT"), json=document))

    def raise_alert(self, code: int, resource_sid: str = "", account: str | None = None) -> Alert:
        """Put an alert into the Debugger by hand."""
        return self._exchange.debugger.alert(account or self.account_sid, code, resource_sid)

    async def settled(self) -> None:
        """Wait until all calls, messages and callbacks that were begun are through."""
        await self._switch.settled()
        await self._texts.settled()
        await self._callbacks.settled()

    @property
    def results(self) -> tuple[CallResult, ...]:
        """The latest incoming calls that are over, the oldest first."""
        return tuple(self._switch.results)

    @property
    def calls_under_way(self) -> int:
        return self._switch.under_way

    def shares(self, since: float = 0.0, until: float = float("inf")) -> Shares:
        """How the kept calls that began in [since, until) (Unix times) ended; calls from our own numbers are tests."""
        outside = (result for result in self._switch.results if result.from_ not in self._state.by_phone)
        return shares(outside, since, until)

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """All alerts that are kept, of every account, the newest first."""
        return tuple(self._state.alerts.newest_first())

    @property
    def messages(self) -> tuple[Message, ...]:
        """All messages that are kept, in and out, the newest first."""
        return tuple(self._state.messages.newest_first())

    def number(self, phone: str) -> Number:
        """One of our numbers as it is set up now. TwilioEmulatorError for another."""
        return self._number(phone)

    def call_record(self, sid: str) -> CallRecord | None:
        return self._state.calls.get(sid)

    def recording(self, sid: str) -> Recording | None:
        return self._state.recordings.get(sid)

    def blocks(self, number: str, person: str) -> bool:
        """Whether a person said stop to this number of ours."""
        return (number, person) in self._state.blocked

    def _number(self, phone: str) -> Number:
        found = self._state.by_phone.get(phone)
        if found is None:
            raise TwilioEmulatorError(f"{phone} is no number of ours: use `add_number` first")
        return found

    def _place(self, mix: CallMix, totals: Totals) -> None:
        from_, to, caller = mix.draw(self._rng, tuple(self._state.by_phone))
        if self._switch.full:
            totals.left_out += 1
            return
        totals.placed += 1
        task = self._switch.begin(self._switch.incoming(from_, self._number(to), caller))
        task.add_done_callback(lambda done: _count(done, totals))

    async def _noise(self) -> None:
        """Alerts that come by themselves, as long as a fault wants them."""
        while True:
            await asyncio.sleep(0.02)
            for rule in self.faults.with_effect("alerts"):
                if self._rng.random() < 0.02 / rule.seconds:
                    self.raise_alert(rule.error_code or 11200, self._state.new_sid("CA"))


def _count(done: asyncio.Task[CallResult], totals: Totals) -> None:
    if not done.cancelled() and done.exception() is None:
        totals.ended[done.result().ended_as] += 1


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
