"""Actions on calls: what is wrong with them, round what they go, and who takes messages."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from holdfast.durations import lasted
from holdfast.levers import store as levers
from holdfast.levers.actions import clear, last_turns, of_incident, turn
from holdfast.levers.model import AVOID, CALLER_ID_POOL, VOICEMAIL_ONLY, Change, Lever, LeverError, Target
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.runbooks.actions import Done, Failed, NotApplicable, Outcome, Run, Waiting, action
from holdfast.voice import debugger_store, impact_store
from holdfast.voice.debugger import by_whose, meaning
from holdfast.voice.health import WINDOW, dated, health
from holdfast.voice.isolation import Isolation, isolation
from holdfast.voice.model import HealthKind, LineHealth, VoiceError
from holdfast.voice.reach import reach
from holdfast.voice.redistributing import WHOLE, Detour, Proposal, last_moved, propose

LASTS = timedelta(hours=4)
AGAIN = timedelta(seconds=30)
"""How soon it is looked again whether there is something to turn, while the trouble lasts."""
SETTLE = timedelta(minutes=1)
"""How long it is watched whether leading calls round what fails is enough, before anybody is asked for more."""
MOST = 50
"""Targets, regions and numbers gone round at a time: more of them is no detour any more."""
BEFORE = timedelta(minutes=15)
"""What the Debugger said so long before the trouble began may have been of it."""
_SHOWN = 20
_ALERTS_READ = 2000


# What is wrong


@action("voice.debugger")
async def debugger(run: Run) -> Outcome:
    """Read Twilio's Debugger: which errors, what they mean, whose trouble they are, and which numbers they hit."""
    since = run.incident.since - BEFORE
    codes = await debugger_store.by_code(run.pool, since, run.now)
    if not codes:
        return Done("Twilio's Debugger has no alert about us since the trouble began")
    shown = []
    for code in codes[:_SHOWN]:
        hit = await debugger_store.alerts(run.pool, since, run.now, code=code.code, limit=_ALERTS_READ)
        hit = [one for one in hit if one.is_foreign == code.is_foreign]
        meant = meaning(code.code, is_foreign=code.is_foreign)
        shown.append(
            {
                "code": code.code,
                "alerts": code.count,
                "means": meant.said,
                "whose": meant.whose,
                "last": code.last_at,
                "regions": sorted({one.region for one in hit if one.region}),
                "numbers": sorted({one.phone for one in hit if one.phone})[:_SHOWN],
            }
        )
    whose = by_whose((one.code, one.is_foreign, one.count) for one in codes)
    worst = ", ".join(f"{one['alerts']} x {one['code']} ({one['means']})" for one in shown[:3])
    blame = ", ".join(f"{name} {count}" for name, count in sorted(whose.items(), key=lambda item: -item[1]))
    return Done(f"{sum(one.count for one in codes)} alerts: {worst}. By whose trouble: {blame}", {"codes": shown})


@action("voice.isolation")
async def isolated(run: Run, *, window: timedelta = WINDOW) -> Outcome:
    """Find out whether all calls fail, or those of some regions, numbers or targets, and whose trouble it is."""
    found = await isolation(run.pool, run.now, window=window)
    ill = [one for one in await health(run.pool, run.now, window=window) if one.verdict == "ill"]
    lines = await dated(run.pool, ill[:_SHOWN], run.now)
    return Done(
        found.said,
        {
            "extent": found.extent,
            "whose": found.whose,
            "legs": found.tried,
            "legs_failed": found.failed,
            "calls": found.calls,
            "calls_unheard": found.unheard,
            "ill": [_figures(one) for one in lines],
        },
    )


def _figures(one: LineHealth) -> dict[str, Any]:
    return {
        one.kind: one.key,
        "tried": one.tried,
        "failed": one.failed,
        "at_least": round(one.low, 3),
        "since": one.since,
    }


@action("voice.affected")
async def affected(run: Run) -> Outcome:
    """Find the merchants whose calls failed, were missed, or went to voicemail because of the trouble."""
    rows = await impact_store.merchants(run.pool, run.incident.since, run.now)
    if not rows:
        return Done("no merchant's calls failed, were missed or were sent to voicemail so far", {"merchants": []})
    names = await merchants.keys(run.pool, [row["merchant_id"] for row in rows])
    counted = ("calls", "answered", "to_voicemail", "missed", "failed", "messages")
    shown = [
        {"merchant": names.get(row["merchant_id"], str(row["merchant_id"])), **{name: row[name] for name in counted}}
        for row in rows
    ]
    total = {name: sum(int(row[name]) for row in rows) for name in counted}
    first = ", ".join(str(one["merchant"]) for one in shown[:5]) + (", …" if len(shown) > 5 else "")
    whom = "1 merchant" if len(rows) == 1 else f"{len(rows)} merchants"
    said = (
        f"{whom} ({first}): {total['failed']} calls failed, {total['missed']} missed, "
        f"{total['to_voicemail']} sent to voicemail, where {total['messages']} left a message"
    )
    return Done(said, {"affected": len(rows), **total, "merchants": shown[:MOST]})


# Round what fails


@action("voice.redistribute", expires=LASTS, listed=True, patience=timedelta(minutes=2))
async def redistribute(run: Run, *, most: int = MOST, lasts: timedelta = LASTS) -> Outcome:
    """Let calls go round targets, regions and numbers that fail, to those that work; who has nobody else rings on."""
    reached = await isolation(run.pool, run.now)
    if reached.whose == "ours":
        return NotApplicable(f"going round would not help: {reached.said}")
    found = await propose(run.pool, await _changes(run), run.now)
    if not found.chosen:
        return _nothing_to_turn(found)
    shown: list[dict[str, Any]] = []
    for one in found.chosen[:most]:
        try:
            await turn(run, AVOID, one.target, WHOLE, lasts)
        except LeverError as error:
            return Failed(f"{one.target} could not be gone round: {error}", {"turned": shown})
        shown.append(await _detour(run, one))
    more = len(found.chosen) - len(shown)
    rest = f"; {more} more are ill, which is too many to go round at once" if more else ""
    said = f"calls go round {', '.join(str(one.target) for one in found.chosen[:5])}"
    said += f" and {len(shown) - 5} more" if len(shown) > 5 else ""
    alone = sum(one.alone for one in found.chosen[:most] if one.health.kind != "number")
    if alone:
        rest += f"; {alone} number{'s' * (alone != 1)} that ring them have nobody else, and ring them all the same"
    return Done(f"{said}: {found.chosen[0].why}{rest}", {"turned": shown, "left": dict(found.refused)})


@redistribute.verify
async def _(run: Run) -> bool:
    return bool(await _turned(run, AVOID))


@redistribute.undo
async def _(run: Run) -> str:
    return await _cleared(run, AVOID, "nothing is gone round any more")


async def _changes(run: Run) -> Sequence[Change]:
    return await last_turns(run, AVOID)


def _nothing_to_turn(found: Proposal) -> Outcome:
    evidence = {"left": dict(found.refused), "gone round": [str(one.target) for one in found.standing]}
    if found.refused:
        target, why = next(iter(found.refused.items()))
        more = f"; {len(found.refused) - 1} more" if len(found.refused) > 1 else ""
        return NotApplicable(f"{target} is ill, and {why}{more}", evidence)
    if found.standing:
        return NotApplicable(f"calls go round all that is ill already ({len(found.standing)})", evidence)
    return NotApplicable("no target, region or number fails so often that it is more than bad luck")


async def _detour(run: Run, one: Detour) -> dict[str, Any]:
    touched = await reach(run.pool, AVOID.name, one.target, now=run.now)
    return {"avoid": str(one.target), **_figures(one.health), "touches": str(touched), "nobody else": one.alone}


# Messages instead


@action("voice.voicemail_only", expires=LASTS, listed=True)
async def voicemail_only(
    run: Run, *, scope: str = "auto", settle: timedelta = SETTLE, lasts: timedelta = LASTS
) -> Outcome:
    """Take messages instead of ringing: of all calls, `region:US`, `merchant:KEY` or `number:+1…`, or of what fails."""
    targets = await _scope(run, scope, timedelta())
    if not isinstance(targets, list):
        return targets
    return await _turn_all(run, VOICEMAIL_ONLY, targets, lasts, "callers are asked for a message")


@voicemail_only.offer
async def _(run: Run, *, scope: str = "auto", settle: timedelta = SETTLE) -> Outcome | None:
    """Nobody is asked while calls are answered, or were led round what fails so lately that nobody knows yet."""
    targets = await _scope(run, scope, settle)
    return None if isinstance(targets, list) else targets


@voicemail_only.draft
async def _(run: Run, *, scope: str = "auto", lasts: timedelta = LASTS) -> str:
    targets = await _scope(run, scope, timedelta())
    return await _drafted(run, VOICEMAIL_ONLY, targets, lasts, "Callers are asked for a message, and nobody is rung")


@voicemail_only.verify
async def _(run: Run) -> bool:
    return bool(await _turned(run, VOICEMAIL_ONLY))


@voicemail_only.undo
async def _(run: Run) -> str:
    return await _cleared(run, VOICEMAIL_ONLY, "targets are rung again")


async def _scope(run: Run, scope: str, settle: timedelta) -> list[Target] | Outcome:
    """What to turn it for, or why nothing is to be turned."""
    if scope != "auto":
        return await _chosen(run, VOICEMAIL_ONLY, scope)
    last = max(last_moved(await _changes(run)).values(), default=None)
    if last is not None and run.now - last < settle:
        return _not_yet(run, "calls were just led round what fails: it is watched whether that is enough", {})
    window = WINDOW if last is None else max(timedelta(seconds=1), min(WINDOW, run.now - last))
    chosen = await _failing(run, await isolation(run.pool, run.now, window=window))
    if not isinstance(chosen, list):
        return chosen
    left = [target for target in chosen if await _is_off(run, VOICEMAIL_ONLY, target)]
    return left or NotApplicable("callers are asked for a message already")


async def _failing(run: Run, found: Isolation) -> list[Target] | Outcome:
    evidence = {"extent": found.extent, "whose": found.whose}
    if found.whose == "ours":
        return NotApplicable(f"Twilio cannot use what we answer, messages neither: {found.said}", evidence)
    match found.extent:
        case "all":
            return [Target()]
        case "regions":
            own = {one.region for one in await number_store.numbers(run.pool)}
            targets = [Target("region", region) for region in found.ill.get("region", ()) if region in own]
            return targets or _not_yet(
                run, f"no number of ours is where calls fail: they go round it. {found.said}", evidence
            )
        case "numbers":
            return [Target("number", phone) for phone in found.ill.get("number", ())][:MOST]
    return _not_yet(run, f"calls are answered, or go round what fails: {found.said}", evidence)


def _not_yet(run: Run, said: str, evidence: dict[str, Any]) -> Outcome:
    """While the trouble lasts it may still come to it."""
    if run.incident.calm_at is None and run.incident.is_open:
        return Waiting(said, AGAIN, evidence)
    return NotApplicable(said, evidence)


async def _named(run: Run, scope: str) -> Target:
    """Raises LeverError."""
    if scope == "all":
        return Target()
    kind, _, key = scope.partition(":")
    if kind == "merchant":
        merchant = await merchants.find(run.pool, key)
        if merchant is None:
            raise LeverError(f"there is no merchant {key!r}")
        return Target("merchant", str(merchant.id))
    return Target.read(scope)


# Another number shown


@action("voice.caller_id_pool", expires=LASTS, listed=True)
async def caller_id_pool(run: Run, *, scope: str = "auto", lasts: timedelta = LASTS) -> Outcome:
    """Show a number of the pool where carriers refuse ours: for all calls, a region, a merchant, or what is ill."""
    targets = await _showing(run, scope)
    if not isinstance(targets, list):
        return targets
    return await _turn_all(run, CALLER_ID_POOL, targets, lasts, "a number of the pool is shown")


@caller_id_pool.offer
async def _(run: Run, *, scope: str = "auto") -> Outcome | None:
    targets = await _showing(run, scope)
    return None if isinstance(targets, list) else targets


@caller_id_pool.draft
async def _(run: Run, *, scope: str = "auto", lasts: timedelta = LASTS) -> str:
    targets = await _showing(run, scope)
    return await _drafted(run, CALLER_ID_POOL, targets, lasts, "Whoever is rung sees a number of the pool")


@caller_id_pool.verify
async def _(run: Run) -> bool:
    return bool(await _turned(run, CALLER_ID_POOL))


@caller_id_pool.undo
async def _(run: Run) -> str:
    return await _cleared(run, CALLER_ID_POOL, "the callers' own numbers are shown again")


async def _showing(run: Run, scope: str) -> list[Target] | Outcome:
    numbers = await number_store.numbers(run.pool)
    if not any(one.stands_in for one in numbers):
        return NotApplicable("no number may stand in for another: `holdfast numbers` says which may")
    if scope != "auto":
        return await _chosen(run, CALLER_ID_POOL, scope)
    kinds: list[HealthKind] = ["number"]
    ill = [one.key for one in await health(run.pool, run.now, kinds=kinds) if one.verdict == "ill"]
    regions = sorted({one.region for one in numbers if one.phone in ill})
    targets = [Target("region", region) for region in regions]
    left = [target for target in targets if await _is_off(run, CALLER_ID_POOL, target)]
    if left:
        return left
    said = "it is so already" if targets else "no number of ours fails by itself, so that another one shown would help"
    return _not_yet(run, said, {"ill": ill})


# Of all of these levers


async def _turn_all(run: Run, lever: Lever, targets: Sequence[Target], lasts: timedelta, said: str) -> Outcome:
    shown: list[dict[str, Any]] = []
    for target in targets:
        try:
            touched = await reach(run.pool, lever.name, target, now=run.now)
            await turn(run, lever, target, WHOLE, lasts)
        except (LeverError, VoiceError) as error:
            return Failed(f"{lever.name} {target}: {error}", {"turned": shown})
        shown.append({"lever": lever.name, "for": str(target) or "all", "touches": str(touched)})
    whom = "; ".join(f"{one['for']}: {one['touches']}" for one in shown[:5])
    return Done(f"{said} ({whom})", {"turned": shown})


async def _chosen(run: Run, lever: Lever, scope: str) -> list[Target] | Outcome:
    """What a scope other than auto means, unless the lever is turned for it already."""
    try:
        target = await _named(run, scope)
    except LeverError as error:
        return Failed(str(error))
    return [target] if await _is_off(run, lever, target) else NotApplicable(f"it is so for {scope} already")


async def _drafted(run: Run, lever: Lever, targets: list[Target] | Outcome, lasts: timedelta, said: str) -> str:
    """Whom it touches, before it is turned."""
    if not isinstance(targets, list):
        return targets.said
    lines = [f"{said}, for {lasted(lasts)} or until it is brought back:"]
    for target in targets:
        touched = await reach(run.pool, lever.name, target, now=run.now)
        lines.append(f"- {await _shown(run, target)}: {touched}")
    return "\n".join(lines)


async def _shown(run: Run, target: Target) -> str:
    if target.kind == "merchant":
        names = await merchants.keys(run.pool, [int(target.key)])
        return f"merchant {names.get(int(target.key), target.key)}"
    return str(target) or "all numbers"


async def _turned(run: Run, lever: Lever) -> list[Target]:
    """For what it is off its default because of this incident."""
    return [
        Target.read(one.target)
        for one in await levers.current(run.pool)
        if one.name == lever.name and one.incident_id == run.incident.id
    ]


async def _is_off(run: Run, lever: Lever, target: Target) -> bool:
    """Whether the incident has not turned it for this yet."""
    return await of_incident(run.pool, run.incident.id, lever.name, target) is None


async def _cleared(run: Run, lever: Lever, said: str) -> str:
    targets = [target for target in await _turned(run, lever) if await clear(run, lever, target)]
    return said if targets else "it was as usual already"
