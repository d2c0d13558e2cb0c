"""What runbooks do to tell people: the team, affected merchants, and through them their customers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from holdfast.comms import texts
from holdfast.comms.affected import AffectedMerchant, affected
from holdfast.comms.figures import Figures, figures
from holdfast.comms.messages import TYPES, prepare_mailboxes, to_mailboxes, to_team
from holdfast.comms.words import length, listed, many
from holdfast.inbox import store as inbox
from holdfast.incidents import store as incidents
from holdfast.merchants import store as merchants
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
    said = texts.announcement(run.incident, run.now)
    count = await to_team(run.pool, run.settings, run.key, "announcement", said.subject, said.text, run.now)
    if not count:
        return NotApplicable(_NO_TEAM)
    return Done(f"posted in {many(count, 'team channel')}", {"channels": count, "text": said.text})


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
    }
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
    seen = await figures(run.pool, run.settings, run.now)
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
    sent = await inbox.own_events(run.pool, _of_incident(run), TYPES["team_update"])
    times = [at for key, at in sent if not key.startswith(f"{run.key}/")]
    return max(times, default=run.incident.since)


def _of_incident(run: Run) -> str:
    """How the keys of all that is sent about this incident begin; see `Run.key`."""
    return f"incident-{run.incident.id}/"


# Merchants


@action("comms.notify_merchants")
async def notify_merchants(
    run: Run, *, delay: timedelta = SIGNIFICANT, following: timedelta = timedelta(hours=1)
) -> Outcome:
    """Mail each affected merchant: what is late for them, since when, what we do, and when we write next.

    `delay`: what is late by less is not told of. `following`: when we write next, at the latest.
    """
    hit = await affected(run.pool, run.incident, run.now, delay)
    if not hit:
        return NotApplicable("no merchant has anything late or given up", {"affected": 0})
    paragraph = texts.edited_paragraph(run.text)
    named = [one.name for one in hit if paragraph and one.name in paragraph and one.name.lower() != "stripe"]
    if named:
        return Failed(f"the text names {named[0]}, and every merchant would read it: write it without names")
    mailed = [one for one in hit if one.email]
    by_hand = [one.key for one in hit if not one.email]
    if not run.settings.smtp_url:
        mailed, by_hand = [], [one.key for one in hit]
        return Failed(f"{_NO_MAIL}: tell {listed(by_hand)} by hand", _evidence(hit, mailed=0, by_hand=by_hand))
    await prepare_mailboxes(run.pool, [(one.id, one.email) for one in mailed if one.email])
    for one in mailed:
        said = texts.merchant_mail(run.incident, one, next_at=run.now + following, now=run.now, paragraph=paragraph)
        await _mail(run, one, "merchant_mail", said)
    hand = f"; {listed(by_hand)} without an address: to be told by hand" if by_hand else ""
    return Done(
        f"{many(len(mailed), 'affected merchant')} mailed{hand}", _evidence(hit, mailed=len(mailed), by_hand=by_hand)
    )


@notify_merchants.offer
async def _(run: Run, *, delay: timedelta = SIGNIFICANT, following: timedelta = timedelta(hours=1)) -> Outcome | None:
    """Nobody is asked where nothing is late by much, nor will be."""
    hit = await affected(run.pool, run.incident, run.now, delay)
    lasts = run.incident.calm_at is None
    if not hit:
        said = "no merchant has anything late or given up"
        return Waiting(f"{said} yet", AGAIN, {"affected": 0}) if lasts else NotApplicable(said, {"affected": 0})
    longest = max(one.longest_s for one in hit)
    lost = sum(one.given_up for one in hit)
    seen = await figures(run.pool, run.settings, run.now)
    grows = seen.waiting > 0 and (seen.drain_s is None or seen.drain_s > delay.total_seconds())
    evidence = _evidence(hit) | {"longest_s": round(longest), "drain_s": seen.drain_s and round(seen.drain_s)}
    if longest <= delay.total_seconds() and not lost and not grows:
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
    hit = await affected(run.pool, run.incident, run.now, delay)
    if not hit:
        return texts.default_paragraph(run.incident)
    return texts.merchant_draft(run.incident, hit, next_at=run.now + following, now=run.now)


@action("comms.update_merchants")
async def update_merchants(run: Run, *, following: timedelta = timedelta(hours=1)) -> Outcome:
    """Write again to those merchants who were told, half of the time before they were promised to hear again."""
    sent = await inbox.own_events(run.pool, _of_incident(run), TYPES["merchant_mail"])
    told = {number for key, _ in sent if (number := _merchant_in(key)) is not None}
    if not told:
        return NotApplicable("no merchant was told of it")
    if run.incident.calm_at is not None:
        return NotApplicable("the trouble is over: they get the all-clear")
    ago = run.now - max(at for _, at in sent)
    if ago < following / 2 - timedelta(seconds=30):
        return NotApplicable(f"they were written to less than {length(following / 2)} ago")
    known = await merchants.by_ids(run.pool, sorted(told))
    hit = {one.id: one for one in await affected(run.pool, run.incident, run.now)}
    mailed = 0
    for number, one in sorted(known.items()):
        if one.email:
            own = hit.get(number, AffectedMerchant(number, one.key, one.name, one.email, 0, 0, 0.0, 0))
            said = texts.merchant_mail(run.incident, own, next_at=run.now + following, now=run.now, again=True)
            await _mail(run, own, "merchant_mail", said)
            mailed += 1
    return Done(f"{many(mailed, 'merchant')} mailed how it stands", {"mailed": mailed})


@action("comms.all_clear")
async def all_clear(run: Run) -> Outcome:
    """Mail those merchants who were told of the trouble that it is over, with what became of their events."""
    sent = await inbox.own_events(run.pool, _of_incident(run), TYPES["merchant_mail"])
    told = {number for key, _ in sent if (number := _merchant_in(key)) is not None}
    if not told:
        return NotApplicable("no merchant was mailed in this incident")
    known = await merchants.by_ids(run.pool, sorted(told))
    hit = {one.id: one for one in await affected(run.pool, run.incident, run.now)}
    by_hand = sorted(one.key for one in known.values() if not one.email)
    mailed = 0
    for number, one in sorted(known.items()):
        if one.email:
            quiet = AffectedMerchant(number, one.key, one.name, one.email, 0, 0, 0.0, 0)
            own = hit.get(number, quiet)
            await _mail(run, own, "all_clear", texts.all_clear(run.incident, own, run.now))
            mailed += 1
    unwell = [
        hit[number].key for number in sorted(known) if number in hit and (hit[number].waiting or hit[number].given_up)
    ]
    rest = f"; not all is with {listed(unwell)} yet" if unwell else ""
    hand = f"; {listed(by_hand)} to be told by hand" if by_hand else ""
    return Done(
        f"{many(mailed, 'merchant')} mailed that it is over{rest}{hand}",
        {"mailed": mailed, "by_hand": by_hand, "not_whole": unwell},
    )


def _merchant_in(key: str) -> int | None:
    number = key.rpartition("/merchant-")[2]
    return int(number) if number.isdigit() else None


async def _mail(run: Run, to: AffectedMerchant, kind: str, said: texts.Text) -> None:
    assert to.email is not None
    key = f"{run.key}/merchant-{to.id}"
    await to_mailboxes(run.pool, key, kind, said.subject, said.text, said.html, [(to.id, to.email)], run.now)


# Their customers


@action("comms.prepare_customer_notice")
async def prepare_customer_notice(run: Run, *, delay: timedelta = SIGNIFICANT) -> Outcome:
    """Write the text that merchants can forward to their customers. Nothing is sent."""
    hit = await affected(run.pool, run.incident, run.now, delay)
    if not hit:
        said = "no merchant has anything late or given up, so their customers miss nothing"
        return Waiting(said, AGAIN) if run.incident.calm_at is None else NotApplicable(said)
    text = texts.customer_notice(run.incident, hit, await figures(run.pool, run.settings, run.now), run.now)
    return Done(
        f"written, for customers of {many(len(hit), 'merchant')}; nothing is sent", {"text": text} | _evidence(hit)
    )


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
        for one in hit[:_SHOWN]
    ]
    found: dict[str, Any] = {"affected": len(hit), "merchants": shown}
    if mailed is not None:
        found["mailed"] = mailed
    if by_hand is not None:
        found["by_hand"] = list(by_hand)
    return found
