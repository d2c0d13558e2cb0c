"""What runbooks do to tell people: the team, affected merchants, and through them their customers."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from holdfast.comms import texts
from holdfast.comms.affected import AffectedMerchant, CallFigures, about_calls, affected
from holdfast.comms.figures import Figures, figures
from holdfast.comms.messages import TYPES, prepare_mailboxes, to_mailboxes, to_team
from holdfast.comms.names import named_in
from holdfast.comms.told import PARAGRAPH, Told, approval, key, of, told
from holdfast.comms.wording import wording
from holdfast.comms.words import length, listed, many
from holdfast.inbox import store as inbox
from holdfast.incidents import store as incidents
from holdfast.merchants import store as merchants
from holdfast.merchants.model import Merchant
from holdfast.runbooks import store as steps
from holdfast.runbooks.actions import Done, Failed, NotApplicable, Outcome, Run, Waiting, action

_SHOWN = 50
"""Merchants whose figures are kept as evidence."""
_NO_TEAM = "no team channel is set up: name one in HOLDFAST_TEAM_CHANNELS"
_NO_MAIL = "mail is not set up (HOLDFAST_SMTP_URL)"
AGAIN = timedelta(minutes=1)
"""How soon it is looked again whether anybody is affected, while the trouble lasts."""
SIGNIFICANT = timedelta(minutes=5)
"""Delays that merchants are told of."""


# The team


@action("comms.announce")
async def announce(run: Run) -> Outcome:
    """Say in the team channel that there is an incident: what, since when, how bad, and how to acknowledge it."""
    if not run.settings.team_channels:
        return NotApplicable(_NO_TEAM)
    said = texts.announcement(run.incident, run.now)
    count = await to_team(run.pool, run.settings, run.key, "announcement", said.subject, said.text, run.now)
    posted = f"posted in {many(count, 'team channel')}" if count else "it was posted before"
    return Done(posted, {"channels": count, "text": said.text})


@action("comms.team_update", owed=True)
async def team_update(run: Run) -> Outcome:
    """Tell the team how it stands: what was done, what waits, the figures, and when the next update comes."""
    if not run.settings.team_channels:
        return NotApplicable(_NO_TEAM)
    said, seen, hit = await _update(run, run.text)
    count = await to_team(run.pool, run.settings, run.key, "team_update", said.subject, said.text, run.now)
    evidence = {
        "channels": count,
        "to_route": seen.to_route,
        "to_send": seen.to_send,
        "oldest_s": round(seen.oldest_s),
        "drain_s": None if seen.drain_s is None else round(seen.drain_s),
        "affected": len(hit),
        "text": said.text,
    } | ({"calls": _calls(seen.calls)} if seen.calls is not None else {})
    if seen.consent is not None:
        due = seen.consent.due_at
        evidence["consent"] = asdict(seen.consent) | {"due_at": due.isoformat() if due is not None else None}
    whose = f" by {run.actor}" if run.text else ""
    return Done(f"update {run.number}{whose} is posted: {texts.now_words(seen)}", evidence)


@team_update.draft
async def _(run: Run) -> str:
    said, _, _ = await _update(run, None)
    return said.text


async def _update(run: Run, person: str | None) -> tuple[texts.Text, Figures, list[AffectedMerchant]]:
    step = await steps.step(run.pool, run.incident.id, run.step)
    every = step.every if step is not None else None
    since = await _last_update(run)
    new = [entry for entry in await incidents.entries(run.pool, run.incident.id) if entry.at > since]
    others = [one for one in await steps.steps(run.pool, run.incident.id) if one.key != run.step]
    seen = await figures(run.pool, run.settings, run.now, run.incident)
    hit = await affected(run.pool, run.incident, run.now)
    said = texts.team_update(
        run.incident,
        texts.Course([entry for entry in new if entry.step != run.step], others, hit),
        seen,
        number=run.number,
        next_at=run.now + every if every is not None else None,
        now=run.now,
        person=person,
    )
    return said, seen, hit


async def _last_update(run: Run) -> datetime:
    """When the team was last told; this very run, done again after an interruption, does not count."""
    sent = await inbox.own_events(run.pool, of(run.incident.id), TYPES["team_update"])
    times = [at for key, at in sent if not key.startswith(f"{run.key}/")]
    return max(times, default=run.incident.since)


# Merchants


@action("comms.notify_merchants")
async def notify_merchants(
    run: Run, *, delay: timedelta = SIGNIFICANT, following: timedelta = timedelta(hours=1)
) -> Outcome:
    """Mail each affected merchant: what is late for them, since when, what we do, and when we write next.

    `delay`: what is late by less is not told of. `following`: when we write next, at the latest.
    """
    found = await affected(run.pool, run.incident, run.now, delay)
    paragraph = texts.edited_paragraph(run.incident, run.text)
    named = named_in(paragraph or "", (one.name for one in found))
    if named:
        return Failed(f"the text names {named}, and every merchant would read it: write it without names")
    hit = await _untold(run, found)
    if not hit:
        return NotApplicable(_nobody(run, found), {"affected": len(found)})
    mailed = [one for one in hit if one.email]
    by_hand = [one.key for one in hit if not one.email]
    if not run.settings.smtp_url:
        mailed, by_hand = [], [one.key for one in hit]
        return Failed(f"{_NO_MAIL}: tell {listed(by_hand)} by hand", _evidence(hit, mailed=0, by_hand=by_hand))
    await _first_mails(run, mailed, run.now + following, paragraph)
    hand = f"; {listed(by_hand)} without an address: to be told by hand" if by_hand else ""
    return Done(
        f"{many(len(mailed), 'affected merchant')} mailed{hand}",
        _evidence(hit, mailed=len(mailed), by_hand=by_hand) | {PARAGRAPH: paragraph},
    )


async def _untold(run: Run, found: Sequence[AffectedMerchant]) -> list[AffectedMerchant]:
    """Without those who were told by another step, or by an incident that was merged into this one."""
    elsewhere = (await told(run)).elsewhere
    return [one for one in found if one.id not in elsewhere]


def _nobody(run: Run, found: Sequence[AffectedMerchant]) -> str:
    return "all who are affected were told" if found else wording(run.incident).nobody


async def _first_mails(run: Run, chosen: Sequence[AffectedMerchant], next_at: datetime, paragraph: str | None) -> None:
    await prepare_mailboxes(run.pool, [(one.id, one.email) for one in chosen if one.email])
    for one in chosen:
        said = texts.merchant_mail(run.incident, one, next_at=next_at, now=run.now, paragraph=paragraph)
        await _mail(run, one, "merchant_mail", said)


@notify_merchants.offer
async def _(run: Run, *, delay: timedelta = SIGNIFICANT, following: timedelta = timedelta(hours=1)) -> Outcome | None:
    """Nobody is asked where nothing is late by much, nor will be. A call that did not come through is at once."""
    found = await affected(run.pool, run.incident, run.now, delay)
    hit, lasts = await _untold(run, found), run.incident.calm_at is None
    if not hit:
        said = _nobody(run, found)
        evidence: dict[str, Any] = {"affected": len(found)}
        return Waiting(f"{said} so far", AGAIN, evidence) if lasts else NotApplicable(said, evidence)
    longest = max(one.longest_s for one in hit)
    lost = sum(one.given_up for one in hit)
    seen = await figures(run.pool, run.settings, run.now, run.incident)
    grows = seen.waiting > 0 and (seen.drain_s is None or seen.drain_s > delay.total_seconds())
    evidence = _evidence(hit) | {"longest_s": round(longest), "drain_s": seen.drain_s and round(seen.drain_s)}
    if not about_calls(run.incident) and longest <= delay.total_seconds() and not lost and not grows:
        said = (
            f"nothing is late by more than {length(delay)}: the longest took {length(longest)}, and what waits is "
            f"{'done' if not seen.waiting else f'drained in {length(seen.drain_s or 0)}'}"
        )
        return Waiting(said, AGAIN, evidence) if lasts else NotApplicable(said, evidence)
    if not run.settings.smtp_url:
        by_hand = [one.key for one in hit]
        return Failed(f"{_NO_MAIL}: tell {listed(by_hand)} by hand", evidence | {"by_hand": by_hand})
    return None


@notify_merchants.draft
async def _(run: Run, *, delay: timedelta = SIGNIFICANT, following: timedelta = timedelta(hours=1)) -> str:
    hit = await _untold(run, await affected(run.pool, run.incident, run.now, delay))
    if not hit:
        return texts.default_paragraph(run.incident)
    return texts.merchant_draft(run.incident, hit, next_at=run.now + following, now=run.now)


@action("comms.update_merchants")
async def update_merchants(
    run: Run, *, delay: timedelta = SIGNIFICANT, following: timedelta = timedelta(hours=1)
) -> Outcome:
    """Write again to merchants who were told, in half of the promised time, and to whoever is affected by now.

    Until the all-clear, also while what waits is worked off. Who became affected after merchants were told gets, once,
    what was approved for all: those with something late by more than `delay`, or given up.
    """
    incident = run.incident
    if incident.resolved_at is not None or incident.state in ("resolved", "reviewed"):
        return NotApplicable("it is over")
    seen, approved = await told(run), await approval(run, _TELLING)
    if not seen.mailed and approved is None:
        return NotApplicable("no merchant was told of it")
    if incident.calm_at is not None and seen.cleared and not seen.waiting:
        return NotApplicable("the trouble is over, and they got the all-clear")
    if not run.settings.smtp_url:
        return NotApplicable(_NO_MAIL)
    found = await affected(run.pool, incident, run.now, delay)
    new = [one for one in found if _is_new(run, one, seen, delay)]
    mailed = [one for one in new if one.email]
    known = approved.by_hand if approved is not None else frozenset()
    by_hand = sorted(one.key for one in new if not one.email and one.key not in known)
    paragraph = approved.paragraph if approved is not None else None
    if named_in(paragraph or "", (one.name for one in found)):
        paragraph = None  # whoever it names was not affected when it was approved
    await _first_mails(run, mailed, run.now + following, paragraph)
    again = await _write_again(run, seen, following)
    said = [f"{many(again, 'merchant')} mailed how it stands"] if again else []
    said += [f"{listed([one.key for one in mailed])} mailed for the first time"] if mailed else []
    said += [f"{listed(by_hand)} without an address: to be told by hand"] if by_hand else []
    if not said:
        return NotApplicable(f"they were written to less than {length(following / 2)} ago, and nobody else is affected")
    hand = sorted({*by_hand, *await _by_hand_before(run)})
    return Done("; ".join(said), {"mailed": again + len(mailed), "new": [one.key for one in new], "by_hand": hand})


_TELLING = ("comms.notify_merchants", "comms.update_merchants")


def _is_new(run: Run, one: AffectedMerchant, seen: Told, delay: timedelta) -> bool:
    """Whether a merchant is to be told who does not know of it. Who had an all-clear is, when something waits again."""
    if one.id in seen.waiting:
        return False
    if one.calls is not None:
        cleared, last = seen.cleared.get(one.id), one.calls.last
        return cleared is None or (run.incident.calm_at is None and last is not None and last > cleared)
    waits = one.waiting > 0 and one.oldest_s > delay.total_seconds()
    if one.id in seen.cleared:
        return waits and run.incident.calm_at is None
    return bool(one.given_up) or (waits if run.incident.calm_at is not None else one.longest_s > delay.total_seconds())


async def _write_again(run: Run, seen: Told, following: timedelta) -> int:
    """To those whose last mail is half of the promised time ago; how many those are."""
    before = run.now - following / 2 + timedelta(seconds=30)
    known = await merchants.by_ids(run.pool, sorted(number for number, at in seen.waiting.items() if at <= before))
    hit = {one.id: one for one in await affected(run.pool, run.incident, run.now)} if known else {}
    written = [one for _, one in sorted(known.items()) if one.email]
    for one in written:
        own = hit.get(one.id, _quiet(one))
        said = texts.merchant_mail(run.incident, own, next_at=run.now + following, now=run.now, again=True)
        await _mail(run, own, "merchant_mail", said)
    return len(written)


async def _by_hand_before(run: Run) -> list[str]:
    step = await steps.step(run.pool, run.incident.id, run.step)
    return list(step.evidence.get("by_hand", ())) if step is not None else []


@action("comms.all_clear")
async def all_clear(run: Run) -> Outcome:
    """Mail those merchants who were told of the trouble that it is over, with what became of their events.

    Whoever has had an all-clear, and no mail about the trouble since, gets no other one.
    """
    seen = await told(run)
    if not seen.mailed:
        return NotApplicable("no merchant was mailed in this incident")
    if not seen.waiting:
        return NotApplicable("all who were mailed have had the all-clear")
    known = await merchants.by_ids(run.pool, sorted(seen.waiting))
    hit = {one.id: one for one in await affected(run.pool, run.incident, run.now)}
    by_hand = sorted(one.key for one in known.values() if not one.email)
    mailed = 0
    for number, one in sorted(known.items()):
        if one.email:
            own = hit.get(number, _quiet(one))
            await _mail(run, own, "all_clear", texts.all_clear(run.incident, own, run.now))
            mailed += 1
    unwell = [hit[number].key for number in sorted(known) if number in hit and not hit[number].is_whole]
    rest = f"; not all is with {listed(unwell)} yet" if unwell else ""
    hand = f"; {listed(by_hand)} to be told by hand" if by_hand else ""
    return Done(
        f"{many(mailed, 'merchant')} mailed that it is over{rest}{hand}",
        {"mailed": mailed, "by_hand": by_hand, "not_whole": unwell},
    )


def _quiet(one: Merchant) -> AffectedMerchant:
    """With nothing that is late."""
    return AffectedMerchant(one.id, one.key, one.name, one.email, 0, 0, 0.0, 0)


async def _mail(run: Run, to: AffectedMerchant, kind: str, said: texts.Text) -> None:
    assert to.email is not None
    mailbox = (to.id, to.email)
    await to_mailboxes(run.pool, key(run, to.id), kind, said.subject, said.text, said.html, [mailbox], run.now)


# Their customers


@action("comms.prepare_customer_notice")
async def prepare_customer_notice(run: Run, *, delay: timedelta = SIGNIFICANT) -> Outcome:
    """Write the text that merchants can forward to their customers. Nothing is sent."""
    hit = await affected(run.pool, run.incident, run.now, delay)
    if not hit:
        said = f"{wording(run.incident).nobody}, so their customers miss nothing"
        return Waiting(said, AGAIN) if run.incident.calm_at is None else NotApplicable(said)
    text = texts.customer_notice(
        run.incident, hit, await figures(run.pool, run.settings, run.now, run.incident), run.now
    )
    return Done(
        f"written, for customers of {many(len(hit), 'merchant')}; nothing is sent", {"text": text} | _evidence(hit)
    )


def _calls(own: CallFigures) -> dict[str, int]:
    return {name: getattr(own, name) for name in ("calls", "answered", "to_voicemail", "missed", "failed", "messages")}


def _evidence(
    hit: Sequence[AffectedMerchant], *, mailed: int | None = None, by_hand: Sequence[str] | None = None
) -> dict[str, Any]:
    shown = [
        {
            "merchant": one.key,
            "delayed": one.delayed,
            "waiting": one.waiting,
            "longest_s": round(one.longest_s),
            "given_up": one.given_up,
            "destinations": list(one.destinations),
        }
        if one.calls is None
        else {"merchant": one.key, **_calls(one.calls)}
        for one in hit[:_SHOWN]
    ]
    found: dict[str, Any] = {"affected": len(hit), "merchants": shown}
    if mailed is not None:
        found["mailed"] = mailed
    if by_hand is not None:
        found["by_hand"] = list(by_hand)
    return found
