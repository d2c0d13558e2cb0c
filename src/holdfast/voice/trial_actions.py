"""Actions that try calls, see that nothing is left of the trouble, and move numbers to our present public URL."""

from dataclasses import asdict
from datetime import timedelta
from statistics import median
from typing import Any

from holdfast.db.pool import Pool
from holdfast.durations import lasted
from holdfast.levers.actions import last_turns
from holdfast.levers.model import VOICE
from holdfast.merchants import number_store
from holdfast.merchants.numbers import Number
from holdfast.runbooks import store as steps
from holdfast.runbooks.actions import (
    REGISTRY,
    Done,
    Failed,
    Mitigation,
    NotApplicable,
    Outcome,
    Run,
    Waiting,
    action,
)
from holdfast.signals.shares import bounds
from holdfast.twilio import store as accounts_store
from holdfast.twilio.client import TwilioClient
from holdfast.twilio.model import TwilioApiError, TwilioError
from holdfast.voice import health_store, impact_store, repoint_store, testing_store
from holdfast.voice.addresses import behind
from holdfast.voice.isolation import isolation
from holdfast.voice.real_calls import RealCaller
from holdfast.voice.repoint_store import Repoint
from holdfast.voice.repointing import Repointer, RepointError, Survey
from holdfast.voice.testing import CannotTestError, Flow, Walker

USUAL = timedelta(days=7)
"""What is usual is what was so for so long before the trouble."""
ASIDE = timedelta(hours=1)
"""Just before the trouble was noticed it may have been there already."""
TOLERATED = 0.02
"""Share of calls by which it may be worse than usual: that is not to be told from chance."""
AGAIN = timedelta(seconds=20)
LATELY = timedelta(minutes=15)
"""Where a call flow cannot be tested, the calls of so long say whether calls are answered."""
_SHOWN = 20
_USUAL_SHARE = "usual_share"


# Trying


@action("voice.test_calls", patience=timedelta(minutes=5))
async def try_calls(run: Run, *, count: int = 5, real: int = 1) -> Outcome:
    """Test the call flows of numbers that were hit, through our front door; really call `real` of them if set up."""
    numbers = await _sample(run, count)
    if not numbers:
        return NotApplicable("no number has a call plan")
    try:
        flows = await _walked(run, numbers)
    except CannotTestError as error:
        return Failed(f"call flows cannot be tested: {error}")
    if flows[0].unreachable:
        return await _not_from_here(run, flows[0], numbers[:real])
    evidence: dict[str, Any] = {"flows": [_flow(one) for one in flows]}
    wrong = [one for one in flows if one.problem]
    if wrong:
        more = f" ({len(wrong)} of {len(flows)} are wrong)" if len(wrong) > 1 else ""
        return Failed(f"a call to {wrong[0].phone} goes wrong at {wrong[0].problem}{more}", evidence)
    said = f"{len(flows)} call flows are right: {flows[0].phone} {flows[0].said}"
    if run.settings.twilio_test_number is None:
        return Done(f"{said}. Nobody was really called: HOLDFAST_TWILIO_TEST_NUMBER is not set", evidence)
    return await _also_really(run, run.settings.twilio_test_number, numbers[:real], said, evidence)


async def _not_from_here(run: Run, tried: Flow, numbers: list[Number]) -> Outcome:
    """Our door cannot be reached from this host, which says nothing of Twilio: a real call does, or those that came."""
    said = f"call flows cannot be tested from here ({tried.steps[0].problem})"
    evidence: dict[str, Any] = {"flows": [_flow(tried)]}
    if run.settings.twilio_test_number is not None and numbers:
        return await _also_really(run, run.settings.twilio_test_number, numbers, said, evidence)
    calls = await health_store.calls(run.pool, run.now - LATELY, run.now)
    evidence |= {"calls": calls.ended, "calls_failed": calls.failed}
    seen = f"of {calls.ended} calls that ended in the last {lasted(LATELY)}, {calls.failed} failed"
    if calls.ended and calls.failed * 2 < calls.ended:
        return NotApplicable(f"{said}; {seen}", evidence)
    return Failed(f"{said}, and real calls do not show that it answers: {seen}", evidence)


async def _also_really(run: Run, calling: str, numbers: list[Number], said: str, evidence: dict[str, Any]) -> Outcome:
    try:
        calls = await _really(run, calling, numbers)
    except (TwilioApiError, TwilioError, CannotTestError) as error:
        return Failed(f"no real call could be placed: {error}", evidence)
    evidence["real"] = calls
    failed = [one for one in calls if one["problem"]]
    if failed:
        return Failed(f"the real call to {failed[0]['phone']}: {failed[0]['problem']}", evidence)
    real_said = ", ".join(f"{one['phone']}: {one['outcome'] or one['status']}" for one in calls)
    return Done(f"{said}. Really called: {real_said or 'nobody'}", evidence)


async def _sample(run: Run, count: int) -> list[Number]:
    """Numbers that were hit, those hit most first; else those that are called most."""
    phones = await testing_store.hit_numbers(run.pool, run.incident.since, run.now, count)
    if len(phones) < count:
        phones += await testing_store.called_numbers(run.pool, run.now - USUAL, count - len(phones), phones)
    known = await number_store.by_phones(run.pool, phones)
    return [known[phone] for phone in phones if phone in known and phone != run.settings.twilio_test_number]


async def _walked(run: Run, numbers: list[Number]) -> list[Flow]:
    """At our public URL; where that cannot be reached from here, at the door itself; never none.

    Where neither can be reached, there is one flow that says so. Raises CannotTestError.
    """
    accounts = {one.sid: one for one in await accounts_store.accounts(run.pool)}
    public = await _all_flows(run, numbers, accounts, None)
    local = f"http://{run.settings.listen}"
    if not public[0].unreachable or local == run.settings.public:
        return public
    here = await _all_flows(run, numbers, accounts, local)
    return public if here[0].unreachable else here


async def _all_flows(run: Run, numbers: list[Number], accounts: dict[str, Any], at: str | None) -> list[Flow]:
    """None after the first where that one cannot be reached: for each, seconds would be waited."""
    async with Walker(run.settings, accounts, at) as walker:
        first = await walker.call(numbers[0])
        return [first] if first.unreachable else [first, *[await walker.call(number) for number in numbers[1:]]]


def _flow(one: Flow) -> dict[str, Any]:
    shown = {"number": one.phone, "at": one.base, "said": one.said, "steps": len(one.steps)}
    return shown | ({"problem": one.problem} if one.problem else {})


async def _really(run: Run, calling: str, numbers: list[Number]) -> list[dict[str, Any]]:
    """Raises TwilioApiError, TwilioError, CannotTestError."""
    caller = await number_store.find(run.pool, calling)
    if caller is None:
        raise CannotTestError(f"HOLDFAST_TWILIO_TEST_NUMBER is {calling}, which is none of our numbers")
    async with TwilioClient.of(run.settings, await accounts_store.accounts(run.pool)) as twilio:
        placing = RealCaller(run.pool, twilio)
        return [asdict(await placing.call(number, caller)) for number in numbers]


# What is left of it


@action("voice.residual")
async def residual(run: Run, *, window: timedelta = timedelta(minutes=10)) -> Outcome:
    """Wait until, after what was brought back last, no more calls go wrong than usually do, and nothing is ill."""
    last = max((one.at for one in await last_turns(run, *VOICE)), default=run.incident.since)
    since = max(last, run.now - window)
    watched = run.now - since
    found = await isolation(run.pool, run.now, window=max(watched, timedelta(seconds=1)))
    calls, wrong = await impact_store.unheard(run.pool, since, run.now)
    usual = await _usual_share(run)
    evidence = {
        "calls": calls,
        "wrong": wrong,
        _USUAL_SHARE: usual,
        "watched_s": round(watched.total_seconds()),
        "extent": found.extent,
    }
    if found.extent in ("all", "regions", "numbers", "targets"):
        return Waiting(f"not well yet: {found.said}", AGAIN, evidence)
    if bounds(wrong, calls)[0] > usual + TOLERATED:
        return Waiting(f"{wrong} of {calls} calls went wrong, more than the usual {usual:.1%}", AGAIN, evidence)
    if watched < window:
        return Waiting(f"well for {lasted(watched)} of {lasted(window)}", AGAIN, evidence)
    return Done(f"of {calls} calls in {lasted(window)} {wrong} went wrong; {usual:.1%} is usual", evidence)


async def _usual_share(run: Run) -> float:
    """Of the calls of a usual day before the trouble, those that went wrong; read once, and kept with the step.

    The median of days: one with an outage of its own does not count as usual.
    """
    step = await steps.step(run.pool, run.incident.id, run.step)
    told = step.evidence.get(_USUAL_SHARE) if step is not None else None
    if isinstance(told, int | float):
        return float(told)
    until = run.incident.since - ASIDE
    async with run.pool.acquire() as connection, connection.transaction():
        await impact_store.be_patient(connection)
        days = await impact_store.unheard_by_day(connection, until - USUAL, until)
    return round(median(wrong / calls for calls, wrong in days), 4) if days else 0.0


# Our own fault: the public URL has moved


@action("voice.repoint", expires=timedelta(weeks=4), listed=True, patience=timedelta(minutes=30))
async def repoint(run: Run, *, batch: int = 20) -> Outcome:
    """Let Twilio call our present public URL for numbers that still have a former one; old addresses are kept."""
    mine = _mover(run.incident.id)
    try:
        async with await _twilio(run) as twilio:
            repointer = _repointer(run, twilio)
            before = await repoint_store.by_actor(run.pool, mine)
            if before is not None and before.state == "under way":
                return _moved(await repointer.advance(before.id, now=run.now, batch=batch))
            survey = await _survey(run, repointer)
            if not survey.moves:
                return NotApplicable(f"all numbers call {survey.base} already", _shown(survey))
            number = await repointer.begin(survey, actor=mine, now=run.now)
            return _moved(await repointer.advance(number, now=run.now, batch=batch))
    except (RepointError, TwilioApiError, TwilioError) as error:
        return Failed(str(error))


@repoint.offer
async def _(run: Run) -> Outcome | None:
    """Nobody is asked where all numbers call the present public URL."""
    try:
        async with await _twilio(run) as twilio:
            survey = await _survey(run, _repointer(run, twilio))
    except TwilioError as error:
        return NotApplicable(str(error))
    except (RepointError, TwilioApiError) as error:
        if run.incident.calm_at is None:
            return Waiting(f"which addresses numbers have is not known: {error}", timedelta(minutes=1))
        return NotApplicable(f"which addresses numbers have is not known: {error}")
    return None if survey.moves else NotApplicable(f"all numbers call {survey.base} already", _shown(survey))


@repoint.draft
async def _(run: Run) -> str:
    async with await _twilio(run) as twilio:
        survey = await _survey(run, _repointer(run, twilio))
    first = "\n".join(
        f"- {row.phone}: {row.before.get('voice_url')} → {row.after.get('voice_url')}" for row in survey.moves[:_SHOWN]
    )
    return f"{len(survey.moves)} numbers come to {survey.base}; {len(survey.there)} are there already.\n{first}"


@repoint.verify
async def _(run: Run) -> bool:
    found = await repoint_store.by_actor(run.pool, _mover(run.incident.id))
    return found is not None and found.state == "done"


@repoint.undo
async def _(run: Run) -> str:
    found = await repoint_store.by_actor(run.pool, _mover(run.incident.id))
    if found is None or found.state == "undone":
        return "nothing was moved"
    async with await _twilio(run) as twilio:
        undone = await _repointer(run, twilio).undo(found.id, now=run.now)
    return f"{undone.undone} of {undone.numbers} numbers have their former addresses, or were left to who changed them"


@REGISTRY.ledger
async def moves_under_way(pool: Pool, incident_id: int) -> list[Mitigation]:
    """The incident's move of numbers, as long as some are neither moved, left nor moved back: then it is as it is."""
    found = await repoint_store.by_actor(pool, _mover(incident_id))
    if found is None or found.state != "under way":
        return []
    what = f"{found.done} of {found.numbers} numbers are moved to {found.base}, the others are not"
    return [Mitigation(what, found.actor, found.began_at, None, "holdfast voice repoint undo")]


def _mover(incident_id: int) -> str:
    """Who moves numbers for an incident."""
    return f"incident {incident_id}"


async def _twilio(run: Run) -> TwilioClient:
    """Raises TwilioError."""
    return TwilioClient.of(run.settings, await accounts_store.accounts(run.pool))


def _repointer(run: Run, twilio: TwilioClient) -> Repointer:
    return Repointer(run.pool, twilio, (run.settings.public, *run.settings.former_public_urls))


async def _survey(run: Run, repointer: Repointer) -> Survey:
    """Only of numbers that come to us already, under a former URL: where others go is their merchants' choice."""
    survey = await repointer.survey(run.settings.public, await number_store.numbers(run.pool))
    ours = (run.settings.public, *run.settings.former_public_urls, *await repoint_store.bases(run.pool))
    moves = tuple(
        row
        for row in survey.moves
        if "voice_url" in row.after and behind(row.before.get("voice_url", ""), ours) is not None
    )
    return Survey(survey.base, moves, survey.there, survey.cannot, {})


def _shown(survey: Survey) -> dict[str, Any]:
    return {"base": survey.base, "there": len(survey.there), "cannot": dict(list(survey.cannot.items())[:_SHOWN])}


def _moved(found: Repoint) -> Outcome:
    evidence = {
        "move": found.id,
        "numbers": found.numbers,
        "moved": found.done,
        "left": found.left,
        "failed": found.failed,
    }
    status = "see `holdfast voice repoint status`"
    if found.state != "done":
        said = f"{found.failed} of {found.numbers} numbers could not be moved: {status}"
        return Failed(said, evidence)
    left = f"; {found.left} were left, since they cannot be moved any more: {status}" if found.left else ""
    return Done(f"{found.done} numbers call {found.base}{left}", evidence)
