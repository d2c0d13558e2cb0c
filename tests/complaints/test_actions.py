"""What the steps of the runbook do about a complaint: look, silence, prove, answer, tell, and hold back."""

import json
import re
import zipfile
from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.complaints import actions, cohort, investigation, letters, service, store, view
from holdfast.config import Settings
from holdfast.consent import links, suppressing
from holdfast.inbox import store as inbox
from holdfast.incidents import store as incidents
from holdfast.runbooks import store as steps
from holdfast.runbooks.actions import REGISTRY, Done, Failed, NotApplicable, Run, Waiting
from holdfast.runbooks.model import Step
from tests.complaints.people import MINUTE, SETTINGS, complain, incident, owed
from tests.complaints.test_cohort import OTHERS, blocked, imported
from tests.messaging.sent import text
from tests.messaging.texts import ANN, BOB, FORM, NOON, ask, come_back, grant, stop, town

ASK = Step(service.REPLY, "ask", "communication", "1", "Answer the person", 1, service.REPLY)
MAIL = Settings(
    _env_file=None, smtp_url="smtp://127.0.0.1:9?starttls=0", compliance_mail="law@example.com", status_name="Acme"
)


@pytest.fixture
async def place(pool):
    return await town(pool)


@pytest.fixture
async def run(pool, place) -> Run:
    found = await incident(pool)
    await steps.add(pool, found.id, [ASK])
    return Run(pool, SETTINGS, found, ASK.key, 1, NOON + MINUTE)


async def drafted(action, run) -> str:
    assert action.drafts is not None
    text: str = await action.drafts(run)
    return text


async def offered(action, run):
    assert action.offers is not None
    return await action.offers(run)


async def sent(pool):
    """Our own mails: (key, subject, text)."""
    rows = await pool.fetch("SELECT event_id, body FROM event WHERE type LIKE 'incident.%' ORDER BY seq")
    return [(row[0], *(json.loads(row[1])[name] for name in ("subject", "text"))) for row in rows]


async def test_with_no_complaint_every_step_says_so_and_the_proof_does_not_stand_in_the_way(run):
    for name in (
        "acknowledge",
        "consent_status",
        "earlier_stops",
        "suppress",
        "notify_compliance",
        "answered",
        "export",
    ):
        outcome = await REGISTRY.get(f"complaints.{name}").run(run)
        assert isinstance(outcome, NotApplicable), name
    for name in ("origin", "collection_review", "affected_others"):
        assert isinstance(await REGISTRY.get(f"complaints.{name}").run(run), NotApplicable), name
    assert isinstance(await actions.prove_silence.run(run), Done)
    assert isinstance(await offered(actions.draft_reply, run), Waiting)
    over = replace(run, incident=replace(run.incident, calm_at=NOON))
    assert isinstance(await offered(actions.draft_reply, over), NotApplicable)


async def test_acknowledged_it_is_in_the_log_with_its_hour(pool, run):
    filed = await complain(pool)
    outcome = await actions.acknowledge.run(run)
    assert outcome.said == f"complaint {filed.complaint.id} in the log; answers are due by 20:00 UTC"
    assert [one.step for one in await owed(pool, run.incident)] == [filed.complaint.owes]
    assert "signed up" not in json.dumps(outcome.evidence, default=str)


async def test_consent_is_told_as_it_was_when_they_were_texted(pool, run, place):
    await grant(pool, place.bakery, ANN, detail={"method": "web form", "ip": "192.0.2.7"}, origin="spring")
    decision = await ask(pool, place.bakery, ANN, NOON - timedelta(days=1), purpose="marketing")
    await pool.execute(
        "UPDATE message SET state = 'sent', tried_at = $2 WHERE id = $1", decision.id, NOON - timedelta(days=1)
    )
    filed = await complain(pool, merchant="bakery")
    outcome = await actions.consent_status.run(run)
    assert outcome.said == (
        f"complaint {filed.complaint.id}: bakery marketing when it last texted them: given 2026-04-04 19:00 UTC by "
        "website spring, bakery informational when it last texted them: given 2026-04-04 19:00 UTC by website spring"
    )
    (one,) = outcome.evidence["complaints"]
    assert one["consents"][0]["then"]["row"]["disclosure"] == FORM
    assert one["consents"][0]["then"]["row"]["evidence"] == ["ip", "method"]
    assert one["consents"][0]["now"]["holds"] is False
    assert "192.0.2.7" not in json.dumps(outcome.evidence, default=str)


async def test_where_there_is_no_consent_it_says_so_plainly(pool, run):
    filed = await complain(pool)
    outcome = await actions.consent_status.run(run)
    assert outcome.said == (f"complaint {filed.complaint.id}: no consent of theirs is on record, for any merchant")


async def test_a_consent_that_was_entered_after_the_text_did_not_hold_then(pool, run, place):
    await grant(pool, place.bakery, ANN, NOON - timedelta(days=1))
    decision = await ask(pool, place.bakery, ANN, NOON - timedelta(hours=1))
    await pool.execute(
        "UPDATE message SET state = 'sent', tried_at = $2 WHERE id = $1", decision.id, NOON - timedelta(days=2)
    )
    await complain(pool, merchant="bakery")
    outcome = await actions.consent_status.run(run)
    assert "1 text went out without consent" in outcome.said


async def test_an_earlier_stop_is_found_with_what_was_sent_after_it(pool, run, place):
    await grant(pool, place.bakery, ANN)
    await stop(pool, place.bakery, ANN, NOON - timedelta(days=3))
    filed = await complain(pool, merchant="bakery")
    found = await actions.earlier_stops.run(run)
    assert found.said == (
        f"complaint {filed.complaint.id}: they said stop since 2026-05-01 19:00 UTC (bakery), "
        "and nothing went out after it"
    )
    await pool.execute(
        "INSERT INTO message (merchant_id, customer_id, purpose, state, rule, created_at, send_at, tried_at) "
        "VALUES ($1, $2, 'marketing', 'sent', 'consent', $3, $3, $3)",
        place.bakery,
        filed.complaint.customer_id,
        NOON - timedelta(days=2),
    )
    assert (await actions.earlier_stops.run(run)).said.endswith("and 1 text went out after it")


async def test_what_was_sent_between_coming_back_and_the_next_stop_is_not_held_against_anybody(pool, run, place):
    await grant(pool, place.bakery, ANN)
    before, between = [await text(pool, place.bakery, ANN, NOON - 90 * MINUTE) for _ in range(2)]
    await complain(pool, now=NOON - 60 * MINUTE)
    await come_back(pool, place.bakery, ANN, NOON - 40 * MINUTE)
    for number, at in ((before, -50), (between, -30)):
        await pool.execute("UPDATE message SET tried_at = $2 WHERE id = $1", number, NOON + at * MINUTE)
    second = await complain(pool)
    seen = await view.of_person(pool, second.complaint, NOON)
    assert actions.sent_after(seen, seen.earlier_blocks) == [before]


async def test_the_block_is_evidence_and_is_made_again_if_somebody_lifted_it(pool, run, place):
    filed = await complain(pool)
    assert filed.complaint.suppression_id is not None
    first = await actions.suppress.run(run)
    assert first.said == "1 person blocked for every merchant as they complained; 0 texts that waited cancelled"
    async with pool.acquire() as db, db.transaction():
        await suppressing.lift(
            db, filed.complaint.suppression_id, actor="eve", why="it was taken for another number by mistake", now=NOON
        )
    again = await actions.suppress.run(run)
    assert "again after the block had been lifted" in again.said
    assert (await ask(pool, place.bakery, ANN, now=NOON + MINUTE)).rule == "suppressed"


async def test_silence_is_not_proved_while_twilio_cannot_be_asked(pool, run):
    await complain(pool)
    outcome = await actions.prove_silence.run(run)
    assert isinstance(outcome, Failed)
    assert "HOLDFAST_TWILIO_ACCOUNT_SID" in outcome.said
    assert outcome.evidence["proofs"][0]["sent_since"] == 0


# The answer


async def test_an_answer_is_drafted_with_all_that_it_must_say_and_nobodys_whole_address(pool, run, place):
    await complain(pool, merchant="bakery", answer_to="ann.smith@example.com")
    await complain(pool, BOB, answer_to=BOB)
    text = await drafted(actions.draft_reply, replace(run, settings=MAIL))
    assert "ann.smith" not in text
    assert "mailed to a…@example.com" in text
    assert "to be told by a person (…0122)" in text
    first = next(iter(letters.parts(text).values()))
    assert "We are sorry" in first
    assert "blocked for every business" in first
    assert "text START to +14155550100 or say so at [link to bakery] for those of The Bakery" in first
    assert first.endswith("Acme")


async def test_approved_it_is_mailed_once_and_the_hours_clock_stops(pool, run, place):
    filed = await complain(pool, merchant="bakery", answer_to="ann@example.com")
    other = await complain(pool, BOB, answer_to=BOB)
    run = replace(run, settings=MAIL, actor="ann")
    assert await offered(actions.draft_reply, run) is None
    await steps.put(
        pool, run.incident.id, ASK.key, "asking", said="", now=NOON, draft=await drafted(actions.draft_reply, run)
    )
    outcome = await actions.draft_reply.run(run)
    assert outcome.said == (
        f"complaint {filed.complaint.id} answered by mail; complaint {other.complaint.id} to be answered by a person "
        f"(holdfast complaints answer {other.complaint.id} --how phone --text …)"
    )
    assert [one.step for one in await owed(pool, run.incident)] == [other.complaint.owes]
    ((key, subject, text),) = await sent(pool)
    assert (key, subject) == (f"complaint-{filed.complaint.id}/reply", letters.SUBJECT)
    found = re.search(r"http://127\.0\.0\.1:8080/consent/(\S+)", text)
    assert found is not None
    offer = await links.find(pool, found[1])
    assert offer is not None
    assert (offer.merchant_id, offer.purpose) == (place.bakery, "informational")
    kept = await store.get(pool, filed.complaint.id)
    assert kept is not None
    assert (kept.answer_how, kept.answered_by) == ("email", "ann")
    assert found[1] not in (kept.answer or "")
    await actions.draft_reply.run(run)
    assert len(await sent(pool)) == 1


async def test_what_a_person_wrote_goes_out_and_a_part_that_was_taken_out_does_not(pool, run):
    first = await complain(pool, answer_to="ann@example.com")
    second = await complain(pool, BOB, answer_to="bob@example.com")
    await actions.acknowledge.run(run)
    text = f"{letters.heading(first.complaint)}\nDear Ann, never again."
    outcome = await actions.draft_reply.run(replace(run, settings=MAIL, text=text))
    assert outcome.evidence == {"mailed": [first.complaint.id], "by_hand": [second.complaint.id]}
    ((_, _, body),) = await sent(pool)
    assert body == "Dear Ann, never again."


async def test_without_headings_one_answer_is_whole_and_of_two_nobody_knows_whose(pool, run):
    await complain(pool, answer_to="ann@example.com")
    await complain(pool, BOB, answer_to="bob@example.com")
    await actions.acknowledge.run(run)
    both = replace(run, settings=MAIL, text="Sorry!")
    outcome = await actions.draft_reply.run(both)
    assert isinstance(outcome, Failed)
    assert await sent(pool) == []
    (first, _) = await store.of_incident(pool, run.incident.id, 9)
    await service.answer(pool, first.id, how="phone", text="Sorry.", actor="sue", now=NOON)
    assert isinstance(await actions.draft_reply.run(both), Done)
    assert [one[2] for one in await sent(pool)] == ["Sorry!"]


async def test_a_link_that_cannot_be_made_leaves_the_complaint_unanswered(pool, run):
    filed = await complain(pool, answer_to="ann@example.com")
    await actions.acknowledge.run(run)
    outcome = await actions.draft_reply.run(replace(run, settings=MAIL, text="Come back: [link to nowhere]"))
    assert isinstance(outcome, Failed)
    kept = await store.get(pool, filed.complaint.id)
    assert kept is not None
    assert kept.answered_at is None
    assert await sent(pool) == []


async def test_it_is_waited_until_all_are_answered_and_told_who_was_late(pool, run):
    first, second = await complain(pool), await complain(pool, BOB)
    outcome = await actions.answered.run(run)
    assert isinstance(outcome, Waiting)
    for one, at in ((first, NOON + 10 * MINUTE), (second, NOON + 70 * MINUTE)):
        await service.answer(pool, one.complaint.id, how="phone", text="Sorry.", actor="sue", now=at)
    outcome = await actions.answered.run(run)
    assert outcome.said.endswith(f"complaint {second.complaint.id} too late")
    assert outcome.evidence["longest_s"] == 4200


async def test_compliance_is_told_of_each_complaint_once_without_words_and_number(pool, run, place):
    await imported(pool, place.bakery, ANN, *OTHERS[:4])
    first = await complain(pool, merchant="bakery")
    run = replace(run, settings=MAIL)
    assert isinstance(await actions.notify_compliance.run(run), Done)
    assert isinstance(await actions.notify_compliance.run(run), NotApplicable)
    second = await complain(pool, BOB)
    outcome = await actions.notify_compliance.run(run)
    assert outcome.evidence == {"complaints": [second.complaint.id]}
    mails = await sent(pool)
    assert [key for key, _, _ in mails] == [f"complaint-{one.complaint.id}/compliance" for one in (first, second)]
    assert "import" in mails[0][2]
    assert "5 people" in mails[0][2]
    assert not any(word in text for _, _, text in mails for word in (ANN, BOB, "signed up"))
    assert isinstance(await actions.notify_compliance.run(replace(run, settings=SETTINGS)), Failed)
    events = await inbox.own_events(pool, "complaint-", "incident.compliance")
    assert len(events) == 2


# How they came in


async def test_how_they_came_in_is_told_with_who_imported_them_and_what_was_refused(pool, run, place):
    number = await imported(pool, place.bakery, ANN, *OTHERS[:9])
    await pool.execute(
        "INSERT INTO import_reject (batch_id, line, reason, said) VALUES ($1, 3, 'no phone number', 'x')", number
    )
    filed = await complain(pool, merchant="bakery")
    outcome = await investigation.origin.run(run)
    assert f"complaint {filed.complaint.id} came by import {number} of bakery, as 9 others did" in outcome.said
    assert f"import {number} (people.csv) was made by ann on" in outcome.said
    assert "1 rows refused (no phone number)" in outcome.said
    assert outcome.evidence["imports"][0]["reasons"] == {"no phone number": 1}


async def test_how_consent_was_collected_is_told_with_what_is_missing(pool, run, place):
    await grant(pool, place.bakery, ANN, origin="spring", collector="Sue", detail={"method": "web", "ip": "192.0.2.1"})
    for phone in OTHERS[:3]:
        await grant(pool, place.bakery, phone, origin="spring", disclosure=None)
    await complain(pool, merchant="bakery")
    outcome = await investigation.collection_review.run(run)
    assert outcome.said == (
        "form spring of bakery: 4 consents, no text that people were shown for 3 (75%), no method for 3 (75%), "
        "neither an IP address nor a recording for 3 (75%), nobody who collected it for 3 (75%)"
    )
    assert outcome.evidence["ways"][0]["shown"] == [{"text": FORM, "consents": 1}]


async def test_others_of_the_same_way_who_complain_or_stop_are_watched(pool, run, place):
    await imported(pool, place.bakery, ANN, *OTHERS[:9])
    await complain(pool, merchant="bakery")
    await actions.acknowledge.run(run)
    await stop(pool, place.bakery, OTHERS[0])
    run = replace(run, step="complaints.similar")
    await steps.add(pool, run.incident.id, [replace(ASK, key=run.step)])
    first = await investigation.similar.run(run)
    assert "joined" not in first.said
    await steps.put(pool, run.incident.id, run.step, "waiting", said=first.said, now=NOON, evidence=first.evidence)
    other = await complain(pool, OTHERS[1], merchant="bakery")
    outcome = await investigation.similar.run(run)
    assert outcome.said.startswith(f"complaint {other.complaint.id} joined; ")
    assert outcome.evidence["joined"] == [other.complaint.id]
    assert outcome.evidence["ways"][0]["stops"] == 1
    assert outcome.evidence["ways"][0]["complaints"] == 2
    affected = await investigation.affected_others.run(run)
    assert "10 people, 0 of them were texted, 3 are blocked, 2 complained" in affected.said


async def test_a_way_that_an_alert_found_is_looked_into_without_a_complaint(pool, run, place):
    number = await imported(pool, place.bakery, *OTHERS[:6])
    await grant(pool, place.garage, BOB, origin="web")
    named = {"batches": [{"batch": number, "merchant": "bakery"}], "forms": [{"form": "web", "merchant": "garage"}]}
    run = replace(run, incident=replace(run.incident, affected=named))
    outcome = await investigation.affected_others.run(run)
    assert [one["way"] for one in outcome.evidence["ways"]] == [f"import {number}", "form web"]
    assert await offered(investigation.hold_cohort, run) is None


# Held back


async def test_who_came_the_same_way_is_held_back_listed_and_let_go(pool, run, place):
    number = await imported(pool, place.bakery, ANN, *OTHERS[:9])
    await complain(pool, merchant="bakery")
    run = replace(run, step="complaints.hold_cohort", actor="ann")
    hold = investigation.hold_cohort
    assert await offered(hold, run) is None
    assert f"- import {number} of bakery: 10 people" in await drafted(hold, run)
    outcome = await hold.run(run)
    assert outcome.said.startswith(f"10 people of import {number} of bakery are held back")
    assert hold.verifies is not None
    assert await hold.verifies(run)
    (mitigation,) = await investigation.holds(pool, run.incident.id)
    assert mitigation.what == f"10 people of import {number} get no text of bakery"
    await grant(pool, place.bakery, OTHERS[20], source="import", batch_id=number)
    assert not await hold.verifies(run)
    assert hold.undoes is not None
    assert await hold.undoes(run) == "10 people may be texted by that merchant again"
    assert await blocked(pool) == set()
    assert await investigation.holds(pool, run.incident.id) == []


async def test_whom_two_incidents_hold_back_only_the_last_of_them_lets_go(pool, run, place):
    number = await imported(pool, place.bakery, ANN, *OTHERS[:9])
    for phone in (OTHERS[0], OTHERS[1], OTHERS[20]):
        await grant(pool, place.bakery, phone, origin="web")
    hold = investigation.hold_cohort
    runs = []
    for scope, affected in (
        ("one", {"batches": [{"batch": number, "merchant": "bakery"}]}),
        ("two", {"forms": [{"form": "web", "merchant": "bakery"}]}),
    ):
        made = await incident(pool, scope=scope)
        step = replace(ASK, key=cohort.HOLD, action=cohort.HOLD)
        await steps.add(pool, made.id, [step])
        mine = replace(run, incident=replace(made, affected=affected), step=step.key, actor="ann")
        outcome = await hold.run(mine)
        await steps.put(pool, made.id, step.key, "done", said="", now=NOON, actor="ann", evidence=outcome.evidence)
        runs.append(mine)
    assert hold.undoes is not None
    said = await hold.undoes(replace(runs[0], actor="bob"))
    assert said == f"8 people may be texted by that merchant again; 2 are held by incident {runs[1].incident.id}"
    assert await blocked(pool) == {OTHERS[0], OTHERS[1], OTHERS[20]}
    entries = await incidents.entries(pool, runs[1].incident.id)
    assert entries[-1].text.startswith(f"2 people whom incident {runs[0].incident.id} held back as well")
    await steps.put(pool, runs[0].incident.id, cohort.HOLD, "undone", said="", now=NOON)
    assert await hold.undoes(runs[1]) == "3 people may be texted by that merchant again"
    assert await blocked(pool) == set()


async def test_only_those_ways_are_held_back_that_a_person_left_in(pool, run, place):
    number = await imported(pool, place.bakery, ANN, *OTHERS[:3])
    await grant(pool, place.garage, ANN, origin="web")
    await grant(pool, place.garage, BOB, origin="web")
    for merchant in (place.bakery, place.garage):
        await ask(pool, merchant, ANN)
    await complain(pool)
    text = "\n".join(
        line for line in (await drafted(investigation.hold_cohort, run)).splitlines() if "form web" not in line
    )
    outcome = await investigation.hold_cohort.run(replace(run, text=text))
    assert [one["way"] for one in outcome.evidence["held"]] == [f"import {number}"]
    assert BOB not in await blocked(pool)


async def test_kept_nothing_is_in_the_way_of_the_end_any_more(pool, run, place):
    await imported(pool, place.bakery, ANN, *OTHERS[:3])
    await complain(pool, merchant="bakery")
    assert isinstance(await offered(investigation.keep_cohort, run), NotApplicable)
    await investigation.hold_cohort.run(run)
    assert await offered(investigation.keep_cohort, run) is None
    assert "holdfast incidents undo" in await drafted(investigation.keep_cohort, run)
    outcome = await investigation.keep_cohort.run(replace(run, text="They never consented.\n\nmore"))
    assert outcome.evidence == {"people": 4}
    assert await investigation.holds(pool, run.incident.id) == []
    assert (await ask(pool, place.bakery, OTHERS[0])).reason == "operator"


async def test_the_auditors_file_is_written_with_its_hash_in_the_log(pool, run, tmp_path):
    filed = await complain(pool)
    run = replace(run, settings=Settings(_env_file=None, data_dir=tmp_path))
    outcome = await REGISTRY.get("complaints.export").run(run)
    (written,) = outcome.evidence["files"]
    assert written["file"] == str(tmp_path / "complaints" / f"complaint-{filed.complaint.id}.zip")
    with zipfile.ZipFile(written["file"]) as opened:
        assert "proof.json" in opened.namelist()
