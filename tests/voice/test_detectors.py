"""What the detectors of Twilio outages say of frames, and what the watcher opens of it."""

from collections.abc import Sequence

import pytest

from holdfast.detectors import watcher
from holdfast.voice.detectors import DEBUGGER, NUMBERS, OURS, REGIONS, TARGETS, TWILIO
from holdfast.watch.model import Alert
from tests.voice.frames import frame

WELL = {("US", "answered"): 3.0, ("US", "no-answer"): 1.0, ("DE", "answered"): 2.0}
ENDED = {("US", "person"): 3.0, ("DE", "person"): 2.0}
USUAL = 240
"""Frames: twenty minutes, so that what is usual is known."""


def usual(number, **more):
    return frame(number, **({"legs": WELL, "calls": ENDED, "answers": 6.0, "asked": {"stored": 12.0}} | more))


def played(trouble, *, ticks=24, before=usual):
    """The alerts that are open after a usual time and so many ticks of trouble; `trouble(tick)` gives its frame."""
    watching = watcher()
    for number in range(USUAL):
        assert not watching.tick(before(number))
    opened: Sequence[Alert] = ()
    for tick in range(ticks):
        opened = watching.tick(trouble(USUAL + tick))
    return {alert.key: alert for alert in opened}


def test_when_legs_fail_everywhere_twilio_is_down():
    legs = {("US", "failed"): 4.0, ("DE", "failed"): 2.0}
    found = played(lambda n: usual(n, legs=legs, ill={("region", "US"): 0.6, ("region", "DE"): 0.5}))
    assert found.keys() == {TWILIO}
    alert = found[TWILIO]
    assert (alert.runbook, alert.cause, alert.severity) == ("twilio-outage", "down", "critical")
    assert "legs that could not be put through" in alert.title


def test_when_a_third_of_the_legs_fails_everywhere_twilio_is_degraded():
    legs = {("US", "failed"): 2.0, ("US", "answered"): 2.0, ("DE", "failed"): 1.0, ("DE", "answered"): 2.0}
    found = played(lambda n: usual(n, legs=legs))
    assert {key: alert.cause for key, alert in found.items()} == {TWILIO: "degraded"}


def test_when_only_one_region_fails_that_region_is_told_and_twilio_is_not():
    legs = {("DE", "failed"): 2.0, ("US", "answered"): 4.0}
    found = played(lambda n: usual(n, legs=legs, ill={("region", "DE"): 0.7, ("target", "+4930100"): 0.6}))
    assert found.keys() == {REGIONS}
    assert (found[REGIONS].cause, found[REGIONS].severity) == ("regions", "critical")
    assert "region DE" in found[REGIONS].title


def test_when_the_only_region_there_is_fails_it_is_twilio():
    found = played(
        lambda n: usual(n, legs={("US", "failed"): 4.0}, ill={("region", "US"): 0.7}),
        before=lambda n: usual(n, legs={("US", "answered"): 4.0}),
    )
    assert found.keys() == {TWILIO}


def test_where_few_call_twilio_is_down_when_no_region_is_spared():
    ill = {("region", "US"): 0.6, ("region", "DE"): 0.55}
    found = played(lambda n: frame(n, legs={("US", "failed"): float(n % 20 == 0)}, ill=ill), before=frame)
    assert {key: alert.cause for key, alert in found.items()} == {TWILIO: "down"}


def test_one_target_that_fails_is_told_as_one_however_much_it_is_called():
    legs = {("US", "failed"): 2.0, ("US", "answered"): 2.0, ("DE", "answered"): 2.0}
    found = played(lambda n: usual(n, legs=legs, ill={("target", "+14155550111"): 0.7}))
    assert {key: (alert.cause, alert.severity) for key, alert in found.items()} == {TARGETS: ("targets", "warning")}


def test_a_number_whose_calls_fail_is_told():
    found = played(lambda n: usual(n, ill={("number", "+14155550100"): 0.5}))
    assert found.keys() == {NUMBERS}


def test_a_target_that_has_failed_for_hours_is_no_news_but_its_alert_stays_open():
    ill = {("target", "+14155550111"): 0.7}
    assert not played(lambda n: usual(n, ill=ill, ill_for=20_000.0), ticks=100)
    found = played(lambda n: usual(n, ill=ill, ill_for=60.0 if n < USUAL + 20 else 20_000.0), ticks=100)
    assert found.keys() == {TARGETS}
    assert not played(lambda n: usual(n, ill=ill, ill_for=60.0 if n < USUAL + 20 else 90_000.0), ticks=100)


def test_three_unlucky_calls_in_a_quiet_night_alarm_nobody():
    def night(number):
        one = float(number % 60 == 0)
        return frame(number, answers=one, legs={("US", "answered"): 1.0} if one else {})

    def unlucky(number):
        legs = {("US", "failed"): 1.0} if number % 8 == 0 else {}
        return frame(number, legs=legs, calls={("US", "voicemail"): 1.0} if legs else {}, answers=float(bool(legs)))

    assert not played(unlucky, before=night)


def test_when_no_call_comes_any_more_at_a_busy_time_twilio_is_down():
    found = played(frame, ticks=24)
    assert (found[TWILIO].cause, found[TWILIO].severity) == ("down", "critical")
    assert "no call has come" in found[TWILIO].title


def test_when_calls_get_fewer_by_half_in_an_hour_nothing_is_wrong():
    def evening(number):
        gap = int(2 ** ((number - USUAL) / 720))
        return frame(number, answers=float(number % max(1, gap) == 0))

    assert not played(evening, before=lambda n: frame(n, answers=1.0), ticks=2500)


def test_with_few_calls_silence_alone_alarms_nobody_and_with_reports_it_does():
    def few(number):
        return frame(number, answers=float(number % 6 == 0))

    assert not played(frame, before=few, ticks=600)
    assert played(lambda n: frame(n, reports=2), before=few, ticks=600)[TWILIO].cause == "degraded"


def test_while_we_are_not_there_to_be_called_silence_means_nothing():
    assert not {key for key in played(lambda n: frame(n, web=False), ticks=60) if key.startswith("twilio-outage")}


def test_twilios_api_failing_for_two_looks_is_a_degraded_twilio_and_once_is_nothing():
    broken = {"twilio:api": 2.0}
    assert not played(lambda n: usual(n, checks=broken if n < USUAL + 3 else {}), ticks=3)
    found = played(lambda n: usual(n, checks=broken))
    assert (found[TWILIO].cause, found[TWILIO].severity) == ("degraded", "warning")


def test_the_status_page_alone_alarms_nobody_and_confirms_what_we_see():
    red = {"twilio:statusPage": 2.0, "twilio:components": 2.0}
    assert not played(lambda n: usual(n, checks=red), ticks=100)
    legs = {("US", "failed"): 4.0, ("DE", "failed"): 2.0}
    found = played(lambda n: usual(n, checks=red, legs=legs))
    assert [one.observed for one in found[TWILIO].evidence if "status page" in one.what] == [2.0, 2.0]


@pytest.mark.parametrize(
    ("share", "reports", "alarms"), [(0.0, 2, False), (0.0, 5, True), (0.6, 0, False), (0.6, 2, True)]
)
def test_reports_of_unanswered_calls_count_like_a_symptom(share, reports, alarms):
    failed = 3 * share
    legs = {("US", "failed"): failed, ("US", "answered"): 9 - failed, ("DE", "failed"): 1.0, ("DE", "answered"): 4.0}
    found = played(lambda n: usual(n, legs=legs if share else WELL, reports=reports))
    assert (TWILIO in found) == alarms


def test_when_everything_rings_and_nobody_ever_answers_that_is_told():
    found = played(lambda n: usual(n, legs={("US", "no-answer"): 4.0, ("DE", "no-answer"): 2.0}), ticks=40)
    assert "legs that are answered" in found[TWILIO].title


def doors(number, *, every=6, count=3.0):
    return {("ours", "voice", "11200"): count} if number % every == 0 else {}


def test_when_twilio_cannot_use_our_doors_it_is_our_own_fault():
    calls = {("US", "failed"): 3.0, ("DE", "failed"): 2.0}
    found = played(lambda n: usual(n, alerts=doors(n), calls=calls, legs={}))
    assert found.keys() == {OURS}
    assert (found[OURS].cause, found[OURS].severity) == ("doors", "critical")
    assert "(11200): our door answered with an error" in found[OURS].why


def test_alerts_about_another_programs_addresses_are_no_trouble_of_ours():
    foreign = {("other", "voice", "11200"): 30.0}
    assert not played(lambda n: usual(n, alerts=foreign if n % 6 == 0 else {}), ticks=60)


def test_alerts_of_one_restart_are_no_fault():
    assert not played(lambda n: usual(n, alerts=doors(n, count=20.0) if n < USUAL + 6 else {}), ticks=40)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"took": 7.0}, "95 % of Twilio's requests answered within"),
        ({"asked": {"away": 4.0, "stored": 4.0}}, "not answered as they should"),
        ({"asked": {"bad_signature": 12.0}}, "a signature that is not right"),
        ({"spooled": 400.0}, "callbacks wait on disk"),
    ],
)
def test_what_is_wrong_with_our_doors_is_named(trouble, said):
    found = played(lambda n: usual(n, **trouble))
    assert found.keys() == {OURS}
    assert said in found[OURS].title


def test_strangers_at_our_doors_are_no_fault():
    assert not played(lambda n: usual(n, asked={"bad_signature": 40.0, "stored": 12.0}), ticks=100)


def test_a_database_that_is_down_explains_callbacks_that_are_not_stored():
    def away(number):
        made = usual(number, spooled=10.0 * (number - USUAL))
        made.data["database_away"] = frame(0, spooled=10.0 * (number - USUAL + 2)).data["callbacks_spooled"]
        return made

    assert played(away).keys() == {"performance-degradation/database"}


def test_more_alerts_than_usual_are_told_by_their_code():
    found = played(lambda n: usual(n, alerts={("carrier", "voice", "32011"): 30.0} if n % 6 == 0 else {}))
    assert found.keys() == {DEBUGGER}
    assert "32011" in found[DEBUGGER].title
    assert "SIP equipment" in found[DEBUGGER].why


def test_as_many_alerts_as_usual_are_nothing():
    def noisy(number):
        return usual(number, alerts={("customer", "messaging", "30003"): 4.0} if number % 6 == 0 else {})

    assert not played(noisy, before=noisy, ticks=100)


def test_after_an_outage_its_alert_closes():
    watching = watcher()
    legs = {("US", "failed"): 4.0, ("DE", "failed"): 2.0}
    for number in range(USUAL):
        watching.tick(usual(number))
    for number in range(USUAL, USUAL + 60):
        watching.tick(usual(number, legs=legs))
    assert watching.open
    for number in range(USUAL + 60, USUAL + 200):
        watching.tick(usual(number))
    assert not watching.open
