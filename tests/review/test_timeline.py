"""The timeline: the whole log, told once where it says the same again and again."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from holdfast.incidents.model import Entry
from holdfast.review.model import AlertFacts, Turn
from holdfast.review.timeline import MOST_MARKS, fold, marks, timeline
from tests.review.storm import BEGAN, at

KINDS = ("opened", "alert", "state", "step", "lever", "message", "note", "person", "obligation")
TEXTS = ("waits: 7 to go", "waits: 12 to go", "done", "router.concurrency 4 → 2", "")


def entry(number=1, kind="step", text="waits: 7 to go", minutes=1.0, **changes):
    fields = {"actor": "holdfast", "step": "verify", "evidence": {}} | changes
    return Entry(number, 1, at(minutes), kind, text=text, **fields)


logs = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.sampled_from(TEXTS), st.sampled_from(("a", "b")), st.sampled_from((None, "x"))
    ),
    max_size=40,
).map(
    lambda made: [
        entry(number, kind, text, number / 10, actor=actor, step=step)
        for number, (kind, text, actor, step) in enumerate(made, 1)
    ]
)


@given(logs)
def test_folding_keeps_every_entry_once_and_in_order(log):
    lines = fold(log)
    assert [number for line in lines for number in line.entries] == [one.id for one in log]
    assert sum(line.count for line in lines) == len(log)
    by_id = {one.id: one for one in log}
    for line in lines:
        assert (line.at, line.until) == (by_id[line.entries[0]].at, by_id[line.entries[-1]].at)
        assert line.text == by_id[line.entries[-1]].text
        assert {(by_id[one].kind, by_id[one].actor, by_id[one].step) for one in line.entries} == {
            (line.kind, line.actor, line.step)
        }


@given(logs)
def test_the_timeline_keeps_every_entry_and_its_marks_count_up_in_time(log):
    turn = Turn(at(2), "set", "router.concurrency", "", "4", "2", "ada", "why")
    lines = timeline(log, (), (turn,), frozenset(("x",)))
    assert sorted(number for line in lines for number in line.entries) == [one.id for one in log]
    marked = marks(lines)
    assert [line.mark for line in marked] == list(range(1, len(marked) + 1))
    assert [line.at for line in marked] == sorted(line.at for line in marked)
    assert len(marked) <= MOST_MARKS


def test_a_step_that_waits_with_other_numbers_each_time_is_one_line():
    (line,) = fold([entry(n, text=f"waits: {100 - n} to go", minutes=n) for n in range(1, 6)])
    assert (line.count, line.text, line.at, line.until) == (5, "waits: 95 to go", at(1), at(5))


def test_notes_that_differ_in_a_number_are_two_lines():
    assert len(fold([entry(1, "note", "7 calls"), entry(2, "note", "8 calls")])) == 2


def test_a_lever_that_the_log_tells_shows_what_it_was_before():
    turn = Turn(at(1), "set", "router.concurrency", "", "4", "2", "holdfast", "storm", step="reduce")
    (line,) = timeline([entry(kind="lever", text="router.concurrency is 2")], (), (turn,), frozenset())
    assert line.details == ("router.concurrency 4 → 2",)


def test_a_lever_that_the_log_does_not_tell_is_added():
    turn = Turn(at(5), "set", "processes.workers", "", "its default", "6", "ada", "help")
    lines = timeline([entry(minutes=1), entry(2, "state", "x", 9)], (), (turn,), frozenset())
    assert [line.kind for line in lines] == ["step", "lever", "state"]
    assert (lines[1].text, lines[1].actor) == ("processes.workers: its default → 6", "ada")


def test_an_alert_is_told_with_its_evidence_when_it_opens_and_not_when_it_closes():
    alert = AlertFacts(1, "storm", "Too much", "critical", "stripe", "why", at(0), at(1), at(20), ("duplicates 62 %",))
    log = [entry(1, "alert", "storm joined: Too much", 1, step=None), entry(2, "alert", "storm closed", 20, step=None)]
    opened, closed = timeline(log, (alert,), (), frozenset())
    assert opened.details == ("duplicates 62 %", "stripe: why")
    assert closed.details == ()


def test_an_alert_that_opened_twice_is_told_each_time_with_its_own_evidence():
    first = AlertFacts(1, "storm", "Too much", "critical", "stripe", "why", at(0), at(1), at(20), ("62 %",))
    again = AlertFacts(2, "storm", "Too much", "critical", "stripe", "why", at(29), at(30), None, ("70 %",))
    text = "Too much. Probable cause: stripe. why"
    log = [entry(n, "alert", text, at_, step=None, evidence={"alert": n}) for n, at_ in ((1, 1), (2, 30))]
    assert [line.details for line in timeline(log, (first, again), (), frozenset())] == [("62 %",), ("70 %",)]


def test_only_the_end_of_a_step_that_acted_is_marked():
    log = [
        entry(1, "step", "reduce: waits for ada", 1, step="reduce"),
        entry(2, "step", "reduce: done", 2, step="reduce"),
        entry(3, "step", "look: done", 3, step="look"),
    ]
    assert [line.entries for line in marks(timeline(log, (), (), frozenset(("reduce",))))] == [(2,)]


def test_evidence_is_told_in_a_few_words_and_tables_are_left_to_the_log():
    (line,) = fold([entry(evidence={"late": 7, "rows": [1, 2], "why": "x" * 500})])
    assert line.details[0] == "late: 7"
    assert len(line.details) == 2
    assert len(line.details[1]) == 200


def test_many_marks_leave_out_what_matters_least():
    log = [entry(n, "alert", f"alert {n}", n / 10, step=None) for n in range(1, 40)]
    log.append(Entry(99, 1, BEGAN + timedelta(hours=1), "state", "ada", "monitoring → resolved"))
    marked = marks(timeline(log, (), (), frozenset()))
    assert len(marked) == MOST_MARKS
    assert marked[-1].kind == "state"
