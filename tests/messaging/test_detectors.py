"""What the detectors of consent say of frames, and what the watcher opens of it."""

from datetime import timedelta

import pytest

from holdfast.detectors import consent_settings, watcher
from holdfast.messaging.detectors import AUDIT, FILED, LOOP, MISPLACED, REPLY_DUE, RUNBOOK, SIMILAR, STOP_RATE, TRIES
from holdfast.runbooks.opening import scope
from tests.messaging.frames import NOON, frame

RATE = {"sent": 600.0, "stopped": 48.0, "hours": 3.0, "seconds": 900.0}
PEOPLE = {"people": 3.0, "seconds": 300.0}


def opened(*frames):
    """The alerts that are open after these, by key."""
    watching = watcher()
    for one in frames:
        watching.tick(one)
    return {alert.key: alert for alert in watching.open}


def test_nothing_is_told_where_nothing_is_out_of_line():
    assert opened(*(frame(number, waiting=0.0, due=None) for number in range(30))) == {}


def test_a_complaint_alarms_at_the_first_frame_that_counts_it():
    """Five seconds until it is counted, five until it is looked at."""
    (alert,) = opened(frame(0), frame(1, filed={"api": 1.0})).values()
    assert (alert.key, alert.runbook, alert.cause, alert.severity) == (FILED, RUNBOOK, "complaint", "critical")
    assert "owed an answer" in alert.title
    assert not any(letter.isdigit() for letter in alert.title), "an incident keeps it while more join"
    assert "the API" in alert.why


def test_a_single_text_for_another_merchants_number_is_told_for_an_hour():
    watching = watcher()
    watching.tick(frame(0, misplaced=1.0))
    for number in range(1, 800):
        watching.tick(frame(number))
        if number == 10:
            (alert,) = watching.open
            assert (alert.key, alert.severity) == (MISPLACED, "warning")
            assert "1 text from people" in alert.title
            assert "holdfast numbers set" in alert.why
    assert not watching.open


def test_a_complaint_that_only_the_gauge_tells_of_alarms_as_well():
    assert opened(frame(0, waiting=1.0)).keys() == {FILED}


def test_the_alert_is_over_when_all_complaints_are_answered():
    watching = watcher()
    for number in range(10):
        watching.tick(frame(number, waiting=2.0))
    assert [alert.key for alert in watching.open] == [FILED]
    for number in range(10, 40):
        watching.tick(frame(number, waiting=0.0))
    assert not watching.open


def test_a_complaint_says_what_is_out_of_line_at_the_same_time():
    trouble = {("stop_rate_batch", "batch:7"): 0.06}
    found = opened(frame(0, waiting=1.0, trouble=trouble, facts=RATE))
    assert found[FILED].cause == "batch"
    assert "batch:7" in found[FILED].why
    assert found.keys() == {FILED, f"{STOP_RATE}:batch:7"}


@pytest.mark.parametrize(
    ("left", "severity"), [(3000.0, None), (1201.0, None), (1100.0, "warning"), (5.0, "warning"), (-90.0, "critical")]
)
def test_an_answer_that_is_nearly_due_warns_and_an_overdue_one_is_critical(left, severity):
    found = opened(frame(0, waiting=1.0, due=left))
    assert found.get(REPLY_DUE) is None if severity is None else found[REPLY_DUE].severity == severity


def test_a_warning_becomes_critical_when_the_hour_is_over():
    found = opened(frame(0, waiting=1.0, due=60.0), frame(1, waiting=1.0, due=-5.0))
    assert (found[REPLY_DUE].severity, "overdue" in found[REPLY_DUE].title) == ("critical", True)


@pytest.mark.parametrize(
    ("kind", "of", "cause"),
    [
        ("stop_rate_merchant", "bakery", "merchant"),
        ("stop_rate_batch", "batch:7", "batch"),
        ("stop_rate_origin", "form:bakery:raffle", "form"),
    ],
)
def test_a_stop_rate_is_told_with_its_numbers_and_whose_it_is(kind, of, cause):
    (alert,) = opened(frame(0, trouble={(kind, of): 0.055}, facts=RATE | {"usual": 0.004})).values()
    assert (alert.key, alert.cause, alert.severity) == (f"{STOP_RATE}:{of}", cause, "warning")
    assert of in alert.title
    assert "48 of 600 texts of the last 3 hours" in alert.why
    assert [(one.observed, round(one.compared, 2)) for one in alert.evidence] == [(5.5, 1.5), (48, 5), (8, 0.4)]
    assert alert.since == NOON - timedelta(seconds=900)


def test_twice_what_is_bad_is_critical():
    (alert,) = opened(frame(0, trouble={("stop_rate_merchant", "bakery"): 0.07}, facts=RATE)).values()
    assert alert.severity == "critical"


def test_tries_to_text_who_stopped_are_a_fault_of_the_merchants_list():
    (alert,) = opened(frame(0, trouble={("suppressed_tries", "bakery"): 40.0}, facts=PEOPLE)).values()
    assert (alert.key, alert.cause, alert.severity) == (f"{TRIES}:bakery", "sync", "warning")


def test_a_keyword_loop_is_told_as_one():
    (alert,) = opened(frame(0, trouble={("keyword_loop", "bakery"): 30.0}, facts={"people": 1.0})).values()
    assert (alert.key, alert.cause) == (f"{LOOP}:bakery", "keyword_loop")
    assert "1 person" in alert.title


def test_similar_complaints_name_the_batch():
    (alert,) = opened(frame(0, trouble={("similar_complaints", "batch:7"): 2.0}, facts=PEOPLE)).values()
    assert (alert.key, alert.cause, alert.severity) == (f"{SIMILAR}:batch:7", "batch", "critical")


def test_findings_of_the_audit_are_told_by_kind():
    findings = {("bypassed", "warning"): 3.0, ("after_stop", "critical"): 1.0}
    found = opened(frame(0, findings=findings))
    assert {key: (alert.cause, alert.severity) for key, alert in found.items()} == {
        f"{AUDIT}:bypassed": ("bypass", "warning"),
        f"{AUDIT}:after_stop": ("gate", "critical"),
    }


def test_a_text_around_the_gate_to_somebody_who_stopped_is_critical():
    findings = {("bypassed", "warning"): 3.0, ("bypassed", "critical"): 1.0}
    (alert,) = opened(frame(0, findings=findings)).values()
    assert (alert.severity, alert.title.startswith("4 texts")) == ("critical", True)


def test_what_is_unsaid_for_half_a_minute_stays_open():
    watching = watcher()
    trouble = {("stop_rate_merchant", "bakery"): 0.05}
    for number in range(120):
        is_said = number % 14 < 7
        watching.tick(frame(number, trouble=trouble if is_said else None, facts=RATE))
    (alert,) = watching.open
    assert alert.opened_at == NOON


def test_all_of_it_is_one_matter():
    """Alerts of one runbook and scope join one incident."""
    trouble = {("stop_rate_origin", "form:bakery:a/b/c"): 0.05, ("suppressed_tries", "bakery"): 20.0}
    found = opened(frame(0, waiting=1.0, due=-1.0, trouble=trouble, findings={("bypassed", "warning"): 1.0}))
    assert len(found) == 5
    assert {scope(key) for key in found} == {""}


def test_an_unknown_kind_of_trouble_is_no_alert():
    assert opened(frame(0, trouble={("of_tomorrow", "bakery"): 1.0})) == {}


def test_limits_are_those_of_the_file(tmp_path):
    file = tmp_path / "watch.toml"
    file.write_text("[consent-complaint]\nbad = 0.05\n")
    assert (consent_settings(file).bad, consent_settings(file).stops) == (0.05, 5)
    assert consent_settings().bad == 0.03
