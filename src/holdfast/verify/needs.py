"""Says in words what needs a person, and what to do about it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from holdfast.merchants.model import COMPANY, Destination, Merchant
from holdfast.patterns import matches
from holdfast.payments.reconcile import fetchable
from holdfast.queue.model import Lane
from holdfast.verify.model import AtStripe, DeadLetters, LaneResult, Need

MOST_GROUPS = 200
"""Groups of events in trouble that are told apart; the counts are of all."""
_WHY = {
    "dead": "they could not be routed",
    "unmatched": "no merchant has the account",
    "unreadable": "they are about payments, but in a form we do not know",
    "unfetched": "they carry no state, and it could not be fetched from Stripe",
    "lost": "they are neither queued nor done",
}


@dataclass(frozen=True, slots=True)
class Names:
    """Who is who."""

    merchants: Mapping[int, Merchant]
    destinations: Mapping[int, Destination]

    def merchant(self, merchant_id: int) -> str | None:
        found = self.merchants.get(merchant_id)
        return found.key if found is not None else None

    def destination(self, destination_id: int) -> str:
        found = self.destinations.get(destination_id)
        if found is None:
            return f"destination {destination_id} (removed)"
        owner = "the company" if found.merchant_id == COMPANY else self.merchant(found.merchant_id)
        return f"destination {destination_id} ({found.address}) of {owner}"


def options(since: datetime, until: datetime) -> str:
    """The window as other commands take it, in whole seconds around it."""
    last = until if not until.microsecond else until.replace(microsecond=0) + timedelta(seconds=1)
    return f"--since {since.isoformat(timespec='seconds')} --until {last.isoformat(timespec='seconds')}"


def events_in_trouble(rows: Iterable[asyncpg.Record], window: str) -> list[Need]:
    """By `inbox.window_store.trouble`."""
    return [
        Need(
            f"{Lane(row['lane']).label} events, {row['state']}",
            row["count"],
            _because(row["state"], row["account"] or row["note"]),
            _mend(row["state"], row["account"], row["note"], window),
            Lane(row["lane"]).label,
            tuple(row["examples"]),
        )
        for row in rows
    ]


def _because(state: str, detail: str | None) -> str:
    why = _WHY.get(state, f"they ended as {state}")
    return f"{why}: {detail}" if detail else why


def _mend(state: str, account: str | None, note: str | None, window: str) -> str:
    again = f"holdfast events replay --state {state} {window}"
    match state:
        case "unmatched":
            return (
                f"holdfast merchants add … --stripe-account {account}; then: holdfast events replay "
                f"--account {account} --state unmatched"
            )
        case "unfetched":
            return f"{fetchable(note)}; then: {again}"
        case "dead" | "unreadable":
            return f"holdfast events show ID says more; when it is mended: {again}"
    return f"holdfast events replay {window}; and tell us: this may not happen"


def not_in_ledger(lanes: Iterable[LaneResult], examples: Mapping[str, Sequence[str]]) -> list[Need]:
    return [
        Need(
            f"{lane.lane} events, not in the ledger",
            lane.missing + lane.behind,
            f"they count as applied, but {lane.missing} have no ledger entry and {lane.behind} an older one",
            "holdfast events replay ID…; applying an event again does no harm",
            lane.lane,
            tuple(examples.get(lane.lane) or ()),
        )
        for lane in lanes
        if lane.missing or lane.behind
    ]


def late_events(rows: Iterable[asyncpg.Record], now: datetime) -> list[Need]:
    """By `inbox.window_store.tally`."""
    found: dict[Lane, tuple[int, datetime]] = {}
    for row in rows:
        if row["late"]:
            count, oldest = found.get(Lane(row["lane"]), (0, row["oldest"]))
            found[Lane(row["lane"])] = (count + row["late"], min(oldest, row["oldest"]))
    return [
        Need(
            f"{lane.label} events, waiting too long",
            count,
            f"they wait to be routed, the oldest for {_minutes(now - oldest)}",
            "holdfast queue capacity says what keeps them",
            lane.label,
        )
        for lane, (count, oldest) in sorted(found.items())
    ]


def notifications(rows: Iterable[asyncpg.Record], names: Names, now: datetime) -> list[Need]:
    """By `delivery.store.tally`: by destination and lane, what was given up, is late, or is lost."""
    return [need for row in rows if row["destination_id"] is not None for need in _of_destination(row, names, now)]


def _of_destination(row: asyncpg.Record, names: Names, now: datetime) -> Iterable[Need]:
    key, lane = row["destination_id"], Lane(row["lane"]).label
    where, examples = names.destination(key), tuple(str(number) for number in sorted(row["examples"] or ()))
    destination = names.destinations.get(key)
    if row["state"] == "dead":
        again = f"holdfast deliveries replay --state dead --destination {key}"
        if destination is None:
            again = "nothing can be sent there any more: tell the merchant by hand"
        elif not destination.enabled:
            again = f"holdfast destinations enable {key}; then: {again}"
        why = f"given up for {where}; one of them: {row['note'] or 'no reason noted'}"
        yield Need(f"{lane} notifications, given up", row["count"], why, again, lane, examples)
    elif row["state"] == "lost":
        why = f"neither queued nor done, for {where}"
        yield Need(f"{lane} notifications, lost", row["count"], why, "holdfast deliveries replay ID…", lane, examples)
    elif row["late"]:
        why = f"they wait for {where}, the oldest for {_minutes(now - row['oldest'])}"
        do = "holdfast deliveries show ID has every try; holdfast queue capacity says what else may keep them"
        yield Need(f"{lane} notifications, waiting too long", row["late"], why, do, lane, examples)


def while_disabled(
    types: Iterable[asyncpg.Record], rows: Iterable[asyncpg.Record], names: Names, window: str
) -> tuple[list[Need], list[str]]:
    """What disabled destinations subscribe to and was not planned for them, by `inbox.window_store.routed_types`.

    One that got nothing at all in the window was disabled before it: that is a note, for somebody wanted it so.
    """
    disabled = [found for found in names.destinations.values() if not found.enabled]
    routed = [(row["merchant_id"], row["type"], row["count"]) for row in types]
    planned: dict[int, int] = {}
    for row in rows:
        if row["destination_id"] is not None:
            planned[row["destination_id"]] = planned.get(row["destination_id"], 0) + row["count"]
    needs, notes = [], []
    for found in disabled:
        wanted = sum(
            count
            for merchant_id, event_type, count in routed
            if found.merchant_id in (COMPANY, merchant_id) and matches(found.events, event_type)
        )
        unsent = wanted - planned.get(found.id, 0)
        if unsent <= 0:
            continue
        where, key = names.destination(found.id), names.merchant(found.merchant_id)
        why = f" ({found.disabled_why})" if found.disabled_why else ""
        if found.id not in planned:
            notes.append(f"{where} was disabled all the time{why}: {unsent} events that it subscribes to were not sent")
            continue
        whose = f" --merchant {key}" if key else ""
        do = f"holdfast destinations enable {found.id}; then: holdfast events replay{whose} {window}"
        needs.append(Need("notifications, never planned", unsent, f"{where} was disabled meanwhile{why}", do))
    return needs, notes


def missing_here(stripe: AtStripe) -> list[Need]:
    needs = []
    for account in stripe.accounts:
        where = account.account or "the platform"
        whose = f" --merchant {account.merchant}" if account.merchant else ""
        assert stripe.since is not None
        assert stripe.until is not None
        do = f"holdfast reconcile{whose} {options(stripe.since, stripe.until)}"
        if account.error is not None:
            needs.append(Need("Stripe's list, not read", 1, f"{where}: {account.error}", f"mend this; then: {do}"))
        needs += [
            Need(f"{lane} events, never received", count, f"Stripe lists them for {where}", do, lane)
            for lane, count in account.missing_by_lane.items()
        ]
    return needs


def earlier(letters: DeadLetters) -> list[Need]:
    """Given up in the window, but received before it, so that no other count tells of them."""
    found = ((letters.earlier_events, "events"), (letters.earlier_deliveries, "notifications"))
    return [
        Need(
            f"earlier {what}, given up in the window",
            count,
            "what they are about was received before the window",
            "verify with --replay",
        )
        for count, what in found
        if count
    ]


def ordered(needs: Iterable[Need]) -> tuple[Need, ...]:
    """Critical ones first, then those of no lane, then the others; the many before the few."""
    rank = {Lane.CRITICAL.label: 0, None: 1, Lane.STANDARD.label: 2, Lane.BULK.label: 3}
    return tuple(sorted(needs, key=lambda need: (rank.get(need.lane, 1), -need.count, need.what, need.why)))


def _minutes(length: timedelta) -> str:
    minutes = length.total_seconds() / 60
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"
