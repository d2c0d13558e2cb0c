"""What the detectors of backlogs say of frames: how bad, why, and whether a lever is behind it."""

from datetime import UTC, datetime, timedelta

from holdfast.queue.detectors import DeliverBacklog, RouteBacklog
from holdfast.signals.buckets import Counts, Data, Levels, joined
from holdfast.signals.frame import Frame

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
BULK = "queue.paused lane:bulk"


def frame(
    number: int,
    *,
    came: float = 0.0,
    routed: float = 0.0,
    planned: float = 0.0,
    sent: float = 0.0,
    depths: dict[str, tuple[float, float]] | None = None,
    stage: str = "route",
    paused: dict[tuple[str, str], float] | None = None,
) -> Frame:
    """`depths`: works and the oldest one's age by lane; `paused`: works by lane and lever."""
    lanes = dict.fromkeys(("critical", "standard", "bulk"), (0.0, 0.0)) | (depths or {})
    data: dict[str, Data] = {
        "process_cpu_ratio": Levels({"worker": 0.3}),
        "webhooks_received": Counts({"stripe\x1fnew": came}),
        "events_routed": Counts({"critical\x1fapplied": routed}),
        "deliveries_planned": Counts({"": planned}),
        "deliveries_settled": Counts({"critical\x1fdelivered": sent}),
        "queue_depth": Levels({joined((stage, lane)): depth for lane, (depth, _) in lanes.items()}),
        "queue_oldest_age_seconds": Levels({joined((stage, lane)): age for lane, (_, age) in lanes.items()}),
    }
    if paused:
        series = {joined((stage, lane, lever)): count for (lane, lever), count in paused.items()}
        data["queue_paused"] = Levels(series)
    return Frame(NOON + timedelta(seconds=5 * number), data)


def seen(detector, frames):
    """The last thing that is said."""
    said = [detector.see(one) for one in frames]
    [sighting] = said[-1]
    return sighting


def routing(**more):
    """Ten events a second come and are routed as ever; for the last minute, beside what is given."""
    return [frame(number, came=50, routed=50, **(more if number >= 180 else {})) for number in range(192)]


def test_a_backlog_in_a_paused_lane_names_the_lever_and_no_fault():
    found = seen(RouteBacklog(), routing(depths={"bulk": (600, 1800)}, paused={("bulk", BULK): 600}))
    assert (found.cause, found.certain) == ("paused", True)
    assert "Levers keep 600 events from being routed: queue.paused lane:bulk (600)" in found.why
    assert "holdfast levers list" in found.why
    assert found.title == "Events wait to be routed: oldest bulk event waits 1,800 s (promise 900 s)"


def test_the_same_backlog_without_a_lever_has_another_cause():
    found = seen(RouteBacklog(), routing(depths={"bulk": (600, 1800)}))
    assert found.cause == "sustained"
    assert "Levers" not in found.why


def test_a_paused_lane_does_not_hide_a_backlog_in_another_one():
    depths = {"bulk": (9000, 90_000), "critical": (300, 40)}
    found = seen(RouteBacklog(), routing(depths=depths, paused={("bulk", BULK): 9000}))
    assert found.cause == "sustained"
    assert found.title.startswith("Events wait to be routed: oldest critical event waits 40 s")
    assert found.why.startswith("The router does less than arrives")
    assert "queue.paused lane:bulk (9,000)" in found.why


def test_a_paused_merchant_explains_what_waits_as_long_as_most_of_it_is_theirs():
    lever = "queue.paused merchant:bakery"
    theirs = seen(RouteBacklog(), routing(depths={"standard": (400, 300)}, paused={("standard", lever): 390}))
    assert (theirs.cause, lever in theirs.why) == ("paused", True)
    others = seen(RouteBacklog(), routing(depths={"standard": (400, 300)}, paused={("standard", lever): 10}))
    assert (others.cause, lever in others.why) == ("sustained", True)


def test_of_many_levers_the_first_are_named():
    paused = {("bulk", f"queue.paused merchant:{number}"): 100.0 + number for number in range(5)}
    found = seen(RouteBacklog(), routing(depths={"bulk": (510, 1800)}, paused=paused))
    assert "merchant:4 (104), queue.paused merchant:3 (103), queue.paused merchant:2 (102) and 2 more" in found.why


def sending(ticks=70, *, since=0, held=0.0):
    """Two notifications a second are planned, and from some tick on none is sent; `held`: what levers hold before."""
    frames = []
    for number in range(ticks):
        stopped = max(0, number - since)
        kept = {("critical", "queue.paused stage:deliver"): held + 10.0 * stopped} if held or stopped else None
        frames.append(frame(number, planned=10, sent=0, stage="deliver", paused=kept))
    return frames


def test_notifications_that_a_lever_keeps_from_being_sent_are_paused():
    found = seen(DeliverBacklog(), sending())
    assert found.cause == "paused"
    assert "Levers keep 690 notifications from being sent: queue.paused stage:deliver (690)" in found.why


def test_what_levers_hold_since_long_ago_does_not_explain_what_is_late_now():
    frames = sending(since=1000, held=5000.0)
    found = seen(DeliverBacklog(), frames)
    assert found.cause == "sustained"
    assert found.why.startswith("Less is sent than has to be")
    assert "queue.paused stage:deliver (5,000)" in found.why


def drains(found):
    return [(one.observed, one.compared, one.to) for one in found.evidence if one.what == "drains in"]


def test_a_backlog_says_how_long_it_drains_at_the_rates_of_now():
    depths = {"critical": (300.0, 30.0), "standard": (100.0, 30.0)}
    frames = routing()[:180] + [frame(180 + tick, came=50, routed=90, depths=depths) for tick in range(12)]
    found = seen(RouteBacklog(), frames)
    assert drains(found) == [(50.0, 60.0, "promise")], "400 events at 18 - 10 a second, against the last lane's promise"
    assert "does not drain" not in found.why


def test_a_backlog_that_grows_says_that_it_does_not_drain():
    found = seen(RouteBacklog(), routing(depths={"critical": (300, 30)}))
    assert drains(found) == []
    assert found.why.endswith("At these rates it does not drain.")


def test_what_a_lever_holds_is_not_said_to_drain_or_not():
    found = seen(RouteBacklog(), routing(depths={"bulk": (600, 1800)}, paused={("bulk", BULK): 600}))
    assert (drains(found), "drain" in found.why) == ([], False)


def test_late_notifications_say_how_long_they_drain():
    depths = {"standard": (300.0, 90.0)}
    frames = [frame(number, planned=10, sent=25, depths=depths, stage="deliver") for number in range(70)]
    assert drains(seen(DeliverBacklog(), frames)) == [(100.0, 30.0, "promise")]
    stuck = seen(DeliverBacklog(), [frame(n, planned=10, depths=depths, stage="deliver") for n in range(70)])
    assert (drains(stuck), stuck.why.endswith("does not drain.")) == ([], True)
