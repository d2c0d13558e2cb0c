"""What the team is told of an incident about consent: complaints and whom they block, not queues."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from holdfast.comms import consent_wording, texts
from holdfast.comms.actions import team_update
from holdfast.comms.affected import ConsentFigures, affected
from holdfast.comms.figures import figures
from holdfast.comms.wording import wording
from holdfast.complaints import service
from holdfast.config import Settings
from holdfast.runbooks.actions import Done, Run
from tests.complaints.people import MINUTE, adopt, complain, incident
from tests.messaging.texts import ANN, BOB, NOON, ask, grant, town

QUIET = ConsentFigures(1, 0, 0, NOON, 1, 0, 0, 0)


async def test_the_teams_update_counts_complaints_answers_blocks_held_texts_and_findings(pool, tmp_path):
    found = await town(pool)
    cal = "+13035550133"
    await grant(pool, found.garage, cal)
    await ask(pool, found.garage, cal)
    first = await complain(pool, ANN, merchant="bakery")
    await complain(pool, BOB, merchant="bakery", now=NOON + 5 * MINUTE)
    made = await incident(pool)
    await adopt(pool, made, NOON + 6 * MINUTE)
    await service.answer(pool, first.complaint.id, how="phone", text="Sorry.", actor="sue", now=NOON + 10 * MINUTE)
    await pool.execute(
        "INSERT INTO lever (name, target, value, actor, reason, set_at) "
        "VALUES ('messaging.texts', $1, '\"hold\"', 'sue', 'complaints', $2)",
        f"merchant:{found.garage}",
        NOON,
    )
    await pool.execute(
        "INSERT INTO audit_finding (kind, subject, merchant_id, sent_at, found_at, said, is_critical) "
        "VALUES ('bypassed', 'SM1', $1, $2, $2, '', true)",
        found.garage,
        NOON,
    )
    now = NOON + 15 * MINUTE
    seen = await figures(pool, Settings(_env_file=None), now, made)
    assert seen.consent == ConsentFigures(2, 1, 0, NOON + timedelta(minutes=65), 2, 1, 1, 1)
    settings = Settings(_env_file=None, data_dir=tmp_path, team_channels="https://team.example/hook")
    done = await team_update.run(Run(pool, settings, made, "comms.team_update", 1, now))
    assert isinstance(done, Done)
    text = done.evidence["text"]
    for part in (
        "2 complaints, 1 answered; the next answer is due by 20:05 UTC; 2 people blocked; 1 text held; "
        "1 finding of the audit open (1 critical).",
        "2 merchants (bakery, garage), 2 complaints about them, 1 finding of the audit.",
    ):
        assert part in text
    assert "nothing waits" not in text
    assert done.evidence["consent"]["due_at"] == "2026-05-04T20:05:00+00:00"


async def test_nobody_is_affected_by_complaints_that_name_no_merchant(pool):
    await town(pool)
    await complain(pool)
    made = await incident(pool)
    await adopt(pool, made)
    assert await affected(pool, made, NOON) == []


def test_what_is_overdue_is_said_and_what_is_none_of_it_is_not():
    late = replace(QUIET, complaints=3, answered=1, late=2, blocked=3)
    said = consent_wording.now_words(late)
    assert said.startswith("3 complaints, 1 answered; 2 answers overdue; the first was due by 19:00 UTC; 3 people")
    assert "due" not in consent_wording.now_words(replace(QUIET, answered=1, due_at=None))
    assert "1 person blocked" in consent_wording.now_words(QUIET)


async def test_mails_about_it_name_nobody_and_tell_each_of_its_own(pool):
    found = await town(pool)
    await complain(pool, merchant="bakery")
    made = await incident(pool)
    await adopt(pool, made)
    (bakery,) = await affected(pool, made, NOON)
    assert (bakery.id, bakery.complaints) == (found.bakery, 1)
    for said in (
        texts.merchant_mail(made, bakery, next_at=NOON, now=NOON),
        texts.all_clear(made, bakery, NOON),
    ):
        assert "payment" not in said.text
        assert "Complaints: 1 about texts of yours" in said.text
    notice = Path(texts.__file__).parent / "templates" / wording(made).notice
    assert "STOP" in notice.read_text()
