"""Findings, told at once."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.health.board import STALE, Board
from holdfast.health.model import Finding, Limits, judged

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
LIMITS = Limits(1.0, 5.0)


def told(board, at):
    status, body = board.report(at)
    return status, json.loads(body)


def test_a_report_says_value_threshold_time_and_since_when():
    board = Board(["database"])
    for number, value in enumerate((0.5, 2.0, 3.0)):
        finding = judged("database", "roundTrip", value, "s", LIMITS, why="it is slow")
        board.put([finding], NOON + timedelta(seconds=number))
    status, document = told(board, NOON + timedelta(seconds=3))
    assert (status, document["status"]) == (200, "warn")
    assert document["checks"]["database:roundTrip"] == [
        {
            "componentId": "database",
            "status": "warn",
            "observedValue": 3.0,
            "observedUnit": "s",
            "threshold": "warn above 1, fail above 5",
            "time": "2026-05-04T12:00:02.000+00:00",
            "since": "2026-05-04T12:00:01.000+00:00",
            "output": "it is slow",
        }
    ]


def test_one_failure_fails_the_whole():
    board = Board(["database", "system"])
    board.put([judged("database", "roundTrip", 0.1, "s", LIMITS), judged("system", "cpu", 9, "s", LIMITS)], NOON)
    assert told(board, NOON)[0] == 503
    assert board.components(NOON) == {"database": "pass", "system": "fail"}


def test_what_was_never_probed_is_named_and_alarms_nobody():
    status, document = told(Board(["stripe"]), NOON)
    assert status == 200
    assert document["checks"]["stripe"][0]["output"] == "not probed yet"


def test_a_stale_finding_is_unknown():
    board = Board(["database"])
    board.put([judged("database", "roundTrip", 9, "s", LIMITS)], NOON)
    later = NOON + STALE + timedelta(seconds=1)
    status, document = told(board, later)
    check = document["checks"]["database:roundTrip"][0]
    assert (status, check["known"]) == (200, False)
    assert check["output"] == "last probed 121 s ago"


def test_not_knowing_is_said_but_does_not_hide_a_failure():
    board = Board(["stripe"])
    board.put(
        [Finding("stripe", "api", "unknown", None, "s", "", "no key"), judged("stripe", "x", 9, "s", LIMITS)], NOON
    )
    assert board.components(NOON) == {"stripe": "fail"}


@pytest.mark.parametrize(("value", "status"), [(0.9, "fail"), (0.95, "fail"), (3, "warn"), (7, "pass")])
def test_low_values_may_be_the_bad_ones(value, status):
    assert Limits(5, 1, below=True).status(value) == status
