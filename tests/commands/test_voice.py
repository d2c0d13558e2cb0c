"""`holdfast voice health` and `holdfast voice alerts`."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.voice.calls import PHONE, alert, legs


def lately():
    return datetime.now(UTC) - timedelta(minutes=2)


async def test_without_calls_it_is_said_that_there_were_none(run):
    status, out, _ = await run("voice", "health")
    assert status == 0
    assert "No call was put through to anybody" in out


async def test_who_is_ill_is_told_with_its_bound_and_its_alerts(run, pool):
    await legs(pool, "+14155550111", "FFFFF", at=lately())
    await legs(pool, "+14155550112", "A" * 30, at=lately())
    await alert(pool, 32011, at=lately(), target="+14155550111")
    _, out, _ = await run("voice", "health")
    assert "Some targets fail: +14155550111" in out
    (row,) = [row for row in out.splitlines() if row.startswith("target")]
    assert all(said in row for said in ("+14155550111", "43-100 %", "ill", "32011 x1"))
    assert "+14155550112" not in out
    _, out, _ = await run("voice", "health", "--all")
    assert "+14155550112" in out


async def test_health_is_one_json_document(run, pool):
    await legs(pool, "+14155550111", "FFFFF", at=lately())
    _, out, _ = await run("voice", "health", "--window", "1h", "--json")
    told = json.loads(out)
    assert told["window_s"] == 3600
    assert told["isolation"]["extent"] == "targets"
    line = next(line for line in told["lines"] if line["kind"] == "target")
    assert (line["tried"], line["failed"], line["verdict"]) == (5, 5, "ill")


@pytest.mark.parametrize(("window", "status"), [("2d", 1), ("soon", 2)])
async def test_a_window_that_cannot_be_is_refused(run, window, status):
    assert (await run("voice", "health", "--window", window))[0] == status


async def test_alerts_are_told_by_code_with_whose_trouble_they_are(run, pool):
    for _ in range(3):
        await alert(pool, 11200, at=lately(), phone=PHONE)
    await alert(pool, 32011, at=lately(), target="sip:desk@example.com")
    _, out, _ = await run("voice", "alerts")
    first = out.splitlines()[1]
    assert all(said in first for said in ("11200", "3", "ours", "our door answered with an error"))
    assert "sip:desk@example.com" in out
    _, out, _ = await run("voice", "alerts", "--code", "32011", "--json")
    told = json.loads(out)
    assert [one["code"] for one in told["codes"]] == [11200, 32011]
    assert [one["target"] for one in told["alerts"]] == ["sip:desk@example.com"]


async def test_a_debugger_that_says_nothing_is_said_to(run):
    _, out, _ = await run("voice", "alerts")
    assert out.strip() == "The Debugger says nothing."
