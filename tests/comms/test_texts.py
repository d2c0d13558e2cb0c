"""What people are told: short, with figures, and of nobody but themselves."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast.comms import texts
from holdfast.comms.affected import AffectedMerchant
from holdfast.comms.figures import Figures
from holdfast.comms.words import length, listed, many
from holdfast.incidents.model import Entry, StepRow
from tests.comms.town import incident

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
NOW = NOON + timedelta(minutes=48)
TROUBLE = incident(NOON, state="mitigating", commander="ann", title="Events wait to be routed")
BUSY = Figures(12_300, 4_100, 12, 380.0, 1500.0, 2, "router.concurrency is 1, 2 by the settings")
QUIET = Figures(0, 0, 0, 0.0, 0.0, 2, "")
BAKERY = AffectedMerchant(
    1, "bakery", "Bakery & Sons", "o@bakery.example", 120, 40, 300.0, 3, ("https://b.example",), 720
)
FLORIST = AffectedMerchant(2, "florist", "Florist", None, 7, 0, 0.0, 0, (), 400.0)


def entry(number, kind, text, actor="holdfast"):
    return Entry(number, 7, NOON + timedelta(minutes=number), kind, actor, text)


def step(key, state, kind="do", **fields):
    given = {"phase": "immediate", "group": "", "action": key, "parameters": {}, "role": "responder", "every": None}
    return StepRow(7, key, 0, kind=kind, text=f"Do {key}", state=state, **(given | fields))


def update(course=None, seen=BUSY, **options):
    given: dict[str, Any] = {"number": 3, "next_at": NOW + timedelta(minutes=30), "now": NOW}
    return texts.team_update(TROUBLE, course or texts.Course([], []), seen, **(given | options))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (119, "119 s"), (720, "12 min"), (3 * 3600 + 300, "3 h 5 min"), (3 * 86_400, "3 d")],
)
def test_lengths_are_as_people_say_them(seconds, said):
    assert length(seconds) == said


def test_counts_and_lists_are_as_people_say_them():
    assert (many(1, "event"), many(2000, "event")) == ("1 event", "2,000 events")
    assert listed(list("abcdefg"), 5) == "a, b, c, d, e and 2 more"


def test_an_announcement_says_what_since_when_how_bad_and_how_to_acknowledge():
    said = texts.announcement(TROUBLE, NOW)
    assert said.subject == "Incident 7 [critical] Events wait to be routed"
    for part in ("2026-05-04 12:00 UTC (48 min)", "Commander: ann", "holdfast incidents ack 7", "webhook-backlog"):
        assert part in said.text


def test_a_failed_step_waits_with_all_that_can_be_done_about_it():
    rows = [step("queue.drain", "failed", said="no answer"), step("phone.bank", "asking", kind="task")]
    said = update(texts.Course([], rows)).text
    assert "Do queue.drain: no answer (holdfast incidents retry|done|skip 7 queue.drain)" in said
    assert "Do phone.bank (holdfast incidents done 7 phone.bank)" in said


@pytest.mark.parametrize("state", ["resolved", "reviewed"])
def test_no_next_update_is_promised_when_it_is_over(state):
    given: dict[str, Any] = {"number": 3, "next_at": NOW + timedelta(minutes=30), "now": NOW}
    assert "Next update: 13:18 UTC." in texts.team_update(TROUBLE, texts.Course([], []), BUSY, **given).text
    over = incident(NOON, state=state)
    assert "Next update" not in texts.team_update(over, texts.Course([], []), BUSY, **given).text


def test_an_acknowledged_incident_is_not_to_be_acknowledged_again():
    said = texts.announcement(incident(NOON, acknowledged_at=NOW), NOW)
    assert " ack " not in said.text
    assert "Commander: nobody yet" in said.text


def test_an_update_says_how_it_stands_by_log_and_figures():
    new = [
        entry(5, "step", "Reduce concurrency: 2 → 1", "ann"),
        entry(6, "alert", "an alert joined"),
        entry(9, "state", "acknowledged → mitigating"),
    ]
    rows = [
        step("comms.notify_merchants", "asking", kind="ask"),
        step("queue.drain", "waiting", said="3,000 left"),
        step("a.b", "done"),
    ]
    said = update(texts.Course(new, rows, [BAKERY, FLORIST]))
    assert said.subject == "Update 3 on incident 7: Events wait to be routed"
    for part in (
        "State: mitigating. Commander: ann. Since 2026-05-04 12:00 UTC (48 min).",
        "12,300 events to be routed and 4,100 notifications to be sent, the oldest for 6 min",
        "drained in about 25 min",
        "What limits: router.concurrency is 1",
        "2 merchants (bakery, florist), 127 events late by up to 12 min; 3 notifications given up.",
        "- 12:05 UTC Reduce concurrency: 2 → 1 (ann)",
        "- 12:09 UTC acknowledged → mitigating",
        "(holdfast incidents approve 7 comms.notify_merchants)",
        "- Do queue.drain: 3,000 left",
        "Next update: 13:18 UTC.",
    ):
        assert part in said.text
    assert "an alert joined" not in said.text
    assert "\n\n\n" not in said.text


def test_an_update_with_no_news_says_so():
    said = update(seen=QUIET, next_at=None)
    assert "Now: nothing waits." in said.text
    assert "Nothing new since the last update." in said.text
    assert "Next update" not in said.text


def test_what_does_not_drain_is_said():
    assert "does not drain" in texts.now_words(Figures(5, 0, 0, 9.0, None, 0, ""))


def test_a_long_log_is_cut_and_the_last_is_kept():
    said = update(texts.Course([entry(n, "note", f"note {n}") for n in range(40)], []))
    assert "(28 more, by `holdfast incidents show`)" in said.text
    assert "note 39" in said.text
    assert "note 27 " not in said.text


def test_a_persons_words_stand_for_the_log_and_the_figures_stay():
    said = update(texts.Course([entry(5, "note", "secret thought")], []), person=" We wait for Stripe. ")
    assert "We wait for Stripe." in said.text
    assert "12,300 events" in said.text
    assert "secret thought" not in said.text
    assert "Next update: 13:18 UTC." in said.text


def test_a_mail_has_the_merchants_own_figures_in_text_and_html():
    said = texts.merchant_mail(TROUBLE, BAKERY, next_at=NOW + timedelta(hours=1), now=NOW)
    for part in (
        "Hello Bakery & Sons,",
        "since 2026-05-04 12:00 UTC",
        "Late: 120 events of yours",
        "Still waiting: 40 of them, the oldest since 12:43 UTC",
        "Longest: 12 min",
        "Given up: 3 notifications",
        "Does not answer: https://b.example",
        "We write again by 2026-05-04 13:48 UTC",
    ):
        assert part in said.text
    assert said.html is not None
    assert "Hello Bakery &amp; Sons," in said.html
    assert "120 events of yours" in said.html


def test_html_of_names_and_texts_is_escaped():
    evil = AffectedMerchant(3, "x", "<script>alert(1)</script>", "a@x.example", 1, 0, 0.0, 0)
    said = texts.merchant_mail(TROUBLE, evil, next_at=NOW, now=NOW, paragraph="1 < 2\n\n<b>")
    assert said.html is not None
    assert "<script>" not in said.html
    assert "1 &lt; 2" in said.html
    assert "<b>" not in said.html


def test_a_draft_says_how_many_get_it_and_shows_the_first():
    draft = texts.merchant_draft(TROUBLE, [BAKERY, FLORIST], next_at=NOW, now=NOW)
    assert draft.startswith("since 2026-05-04 12:00 UTC")
    assert "Goes to 1 merchant, each with figures of its own; 1 merchant without an address" in draft
    assert "As Bakery & Sons gets it:" in draft


def test_an_unchanged_draft_sent_back_is_the_paragraph_and_nobodys_figures():
    draft = texts.merchant_draft(TROUBLE, [BAKERY], next_at=NOW, now=NOW)
    assert texts.edited_paragraph(TROUBLE, draft) == texts.default_paragraph(TROUBLE)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (None, None),
        ("  \n", None),
        ("We are on it.\n\nSoon more.", "We are on it.\n\nSoon more."),
        ("We are on it.\n- Late: 120 events of yours", "We are on it."),
        (f"We are on it.\n{texts.OWN_FIGURES}\nHello Bakery", "We are on it."),
    ],
)
def test_of_an_edited_draft_only_the_paragraph_is_taken(written, kept):
    assert texts.edited_paragraph(TROUBLE, written) == kept


def test_the_all_clear_says_that_all_is_there_or_what_is_not():
    well = texts.all_clear(TROUBLE, FLORIST, NOW)
    assert "All that were late are with you by now" in well.text
    unwell = texts.all_clear(TROUBLE, BAKERY, NOW)
    assert "Not all of yours are with you yet" in unwell.text
    assert "Given up: 3 notifications" in unwell.text
    assert "tell us" in unwell.text


def test_the_customers_notice_names_nobody():
    text = texts.customer_notice(TROUBLE, [BAKERY, FLORIST], BUSY, NOW)
    assert "by up to 12 min" in text
    assert "by 13:13 UTC" in text
    assert "do not pay a second time" in text
    assert not any(word in text for word in ("Bakery", "bakery", "Florist", "Holdfast"))


def test_a_page_says_what_is_wanted_first():
    said = texts.page(TROUBLE, "Not acknowledged for 5 minutes.", NOW)
    assert said.subject == "[critical] Incident 7: Not acknowledged for 5 minutes."
    assert "holdfast incidents ack 7" in said.text
