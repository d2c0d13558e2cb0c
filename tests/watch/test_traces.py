"""The labelled traces that `python -m bench watch` judges by: same seed, same frames; faults apart; sound verdicts."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from random import Random

import pytest
from bench.static_rules import StaticRules
from bench.traces import CALL_CAUSES, CAUSES, TEXT_CAUSES, Label, faulty, faulty_calls, faulty_texts, normal
from bench.traces.conditions import DAY, HOUR, Conditions
from bench.traces.measures import TICK
from bench.traces.text_faults import planned as planned_text_fault
from bench.traces.texting import Texting
from bench.traces.texting import drawn as texters
from bench.verdict import Episode, Recorder, judge

from holdfast import web, worker  # noqa: F401 - they register what is measured
from holdfast.signals.frame import Frame
from holdfast.signals.registry import REGISTRY
from holdfast.watch.model import Alert

SEEDS = range(4000, 4006)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_a_seed_gives_the_same_frames_each_time():
    trace = faulty(4001, faults=1, warm_up=HOUR)
    assert list(islice(trace.frames(), 500)) == list(islice(faulty(4001, faults=1, warm_up=HOUR).frames(), 500))
    assert list(islice(trace.frames(), 500)) != list(islice(faulty(4007, faults=1, warm_up=HOUR).frames(), 500))


def test_signals_have_the_names_the_product_has():
    complaints = {"complaints_open", "complaints_due_seconds", "complaints_filed"}
    known = {metric.name for metric in REGISTRY} | {"health_check"} | complaints
    seen = {name for frame in islice(faulty(4002, faults=3, warm_up=0.0).frames(), 3000) for name in frame.data}
    assert seen <= known
    assert len(seen) > 25


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_are_apart_and_of_all_causes(seed):
    labels = faulty(seed, faults=18).labels
    assert {label.cause for label in labels} == set(CAUSES)
    assert all(label.begin <= label.onset < label.end for label in labels)
    assert all(later.begin - earlier.end > 1.5 * HOUR for earlier, later in pairwise(labels))
    assert all(10 * 60 - 1 < label.end - label.begin < 150 * 60 for label in labels)
    assert labels[0].begin > DAY


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_of_calls_are_apart_by_day_and_of_all_causes(seed):
    trace = faulty_calls(seed)
    assert {label.cause for label in trace.labels} - {"down"} <= set(CALL_CAUSES)
    assert {label.runbook for label in trace.labels} == {"twilio-outage"}
    assert all(later.begin - earlier.end > 1.5 * HOUR for earlier, later in pairwise(trace.labels))
    assert all(7 <= label.begin % DAY / HOUR <= 19 for label in trace.labels)
    assert all(label.end - label.begin <= 5 * HOUR + 1 for label in trace.labels)


@pytest.mark.parametrize("seed", SEEDS)
def test_faults_of_consent_are_apart_by_day_and_of_all_causes(seed):
    trace = faulty_texts(seed)
    assert {label.cause for label in trace.labels} == set(TEXT_CAUSES)
    assert {label.runbook for label in trace.labels} == {"consent-complaint"}
    assert all(later.begin - earlier.end > 1.5 * HOUR for earlier, later in pairwise(trace.labels))
    assert all(8 <= label.begin % DAY / HOUR <= 17 for label in trace.labels)


def _texted(seed, hours, happening=None):
    """What is out of line with texts after a morning from eight o'clock on, kinds alone."""
    texting, seen = Texting(Random(seed), texters(seed)), set()
    for number in range(1, int(hours * HOUR / TICK)):
        conditions, now = Conditions(), number * TICK
        if happening is not None and happening.begin <= now <= happening.end:
            happening.apply(conditions, now)
        data = texting.tick(datetime(2026, 3, 2, 8, tzinfo=UTC) + timedelta(seconds=now), conditions)
        seen |= {labels[0] for labels, _ in Frame(NOON, data).levels("texts_trouble")}
    return seen


@pytest.mark.parametrize("seed", SEEDS)
def test_ordinary_campaigns_are_in_line(seed):
    assert _texted(seed, 8) == set()


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("batch", "stop_rate_batch"),
        ("form", "stop_rate_origin"),
        ("merchant", "stop_rate_merchant"),
        ("keyword_loop", "keyword_loop"),
        ("sync", "suppressed_tries"),
    ],
)
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_bad_ones_are_told_as_what_they_are(seed, cause, kind):
    _, happening = planned_text_fault(Random(seed), cause, 600.0)
    assert _texted(seed, 2, happening) == {kind}


def test_calls_that_come_are_put_through_and_end():
    came = ended = legs = 0.0
    for frame in normal(4005, days=0.6, warm_up=0.0).frames():
        came += frame.count("call_answers", "dial", None)
        legs += frame.count("call_legs")
        ended += frame.count("calls")
    assert came == legs
    assert legs >= ended > 1000


def test_normal_days_have_no_labels():
    assert normal(4003, days=3).labels == ()


def test_what_comes_in_is_routed():
    new = routed = depth = 0.0
    for frame in normal(4004, days=0.2, warm_up=0.0).frames():
        new += frame.count("webhooks_received", "stripe", "new")
        routed += frame.count("events_routed")
        depth = sum(level for labels, level in frame.levels("queue_depth") if labels[0] == "route")
    assert new > 500
    assert new == pytest.approx(routed + depth, rel=0.02)


def _alert(at, runbook="webhook-backlog", cause="spike", key="k"):
    return Alert(key, runbook, cause, "critical", "", "", at, at)


def _recorded(frames, opened, closed, **said):
    recorder = Recorder()
    for number in range(1, len(frames) + 1):
        now = number * TICK
        recorder.see(now, [_alert(frames[int(opened / TICK)].at, **said)] if opened <= now < closed else [])
    return recorder


LABEL = Label("webhook-backlog", "spike", "", 1000.0, 1000.0, 2000.0)


@pytest.fixture(scope="module")
def frames():
    return list(islice(normal(4005, days=0.5, warm_up=0.0).frames(), 1000))


def test_an_alert_within_a_fault_finds_it(frames):
    verdict = judge(_recorded(frames, 1030, 1500), [LABEL], 0.0, 5000.0, TICK)
    assert [(one.after, one.runbook, one.cause, one.others) for one in verdict.found] == [(30.0, True, True, False)]
    assert verdict.false_alarms == ()


def test_an_alert_of_another_runbook_finds_it_too_but_is_not_right(frames):
    (found,) = judge(_recorded(frames, 1030, 1500, runbook="other"), [LABEL], 0.0, 5000.0, TICK).found
    assert (found.after, found.runbook, found.others) == (30.0, False, True)


def test_an_alert_that_was_open_before_finds_nothing_and_is_false(frames):
    verdict = judge(_recorded(frames, 500, 1500), [LABEL], 0.0, 5000.0, TICK)
    assert verdict.found[0].after is None
    assert verdict.pages == len(verdict.false_alarms) == 1


def test_an_alert_soon_after_a_fault_is_not_false(frames):
    assert judge(_recorded(frames, 2500, 2600), [LABEL], 0.0, 5000.0, TICK).false_alarms == ()
    assert len(judge(_recorded(frames, 3300, 3400), [LABEL], 0.0, 5000.0, TICK).false_alarms) == 1


def test_what_an_alert_says_is_what_it_said_then():
    episode = Episode("k", 10.0, 200.0, [(10.0, "a", "x"), (100.0, "b", "y")])
    assert episode.at(50.0) == ("a", "x")
    assert episode.at(130.0) == ("b", "y")


def test_static_rules_say_nothing_on_a_quiet_morning(frames):
    rules = StaticRules()
    assert not any(rules.tick(frame) for frame in frames[:700])
