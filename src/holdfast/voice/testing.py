"""Tests a call flow: walks what our front door tells a call, as Twilio would, with signed requests.

Nobody is rung and nothing is recorded: where TwiML rings a target or takes a message, it is told what is chosen to
have happened. The addresses say `test=1`, which the signature covers: such calls count nowhere.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urljoin, urlsplit, urlunsplit

import aiohttp
import msgspec
from twilio.request_validator import RequestValidator
from yarl import URL

from holdfast.config import Settings
from holdfast.merchants.numbers import Number
from holdfast.twilio.model import Account
from holdfast.voice.addresses import INCOMING, STATUS
from holdfast.voice.model import VoiceError
from holdfast.voice.routing import NOT_IN_SERVICE
from holdfast.voice.twiml import SORRY
from holdfast.voice.twiml_reading import TwimlError, Verb, read

Answering = Literal["answered", "no-answer", "busy", "failed"]
"""What is chosen to happen to each target that is rung."""
Ends = Literal["person", "voicemail", "announcement", "nothing"]
CALLER = "+15005550006"
"""A number that Twilio keeps for tests. Source: https://www.twilio.com/docs/iam/test-credentials"""
PATIENCE = 15.0
"""Seconds after which Twilio gives up. Source: https://www.twilio.com/docs/voice/twiml"""
CONNECTS = 5.0
"""Seconds within which a connection stands: where packets are dropped, nobody says that nothing is reached."""
MOST_STEPS = 30
MESSAGE_SECONDS = 5
Seen = Callable[["Step"], None]


class CannotTestError(VoiceError):
    """The call flow cannot be tested; the message says why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One request to our door. `told`: what we said had happened; `verbs`: what the call is told to do.

    `unreachable`: not even a connection stood.
    """

    door: str
    told: str
    status: int | None
    seconds: float
    verbs: tuple[Verb, ...] = ()
    problem: str = ""
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class _Answer:
    """What our door answered, or why there is no answer: `problem`, and whether not even a connection stood."""

    seconds: float
    status: int | None = None
    body: bytes = b""
    problem: str = ""
    unreachable: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """A whole call. `ends`: with whom or what; `rung`: the targets, in order. `problem`: what is wrong, if anything."""

    phone: str
    base: str
    steps: tuple[Step, ...]
    ends: Ends
    rung: tuple[str, ...]

    @property
    def problem(self) -> str:
        for number, step in enumerate(self.steps, 1):
            if step.problem:
                return f"step {number}, {step.door}: {step.problem}"
        return ""

    @property
    def unreachable(self) -> bool:
        """Whether the door cannot be reached from here, which says nothing of whether Twilio reaches it."""
        return bool(self.steps) and self.steps[0].unreachable

    @property
    def said(self) -> str:
        """In words: `rings +15550100, then a person answers`."""
        rung = f"rings {', then '.join(self.rung)}; " if self.rung else ""
        return rung + _ENDS[self.ends]


_ENDS = {
    "person": "a person answers",
    "voicemail": "a message is taken",
    "announcement": "an announcement is heard",
    "nothing": "the caller hears nothing",
}


@dataclass(slots=True)
class _Course:
    rung: list[str] = field(default_factory=list)
    heard: bool = False
    person: bool = False
    message: bool = False


class Walker:
    """Calls our own numbers at our front door. Use as `async with`.

    `at`: the base address that is called; what is signed is always the public one, as behind a proxy.
    """

    def __init__(self, settings: Settings, accounts: dict[str, Account], at: str | None = None) -> None:
        self._public = settings.public.rstrip("/")
        self.base = (at or self._public).rstrip("/")
        self._accounts = accounts
        token = settings.twilio_auth_token
        self._main = settings.twilio_account_sid, token.get_secret_value() if token is not None else None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE, sock_connect=CONNECTS))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(
        self, number: Number, *, caller: str = CALLER, answering: Answering = "answered", seen: Seen | None = None
    ) -> Flow:
        """Walk a call to one of our numbers from its beginning to its end. Raises CannotTestError."""
        account, token = self._credentials(number)
        walk = _Walk(self, RequestValidator(token), account, number.phone, caller, answering, seen or (lambda _: None))
        return await walk.whole()

    def _credentials(self, number: Number) -> tuple[str, str]:
        if number.account is not None and number.account != self._main[0]:
            found = self._accounts.get(number.account)
            if found is None:
                raise CannotTestError(
                    f"{number.phone} is in the Twilio account {number.account}, which is not known here"
                )
            return found.sid, found.auth_token
        sid, token = self._main
        if sid is None or token is None:
            raise CannotTestError(
                "set HOLDFAST_TWILIO_ACCOUNT_SID and HOLDFAST_TWILIO_AUTH_TOKEN: requests are signed by it"
            )
        return sid, token

    async def ask(self, target: str, params: dict[str, str], signing: RequestValidator) -> _Answer:
        """POST as Twilio does."""
        assert self._session is not None, "use Walker as `async with`"
        signature = signing.compute_signature(self._public + target, params)
        began = time.perf_counter()
        try:
            async with self._session.post(
                URL(self.base + target, encoded=True),
                data=params,
                headers={"X-Twilio-Signature": signature},
                allow_redirects=False,
            ) as answer:
                body = await answer.read()
                return _Answer(time.perf_counter() - began, answer.status, body)
        except aiohttp.ClientSSLError as error:
            unreachable, problem = False, f"TLS with {self.base} failed: {type(error).__name__}"
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            unreachable, problem = True, f"{self.base} cannot be reached: {type(error).__name__}"
        except TimeoutError:
            unreachable, problem = False, f"no answer within {PATIENCE:g} s: Twilio would give up"
        except (aiohttp.ClientError, OSError) as error:
            unreachable, problem = False, f"{self.base} gives no answer: {type(error).__name__}"
        return _Answer(time.perf_counter() - began, problem=problem, unreachable=unreachable)


class _Walk:
    """One call."""

    def __init__(  # noqa: PLR0917 - what one call is
        self,
        walker: Walker,
        signing: RequestValidator,
        account: str,
        phone: str,
        caller: str,
        answering: Answering,
        seen: Seen,
    ) -> None:
        self._tester, self._signing, self._answering, self._seen = walker, signing, answering, seen
        self._phone = phone
        self._call = {
            "CallSid": f"CA{secrets.token_hex(16)}",
            "AccountSid": account,
            "From": caller,
            "To": phone,
            "Direction": "inbound",
            "ApiVersion": "2010-04-01",
        }
        self._steps: list[Step] = []
        self._course = _Course()

    async def whole(self) -> Flow:
        began = time.monotonic()
        target: str | None = INCOMING
        told, more = "a call comes in", {"CallStatus": "ringing"}
        while target is not None:
            if len(self._steps) >= MOST_STEPS:
                self._spoil(f"the call is sent round in circles: {MOST_STEPS} steps and no end")
                break
            step = await self._ask(target, told, more)
            if step.problem:
                break
            target, told, more = self._follow(step)
        if not self._steps[0].unreachable:
            await self._ended(max(1, round(time.monotonic() - began)))
        course = self._course
        ends: Ends = (
            "person"
            if course.person
            else "voicemail"
            if course.message
            else "announcement"
            if course.heard
            else "nothing"
        )
        if ends == "nothing" and not any(step.problem for step in self._steps):
            self._spoil("the caller hears nothing, and nobody is rung")
        return Flow(self._phone, self._tester.base, tuple(self._steps), ends, tuple(course.rung))

    async def _ask(self, target: str, told: str, more: dict[str, str]) -> Step:
        asked = _as_test(target)
        answer = await self._tester.ask(asked, self._call | more, self._signing)
        verbs: tuple[Verb, ...] = ()
        problem = answer.problem
        if not problem and answer.status != 200:
            problem = f"it answered {answer.status}{_detail(answer.body)}"
        elif not problem:
            try:
                verbs = tuple(read(answer.body))
            except TwimlError as error:
                problem = f"its TwiML cannot be followed: {error}"
            problem = problem or _wrong(verbs)
        door = urlsplit(target).path
        step = Step(door, told, answer.status, answer.seconds, verbs, problem, answer.unreachable)
        self._add(step)
        return step

    def _follow(self, step: Step) -> tuple[str | None, str, dict[str, str]]:
        """Where it goes on, what is said to have happened, and the parameters that say so."""
        for verb in step.verbs:
            match verb.name:
                case "Say" | "Play":
                    self._course.heard = True
                case "Dial":
                    self._course.rung.extend(verb.targets)
                    action = verb.attributes.get("action")
                    if action is None:
                        continue
                    self._course.person = self._answering == "answered"
                    return _resolved(step.door, action), f"{verb.targets[-1]}: {self._answering}", self._dialed()
                case "Record":
                    self._course.message = True
                    action = verb.attributes.get("action")
                    if action is None:
                        continue
                    return _resolved(step.door, action), "the caller leaves a message", _recorded()
                case "Redirect":
                    return _resolved(step.door, verb.text), "sent on", {"CallStatus": "in-progress"}
                case "Hangup" | "Reject":
                    return None, "", {}
        return None, "", {}

    def _dialed(self) -> dict[str, str]:
        was_answered = self._answering == "answered"
        told = {
            "CallStatus": "in-progress",
            "DialCallStatus": "completed" if was_answered else self._answering,
            "DialCallSid": f"CA{secrets.token_hex(16)}",
        }
        return told | ({"DialCallDuration": "30"} if was_answered else {})

    async def _ended(self, seconds: int) -> None:
        """Tell the door that the call is over, so that it does not seem to go on for ever."""
        params = self._call | {"CallStatus": "completed", "CallDuration": str(seconds), "SequenceNumber": "0"}
        answer = await self._tester.ask(_as_test(STATUS), params, self._signing)
        problem = answer.problem
        if not problem and answer.status is not None and answer.status >= 300:
            problem = f"it answered {answer.status}{_detail(answer.body)}"
        if not any(step.problem for step in self._steps):  # else the same is wrong here again
            self._add(Step(STATUS, "the call is over", answer.status, answer.seconds, (), problem))

    def _spoil(self, problem: str) -> None:
        self._add(Step(INCOMING, "", None, 0.0, (), problem))

    def _add(self, step: Step) -> None:
        self._steps.append(step)
        self._seen(step)


def _recorded() -> dict[str, str]:
    sid = f"RE{secrets.token_hex(16)}"
    return {
        "CallStatus": "in-progress",
        "RecordingSid": sid,
        "RecordingUrl": f"https://api.twilio.com/{sid}",
        "RecordingDuration": str(MESSAGE_SECONDS),
        "Digits": "hangup",
    }


def _resolved(door: str, action: str) -> str:
    """Path and query of an address that is relative to the one that was called, or whole."""
    parts = urlsplit(urljoin(f"http://ours{door}", action))
    return urlunsplit(("", "", parts.path, parts.query, ""))


def _as_test(target: str) -> str:
    """The address as it stands, byte for byte as Twilio would call it, with our mark."""
    return f"{target}{'&' if '?' in target else '?'}test=1"


def _wrong(verbs: tuple[Verb, ...]) -> str:
    said = [verb.text for verb in verbs if verb.name == "Say"]
    if SORRY in said:
        return "only the last resort answered: something of ours fails; see its log"
    if NOT_IN_SERVICE in said:
        return "the door does not know the number"
    if any(verb.name == "Dial" and not any(verb.targets) for verb in verbs):
        return "it rings nobody: a target is empty"
    return ""


def _detail(body: bytes) -> str:
    """What a refusal says (RFC 9457)."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    found = document.get("detail") if isinstance(document, dict) else None
    return f": {found}" if isinstance(found, str) else ""
