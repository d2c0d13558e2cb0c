"""All that is known of a complaint, in one place: consent then and now, stops, every text, and how the person came in.

*Then* is when the merchant last texted the person before they complained, by what was on record at that moment;
*now* is by what is on record now.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, get_args

import asyncpg

from holdfast.complaints import cohort, store, view_store
from holdfast.complaints.cohort import Way
from holdfast.complaints.model import Complaint
from holdfast.consent import ledger, lineage
from holdfast.consent import store as consent
from holdfast.consent.lineage import Origin
from holdfast.consent.model import EVERY_MERCHANT, OWN_DEEDS, Purpose, Row, Suppression
from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants

MOST = 1000
"""Texts, in each direction, that a view has; the newest."""
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides at a time whether a merchant may text for a purpose: `row`, None where nothing was ever said."""

    at: datetime
    row: Row | None
    purpose: Purpose

    @property
    def holds(self) -> bool:
        """Whether it allows it; marketing wants it in writing, with the text that the person was shown."""
        if self.row is None or self.row.action == "revoke":
            return False
        return self.purpose != "marketing" or self.row.disclosure is not None

    @property
    def said(self) -> str:
        row = self.row
        if row is None:
            return "no consent is on record"
        if row.action == "revoke":
            return f"taken back {row.given_at:%Y-%m-%d %H:%M %Z} by {row.source}"
        how = f"{row.source} {row.origin}" if row.origin else row.source
        if not self.holds:
            return f"given {row.given_at:%Y-%m-%d %H:%M %Z} by {how}, but not in writing: no text that they were shown"
        return f"given {row.given_at:%Y-%m-%d %H:%M %Z} by {how}"


@dataclass(frozen=True, slots=True)
class Consents:
    """Of one merchant and purpose. `is_texted`: whether `then` is when the merchant texted them last."""

    merchant_id: int
    purpose: Purpose
    is_texted: bool
    then: Standing
    now: Standing


@dataclass(frozen=True, slots=True)
class View:
    """`stops`: what the person said before they complained that was a stop, or doubtful. `origins`: how they came in,
    `ways` those of them that others came by as well. `without_consent`: texts that were sent although no consent was on
    record, or one that was taken back. `returns`: (merchant, when) they came back by their own deed. `keys`: merchants
    by their ids.
    """

    complaint: Complaint
    at: datetime
    phone: str | None
    zones: tuple[str, ...]
    incident_id: int | None
    consents: tuple[Consents, ...]
    stops: tuple[asyncpg.Record, ...]
    suppressions: tuple[Suppression, ...]
    messages: tuple[asyncpg.Record, ...]
    counts: tuple[asyncpg.Record, ...]
    inbound: tuple[asyncpg.Record, ...]
    findings: tuple[asyncpg.Record, ...]
    without_consent: tuple[int, ...]
    origins: tuple[Origin, ...]
    ways: tuple[Way, ...]
    returns: tuple[tuple[int, datetime], ...]
    keys: Mapping[int, str]

    def merchant(self, merchant_id: int) -> str:
        return "every merchant" if merchant_id == EVERY_MERCHANT else self.keys.get(merchant_id, str(merchant_id))

    @property
    def earlier_blocks(self) -> tuple[Suppression, ...]:
        """Blocks that were made before the complaint was received."""
        return tuple(one for one in self.suppressions if one.made_at < self.complaint.received_at)


async def read(pool: Pool, complaint: Complaint, now: datetime) -> View:
    """As of now."""
    seen = await of_person(pool, complaint, now)
    return replace(seen, ways=tuple(await cohort.ways(pool, [complaint])))


async def of_person(pool: Pool, complaint: Complaint, now: datetime) -> View:
    """The same without who else came the same way: to count a million people takes a while."""
    number = complaint.customer_id
    person = await consent.customer(pool, number)
    assert person is not None
    history = await ledger.history(pool, number)
    messages = await view_store.messages(pool, number, limit=MOST)
    inbound = await view_store.inbound(pool, number, MOST)
    sent = {row["merchant_id"]: row for row in await view_store.last_sent(pool, number, complaint.received_at)}
    suppressions = await consent.suppressions_of(pool, number)
    origins = await lineage.sources(pool, number)
    counts = await view_store.message_counts(pool, number)
    named = {row.merchant_id for row in history} | {row["merchant_id"] for row in counts} | {complaint.merchant_id}
    owners = sorted(named - {EVERY_MERCHANT})
    known = await merchants.keys(pool, [*owners, *(one.merchant_id for one in suppressions)])
    return View(
        complaint=complaint,
        at=now,
        phone=person["phone"],
        zones=tuple(person["zones"]),
        incident_id=await store.incident_of(pool, complaint.id),
        consents=tuple(_consents(complaint, history, owners, sent, now)),
        stops=tuple(
            row
            for row in inbound
            if row["verdict"] in ("stop", "doubtful") and row["received_at"] < complaint.received_at
        ),
        suppressions=tuple(suppressions),
        messages=tuple(messages),
        counts=tuple(counts),
        inbound=tuple(inbound),
        findings=tuple(await view_store.findings(pool, number)),
        without_consent=tuple(_without(messages, history)),
        origins=tuple(origins),
        ways=(),
        returns=tuple((row.merchant_id, row.recorded_at) for row in history if row.source in OWN_DEEDS),
        keys=known,
    )


def _consents(
    complaint: Complaint,
    history: Sequence[Row],
    owners: Sequence[int],
    sent: Mapping[int, asyncpg.Record],
    now: datetime,
) -> list[Consents]:
    found = []
    for owner in owners:
        last = sent.get(owner)
        at = last["tried_at"] if last is not None else complaint.received_at
        for purpose in PURPOSES:
            then = _standing(history, owner, purpose, at)
            found.append(Consents(owner, purpose, last is not None, then, _standing(history, owner, purpose, now)))
    return found


def _standing(history: Sequence[Row], owner: int, purpose: Purpose, at: datetime) -> Standing:
    """By what was on record then: a consent that was entered later did not allow anything yet."""
    known = [row for row in history if row.recorded_at <= at]
    return Standing(at, ledger.holding(known, owner, purpose, at=at), purpose)


def _without(messages: Sequence[asyncpg.Record], history: Sequence[Row]) -> list[int]:
    return [
        row["id"]
        for row in sent(messages)
        if not _standing(history, row["merchant_id"], row["purpose"], row["tried_at"]).holds
    ]


def sent(messages: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
    """Those that were handed to Twilio; confirmations and HELP apart."""
    return [
        row
        for row in messages
        if row["kind"] == "text" and row["state"] in ("sending", "sent") and row["tried_at"] is not None
    ]


# As JSON


def document(view: View) -> dict[str, Any]:
    """The same for the command line, the API and the auditor's file."""
    return {
        **summary(view.complaint, view.keys, view.at),
        "incident": view.incident_id,
        "person": {"customer": view.complaint.customer_id, "phone": view.phone, "zones": list(view.zones)},
        "consents": consents(view),
        "earlier_stops": [_inbound(view, row) for row in view.stops],
        "suppressions": [suppression(view, one) for one in view.suppressions],
        "messages": [message(view, row) for row in view.messages],
        "message_counts": [
            {"merchant": view.merchant(row["merchant_id"]), "state": row["state"], "rule": row["rule"], "count": row[3]}
            for row in view.counts
        ],
        "sent_without_consent": list(view.without_consent),
        "findings": [
            {
                "kind": row["kind"],
                "subject": row["subject"],
                "merchant": view.merchant(row["merchant_id"]),
                "sent_at": row["sent_at"],
                "said": row["said"],
            }
            for row in view.findings
        ],
        "texted": [_inbound(view, row) for row in view.inbound],
        "lineage": origins(view),
        "cohorts": [way(one, view.keys) for one in view.ways],
    }


def summary(complaint: Complaint, keys: Mapping[int, str], now: datetime) -> dict[str, Any]:
    """The complaint by itself."""
    answered = {
        "at": complaint.answered_at,
        "by": complaint.answered_by,
        "how": complaint.answer_how,
        "text": complaint.answer,
        "in_time": complaint.answered_at <= complaint.due_at if complaint.answered_at else None,
    }
    return {
        "id": complaint.id,
        "state": state(complaint, now),
        "merchant": keys.get(complaint.merchant_id),
        "source": complaint.source,
        "text": complaint.text,
        "answer_to": complaint.answer_to,
        "received_at": complaint.received_at,
        "recorded_at": complaint.recorded_at,
        "due_at": complaint.due_at,
        "seconds_left": None if complaint.is_settled else round((complaint.due_at - now).total_seconds()),
        "filed_by": complaint.filed_by,
        "suppression": complaint.suppression_id,
        "ledger_row": complaint.consent_seq,
        "cancelled": complaint.cancelled,
        "answered": answered if complaint.answered_at is not None else None,
        "cause": complaint.cause,
        "closed_at": complaint.closed_at,
        "closed_by": complaint.closed_by,
    }


def state(complaint: Complaint, now: datetime) -> str:
    if complaint.closed_at is not None:
        return "closed"
    if complaint.answered_at is not None:
        return "answered"
    return "overdue" if complaint.due_at <= now else "waiting"


def consents(view: View) -> list[dict[str, Any]]:
    return [
        {
            "merchant": view.merchant(one.merchant_id),
            "purpose": one.purpose,
            "then_is": "when this merchant last texted them" if one.is_texted else "when they complained",
            "then": _said(one.then),
            "now": _said(one.now),
        }
        for one in view.consents
    ]


def message(view: View, row: asyncpg.Record) -> dict[str, Any]:
    return {
        "id": row["id"],
        "merchant": view.merchant(row["merchant_id"]),
        "kind": row["kind"],
        "purpose": row["purpose"],
        "at": row["tried_at"] or row["created_at"],
        "state": row["state"],
        "rule": row["rule"],
        "ledger_row": row["consent_seq"],
        "suppression": row["suppression_id"],
        "from": row["from_phone"],
        "sid": row["sid"],
        "status": row["status"],
        "error_code": row["error_code"],
        "body": row["body"],
    }


def suppression(view: View, one: Suppression) -> dict[str, Any]:
    return {
        "id": one.id,
        "merchant": view.merchant(one.merchant_id),
        "reason": one.reason,
        "source": one.source,
        "actor": one.actor,
        "note": one.note,
        "made_at": one.made_at,
        "ledger_row": one.consent_seq,
        "excepted": [view.merchant(number) for number in one.excepted],
        "lifted_at": one.lifted_at,
        "lifted_by": one.lifted_by,
        "lifted_why": one.lifted_why,
    }


def ledger_row(one: Row) -> dict[str, Any]:
    """A row of the ledger: how and when, what they were shown, and what proves it."""
    return {
        "ledger_row": one.seq,
        "action": one.action,
        "purpose": one.purpose,
        "channel": one.channel,
        "source": one.source,
        "given_at": one.given_at,
        "recorded_at": one.recorded_at,
        "disclosure": one.disclosure,
        "origin": one.origin,
        "collector": one.collector,
        "batch": one.batch_id,
        "batch_row": one.batch_row,
        "actor": one.actor,
        "detail": dict(one.detail),
    }


def way(one: Way, keys: Mapping[int, str]) -> dict[str, Any]:
    return {
        "merchant": keys.get(one.origin.merchant_id, str(one.origin.merchant_id)),
        "way": one.name,
        "people": one.cohort.people,
        "blocked": one.cohort.suppressed,
        "complained": one.cohort.complained,
        "texted": one.cohort.texted,
        "complaints": list(one.complaints),
    }


def _said(one: Standing) -> dict[str, Any]:
    return {
        "at": one.at,
        "holds": one.holds,
        "said": one.said,
        "row": ledger_row(one.row) if one.row is not None else None,
    }


def _inbound(view: View, one: asyncpg.Record) -> dict[str, Any]:
    return {
        "sid": one["sid"],
        "at": one["received_at"],
        "merchant": view.merchant(one["merchant_id"]),
        "to": one["phone"],
        "body": one["body"],
        "verdict": one["verdict"],
        "rules": list(one["rules"]),
        "suppression": one["suppression_id"],
        "decision": one["decision"],
    }


def origins(view: View) -> list[dict[str, Any]]:
    """How the person came in."""
    return [
        {
            "merchant": view.merchant(one.merchant_id),
            "label": one.label,
            "batch": one.batch_id,
            "batch_row": one.batch_row,
            "origin": one.origin,
            "given_at": one.given_at,
            "ledger_row": one.consent_seq,
        }
        for one in view.origins
    ]
