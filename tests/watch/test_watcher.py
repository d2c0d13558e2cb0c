"""Alerts open when trouble stays, close when it is gone for long enough, and open once for one cause."""

from datetime import UTC, datetime, timedelta

from holdfast.signals.frame import Frame
from holdfast.watch.model import Sighting
from holdfast.watch.settings import WatchSettings
from holdfast.watch.watcher import Watcher

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
STEP = timedelta(seconds=5)


def sighting(key="backlog", **changes):
    made = {
        "key": key,
        "runbook": "webhook-backlog",
        "cause": "spike",
        "severity": "warning",
        "title": "events wait",
        "why": "more arrive than usual",
        "since": NOON,
    }
    return Sighting(**(made | changes))


class Script:
    """Shows what the test wants it to."""

    def __init__(self):
        self.shown = []

    def see(self, _frame):
        return self.shown


class Watch:
    def __init__(self, **settings):
        self.script = Script()
        self.watcher = Watcher([self.script], WatchSettings(**settings))
        self.now = NOON

    def sees(self, *sightings, ticks=1):
        self.script.shown = list(sightings)
        for _ in range(ticks):
            self.now += STEP
            open_now = self.watcher.tick(Frame(self.now))
        return [alert.key for alert in open_now]


def test_an_alert_opens_after_as_many_certain_sightings_in_a_row_as_it_takes():
    watch = Watch()
    patient = sighting(patience=3)
    assert watch.sees(patient, ticks=2) == []
    assert watch.sees() == []
    assert watch.sees(patient, ticks=2) == []
    assert watch.sees(patient) == ["backlog"]


def test_what_is_only_not_quite_well_opens_nothing_but_keeps_an_alert_open():
    watch = Watch(closes_after=20)
    weak = sighting(certain=False)
    assert watch.sees(weak, ticks=20) == []
    assert watch.sees(sighting()) == ["backlog"]
    assert watch.sees(weak, ticks=20) == ["backlog"]
    assert watch.sees(ticks=3) == ["backlog"]
    assert watch.sees(ticks=1) == []


def test_a_symptom_opens_no_alert_while_its_cause_is_there_nor_shortly_after():
    watch = Watch(closes_after=10, explained_for=60)
    symptom = sighting(explained_by=("database",))
    root = sighting("database")
    assert watch.sees(root, symptom, ticks=3) == ["database"]
    assert watch.watcher.explained == {"backlog": "database"}
    assert watch.sees(symptom, ticks=2) == []  # the root closed, and still explains
    assert watch.sees(symptom, ticks=12) == []
    assert watch.sees(symptom) == ["backlog"]


def test_a_cause_that_was_opened_first_does_not_close_its_symptom():
    watch = Watch()
    symptom = sighting(explained_by=("database",))
    assert watch.sees(symptom) == ["backlog"]
    assert watch.sees(symptom, sighting("database")) == ["backlog", "database"]


def test_an_alert_that_flaps_takes_four_times_as_long_to_close():
    watch = Watch(closes_after=10, flapping=3)
    for _ in range(2):
        assert watch.sees(sighting()) == ["backlog"]
        assert watch.sees(ticks=3) == []
    assert watch.sees(sighting()) == ["backlog"]
    assert watch.watcher.is_flapping("backlog", watch.now)
    assert watch.sees(ticks=7) == ["backlog"]
    assert watch.sees(ticks=2) == []


def test_what_becomes_known_is_said_and_the_worst_stays():
    watch = Watch()
    watch.sees(sighting(severity="critical"))
    opened = watch.watcher.open[0]
    watch.sees(sighting(cause="sustained"))
    now = watch.watcher.open[0]
    assert (now.cause, now.severity, now.opened_at) == ("sustained", "critical", opened.opened_at)


def test_a_new_leader_goes_on_with_the_alerts_of_the_one_before():
    before = Watch()
    before.sees(sighting())
    after = Watch(closes_after=20)
    after.watcher.adopt(before.watcher.open)
    assert after.sees(sighting()) == ["backlog"]
    assert after.watcher.open[0].opened_at == before.watcher.open[0].opened_at
    assert after.sees(ticks=5) == []


def test_what_is_long_gone_is_forgotten():
    watch = Watch()
    for number in range(100):
        watch.sees(sighting(f"backlog-{number}", certain=False))
    watch.sees()
    assert len(watch.watcher._states) == 0
