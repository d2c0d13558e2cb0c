"""What the runbook of a complaint does at once: takes it in, looks at consent, silences, proves it, and answers."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from holdfast.comms.messages import to_mailboxes, to_team
from holdfast.comms.words import clock, day_and_clock, listed, many, people
from holdfast.complaints import export, letters, proof, replying, service, store, view
from holdfast.complaints.export import write_private
from holdfast.complaints.model import Complaint, ComplaintError, RefusedError
from holdfast.complaints.view import View
from holdfast.consent import store as consent
from holdfast.consent.history import is_in_force
from holdfast.consent.model import EVERY_MERCHANT
from holdfast.inbox import store as inbox
from holdfast.incidents.model import Incident
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY
from holdfast.messaging import stopping
from holdfast.runbooks import store as steps
from holdfast.runbooks.actions import Done, Failed, NotApplicable, Outcome, Run, Waiting, action

MOST = 200
"""Complaints of one incident that its steps look at."""
SHOWN = 20
"""Of them, those whose details are kept as evidence."""
AGAIN = timedelta(minutes=1)
NOBODY = "nobody complained: it was opened for another reason"


async def of(run: Run) -> list[Complaint]:
    """The incident's complaints, the oldest first; also those that came in a moment ago."""
    async with run.pool.acquire() as db, db.transaction():
        await service.adopt(db, run.incident, run.now)
    return await store.of_incident(run.pool, run.incident.id, MOST)


def unanswered(found: Sequence[Complaint]) -> list[Complaint]:
    return [one for one in found if not one.is_settled]


def numbers(found: Sequence[Complaint]) -> str:
    return numbers_of([one.id for one in found])


def numbers_of(ids: Sequence[int]) -> str:
    """`complaint 7`, `complaints 7, 8`."""
    return f"complaint{'s' * (len(ids) != 1)} {listed([str(one) for one in ids])}"


# Acknowledge


@action("complaints.acknowledge")
async def acknowledge(run: Run) -> Outcome:
    """Take every complaint that has no incident into this one, with the hour in which it is to be answered."""
    found = await of(run)
    if not found:
        return NotApplicable(NOBODY)
    keys = await merchants.keys(run.pool, [one.merchant_id for one in found])
    evidence = {"complaints": [_brief(one, keys.get(one.merchant_id)) for one in found[:SHOWN]]}
    open_ones = unanswered(found)
    due = f"answers are due by {clock(min(one.due_at for one in open_ones))}" if open_ones else "all are answered"
    return Done(f"{numbers(found)} in the log; {due}", evidence)


def _brief(one: Complaint, merchant: str | None) -> dict[str, Any]:
    """Without what they said and where they are reached: evidence stays when the person is erased."""
    return {
        "complaint": one.id,
        "merchant": merchant,
        "source": one.source,
        "received_at": one.received_at,
        "due_at": one.due_at,
        "answered_at": one.answered_at,
        "cancelled": one.cancelled,
    }


# Verify


@action("complaints.consent_status")
async def consent_status(run: Run) -> Outcome:
    """Look into the ledger: did each person consent, when and how, what were they shown? It says so if they did not."""
    found = await of(run)
    if not found:
        return NotApplicable(NOBODY)
    said, evidence = [], []
    for one in found[:SHOWN]:
        seen = await view.of_person(run.pool, one, run.now)
        said.append(f"complaint {one.id}: {consents_said(seen)}")
        evidence.append({"complaint": one.id, "consents": view.consents(seen)} | _without(seen))
    return Done("; ".join(said), {"complaints": [_plain(item) for item in evidence]})


def consents_said(seen: View) -> str:
    """What held of consent when each merchant last texted the person."""
    parts = []
    for one in seen.consents:
        if one.is_texted or one.then.row is not None:
            when = "when it last texted them" if one.is_texted else "when they complained"
            parts.append(f"{seen.merchant(one.merchant_id)} {one.purpose} {when}: {one.then.said}")
    sent = len(seen.without_consent)
    without = [f"{many(sent, 'text')} went out without consent"] if sent else []
    return ", ".join([*parts, *without]) or "no consent of theirs is on record, for any merchant"


def _without(seen: View) -> dict[str, Any]:
    return {"sent_without_consent": len(seen.without_consent), "texts": list(seen.without_consent[:SHOWN])}


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    """Without the details that go when a person is erased; they are in the view."""
    for one in item["consents"]:
        for when in ("then", "now"):
            if one[when]["row"] is not None:
                one[when]["row"] = {name: value for name, value in one[when]["row"].items() if name != "detail"} | {
                    "evidence": sorted(one[when]["row"]["detail"])
                }
    return item


@action("complaints.earlier_stops")
async def earlier_stops(run: Run) -> Outcome:
    """Look whether the person had said stop before, to whom, and whether they were texted after it."""
    found = await of(run)
    if not found:
        return NotApplicable(NOBODY)
    said, evidence = [], []
    for one in found[:SHOWN]:
        seen = await view.of_person(run.pool, one, run.now)
        wishes = [block for block in seen.earlier_blocks if block.reason in ("opt_out", "doubtful", "complaint")]
        firsts = [row["received_at"] for row in seen.stops] + [block.made_at for block in wishes]
        if not firsts:
            said.append(f"complaint {one.id}: they had not said stop before")
        else:
            whom = listed(sorted({seen.merchant(block.merchant_id) for block in wishes})) or "nobody who heard it"
            after = sent_after(seen, wishes)
            late = f", and {many(len(after), 'text')} went out after it" if after else ", and nothing went out after it"
            said.append(f"complaint {one.id}: they said stop since {day_and_clock(min(firsts))} ({whom}){late}")
        evidence.append(
            {
                "complaint": one.id,
                "texts": [
                    {"sid": row["sid"], "at": row["received_at"], "verdict": row["verdict"]} for row in seen.stops
                ],
                "blocks": [view.suppression(seen, block) for block in seen.earlier_blocks],
            }
        )
    return Done("; ".join(said), {"complaints": evidence})


def sent_after(seen: View, wishes: Sequence[Any]) -> list[int]:
    """Texts that were sent while such a block was in force."""
    return [
        row["id"]
        for row in view.sent(seen.messages)
        if any(
            block.made_at < row["tried_at"]
            and is_in_force(
                block,
                row["merchant_id"],
                [at for merchant, at in seen.returns if merchant == row["merchant_id"]],
                row["tried_at"],
            )
            for block in wishes
        )
    ]


# Silence


@action("complaints.suppress")
async def suppress(run: Run) -> Outcome:
    """See to it that everybody is blocked for every merchant: it was done as they complained, else it is done now."""
    found = await of(run)
    if not found:
        return NotApplicable(NOBODY)
    evidence: list[dict[str, Any]] = []
    again = 0
    for one in found:
        live = await consent.suppressions_of(run.pool, one.customer_id, live_only=True)
        block = next((it for it in live if it.merchant_id == EVERY_MERCHANT and it.reason == "complaint"), None)
        if block is None:
            again += 1
            await _block(run, one)
        else:
            evidence.append({"complaint": one.id, "suppression": block.id, "since": block.made_at})
    cancelled = sum(one.cancelled for one in found)
    said = f"{people(len(found))} blocked for every merchant"
    more = f", {again} of them again after the block had been lifted" if again else " as they complained"
    return Done(
        f"{said}{more}; {many(cancelled, 'text')} that waited cancelled",
        {"blocked": evidence[:MOST], "again": again, "cancelled": cancelled},
    )


async def _block(run: Run, one: Complaint) -> None:
    async with run.pool.acquire() as db, db.transaction():
        await stopping.block(db, [service.block_of(one, run.actor)], run.now)
    await stopping.settled(run.pool, [one.customer_id])


@action("complaints.prove_silence", proof=True, patience=timedelta(minutes=10))
async def prove_silence(run: Run) -> Outcome:
    """Prove that nobody texts them any more, by our record and by Twilio's own list of every account."""
    found = await of(run)
    if not found:
        return Done(f"{NOBODY}, so there is nobody who has to be left alone")
    proofs = [await proof.prove(run.pool, run.settings, one, run.now) for one in found]
    broken = [one for one in proofs if not one.holds]
    evidence = {"proofs": [proof.document(one) for one in (broken or proofs)[:SHOWN]]}
    if any(one.on_their_way for one in broken) and not any(one.strays for one in broken):
        return Waiting("a text that was taken before the block is on its way yet", timedelta(seconds=5), evidence)
    if broken:
        return Failed("; ".join(f"complaint {one.complaint_id}: {one.said}" for one in broken[:5]), evidence)
    return Done("; ".join(f"complaint {one.complaint_id}: {one.said}" for one in proofs[:5]), evidence)


# Answer


@action("complaints.draft_reply", patience=timedelta(minutes=2))
async def draft_reply(run: Run) -> Outcome:
    """Mail everybody who complained: sorry, you are blocked for everybody, and this is how you may come back.

    Who left no mailbox is told by a person, who enters it: `holdfast complaints answer`.
    """
    # Who complained since it was approved is not answered by it, and asked about again.
    waiting = unanswered(await store.of_incident(run.pool, run.incident.id, MOST))
    if not waiting:
        return NotApplicable("everybody was answered")
    written = letters.parts(await _approved(run, waiting))
    if not written and run.text and len(waiting) == 1:
        written = {waiting[0].id: run.text.strip()}
    if not written:
        return Failed("it cannot be told which answer is whose: leave the lines `=== Complaint …` as they are")
    mailed: list[Complaint] = []
    by_hand: list[Complaint] = []
    for one in waiting:
        if one.id not in written or one.mailbox is None or run.settings.smtp_url is None:
            by_hand.append(one)
            continue
        try:
            async with run.pool.acquire() as db, db.transaction():
                await replying.mail(db, run.settings, one, written[one.id], actor=run.actor, now=run.now)
        except RefusedError:
            continue  # somebody was faster
        except ComplaintError as error:
            return Failed(f"complaint {one.id}: {error}", {"mailed": [it.id for it in mailed]})
        mailed.append(one)
    said = [f"{numbers(mailed)} answered by mail"] if mailed else []
    if by_hand:
        how = f"holdfast complaints answer {by_hand[0].id} --how phone --text …"
        said.append(f"{numbers(by_hand)} to be answered by a person ({how})")
    return Done(
        "; ".join(said) or "everybody was answered meanwhile",
        {"mailed": [one.id for one in mailed], "by_hand": [one.id for one in by_hand]},
    )


@draft_reply.offer
async def _(run: Run) -> Outcome | None:
    found = await of(run)
    if unanswered(found):
        return None
    if found:
        return NotApplicable("everybody was answered")
    return Waiting(NOBODY, AGAIN) if lasts(run.incident) else NotApplicable(NOBODY)


@draft_reply.draft
async def _(run: Run) -> str:
    return await _drafts(run, unanswered(await of(run)))


async def _drafts(run: Run, waiting: Sequence[Complaint]) -> str:
    return letters.draft([(one, await replying.drafted(run.pool, run.settings, one)) for one in waiting])


async def _approved(run: Run, waiting: Sequence[Complaint]) -> str:
    """What a person wrote, else what they were shown and said yes to."""
    if run.text:
        return run.text
    step = await steps.step(run.pool, run.incident.id, run.step)
    return (step.draft if step is not None else None) or await _drafts(run, waiting)


@action("complaints.answered")
async def answered(run: Run) -> Outcome:
    """Wait until everybody who complained was answered."""
    found = await of(run)
    waiting = unanswered(found)
    if waiting:
        due = min(one.due_at for one in waiting)
        late = f"overdue since {clock(due)}" if due <= run.now else f"due by {clock(due)}"
        return Waiting(f"{numbers(waiting)} to be answered, {late}", evidence={"waiting": [one.id for one in waiting]})
    if not found:
        return NotApplicable(NOBODY)
    late_ones = [one for one in found if one.answered_at is not None and one.answered_at > one.due_at]
    told = [one for one in found if one.answered_at is not None]
    erased = [one for one in found if one.answered_at is None]
    longest = max(((one.answered_at - one.received_at).total_seconds() for one in told if one.answered_at), default=0)
    late = f", {numbers(late_ones)} too late" if late_ones else ", all of them within the hour"
    said = [f"{numbers(told)} answered{late}"] if told else []
    said += [f"{numbers(erased)} closed without an answer: {service.ERASED}"] if erased else []
    return Done("; ".join(said), {"longest_s": round(longest), "late": [one.id for one in late_ones]})


# Compliance


@action("complaints.notify_compliance", patience=timedelta(minutes=3))
async def notify_compliance(run: Run) -> Outcome:
    """Tell compliance of each complaint, once: whose texts, on what consent, and who else came the same way."""
    found = await of(run)
    if not found:
        return NotApplicable(NOBODY)
    mailboxes = [(COMPANY, one) for one in run.settings.compliance_mail] if run.settings.smtp_url else []
    if not mailboxes and not run.settings.team_channels:
        said = "nobody can be told: set HOLDFAST_COMPLIANCE_MAIL and HOLDFAST_SMTP_URL, or HOLDFAST_TEAM_CHANNELS"
        return Failed(said)
    told = []
    for one in found:
        key = f"complaint-{one.id}/compliance"
        before = {name for name, _ in await inbox.own_events(run.pool, key, "incident.compliance")}
        if key in before or (before and not mailboxes):
            continue  # its notice has all of its cohorts counted: not again every few minutes
        subject, text = await _notice(run, one)
        if mailboxes:
            sent = await to_mailboxes(run.pool, key, "compliance", subject, text, None, mailboxes, run.now)
        else:
            sent = await to_team(
                run.pool, run.settings, key, "compliance", subject, f"For compliance.\n\n{text}", run.now
            )
        if sent:
            told.append(one)
    if not told:
        return NotApplicable("compliance knows of all of them")
    where = f"{len(mailboxes)} mailbox{'es' * (len(mailboxes) != 1)}" if mailboxes else "the team's channel"
    return Done(f"compliance is told of {numbers(told)} in {where}", {"complaints": [one.id for one in told]})


async def _notice(run: Run, one: Complaint) -> tuple[str, str]:
    """Without the person's number and words: who may read them opens the complaint."""
    seen = await view.read(run.pool, one, run.now)
    ways = [f"{way.name} of {seen.merchant(way.origin.merchant_id)}: {way.cohort.people:,} people" for way in seen.ways]
    lines = [
        f"Complaint {one.id} about texts of {_whose(seen)}, received {day_and_clock(one.received_at)} ({one.source}).",
        f"Blocked for every merchant since {day_and_clock(one.recorded_at)}; {many(one.cancelled, 'text')} cancelled.",
        f"Consent: {consents_said(seen)}.",
        f"Came in by: {'; '.join(ways) or 'nothing that others came by'}.",
        f"The answer is due by {day_and_clock(one.due_at)}."
        if not one.is_settled
        else "Closed without an answer: the person had their data erased."
        if one.answered_at is None
        else f"Answered by {one.answer_how} at {day_and_clock(one.answered_at)}.",
        f"All of it: holdfast complaints show {one.id}; for an auditor: holdfast complaints export {one.id}",
    ]
    return f"Complaint {one.id} about texts of {_whose(seen)}", "\n".join(lines)


def _whose(seen: View) -> str:
    return seen.merchant(seen.complaint.merchant_id) if seen.complaint.merchant_id else "a merchant they did not name"


def lasts(incident: Incident) -> bool:
    return incident.is_open and incident.calm_at is None


# For an auditor


@action("complaints.export", patience=timedelta(minutes=5))
async def export_files(run: Run) -> Outcome:
    """Write each complaint's file for an auditor into the data directory; its hash stands in the log."""
    found = await of(run)
    if not found:
        return NotApplicable(NOBODY)
    place = run.settings.data_dir / "complaints"
    written = []
    for one in found:
        proved = await proof.prove(run.pool, run.settings, one, run.now)
        made = await export.export(run.pool, one, run.now, proof=proved)
        file = place / f"complaint-{one.id}.zip"
        await asyncio.to_thread(write_private, file, made.data)
        written.append({"complaint": one.id, "file": str(file), "sha256": made.sha256, "bytes": len(made.data)})
    anywhere = f"holdfast complaints export {found[0].id} --out FILE.zip"
    return Done(f"{many(len(written), 'file')} in {place}; on another machine: {anywhere}", {"files": written})
