"""How a complaint looks in a terminal: what somebody reads at 3 a.m., the most pressing first."""

import textwrap
from collections.abc import Iterator
from datetime import datetime

from rich.text import Text

from holdfast.commands import terminal
from holdfast.commands.terminal import duration, moment
from holdfast.complaints import view
from holdfast.complaints.model import Complaint
from holdfast.complaints.proof import Proof
from holdfast.complaints.replying import NO_MAIL
from holdfast.complaints.view import Standing, View
from holdfast.consent.model import EVERY_MERCHANT

WIDEST = 100
SHOWN = 15
"""Texts that are listed; all of them with --all or --json."""


def print_view(seen: View, *, whole: bool, can_mail: bool) -> None:
    """The whole page. `can_mail`: mail is set up."""
    for block in (
        _head(seen),
        _facts(seen),
        _next(seen, can_mail=can_mail),
        _consents(seen),
        _stops(seen),
        _messages(seen, whole=whole),
        _lineage(seen),
    ):
        terminal.lines([*block, Text("")])


def print_proof(found: Proof) -> None:
    mark = Text("Proved: ", style="bold green") if found.holds else Text("Not proved: ", style="bold red")
    terminal.lines([mark.append_text(Text(found.said, style=""))])
    for one in found.strays:
        past = "past the gate" if one.message_id is None else f"message {one.message_id}"
        terminal.lines([Text(f"  {moment(one.at)}  {one.sid or '-'}  from {one.from_}  {one.status}  ({past})")])
    for account, why in found.unasked:
        terminal.lines([Text(f"  {account}: not asked: {why}", style="yellow")])


def due(one: Complaint, now: datetime) -> Text:
    """How it stands with the answer."""
    if one.closed_at is not None:
        return Text("closed", style="dim")
    if one.answered_at is not None:
        late = one.answered_at > one.due_at
        return Text("answered too late" if late else "answered", style="yellow" if late else "green")
    left = (one.due_at - now).total_seconds()
    if left <= 0:
        return Text(f"OVERDUE by {duration(-left)}", style="bold red")
    return Text(f"answer due in {duration(left)}", style="bold yellow" if left < 1800 else "yellow")


def _head(seen: View) -> Iterator[Text]:
    one = seen.complaint
    yield Text(f"Complaint {one.id}  ", style="bold").append_text(due(one, seen.at))
    for line in _wrapped(f"“{one.text}”" if one.text else "What they said was not written down.", 2):
        yield Text(f"  {line}")


def _facts(seen: View) -> Iterator[Text]:
    one = seen.complaint
    whose = seen.merchant(one.merchant_id) if one.merchant_id else "they did not say whose"
    yield _field(
        "person", f"{seen.phone or 'erased'} (customer {one.customer_id}), {', '.join(seen.zones) or 'no zone'}"
    )
    yield _field("texts of", whose)
    yield _field("received", f"{moment(one.received_at)} through {one.source}, filed by {one.filed_by}")
    yield _field("answer to", one.answer_to or "they left no address: call or write")
    live = [it for it in seen.suppressions if it.lifted_at is None and it.merchant_id == EVERY_MERCHANT]
    if live:
        back = (
            f", but of {', '.join(map(seen.merchant, live[0].excepted))}, to whom they came back"
            if live[0].excepted
            else ""
        )
        yield _field("blocked", f"for every merchant since {moment(live[0].made_at)} ({live[0].reason}){back}")
    else:
        yield _field("blocked", "NOT any more: the block was lifted", style="bold red")
    yield _field("cancelled", f"{one.cancelled} texts that waited for them")
    yield _field("incident", str(seen.incident_id) if seen.incident_id else "none yet")
    if one.answered_at is not None:
        yield _field("answered", f"{moment(one.answered_at)} by {one.answer_how} ({one.answered_by})")
    if one.cause:
        yield _field("cause", one.cause)


def _next(seen: View, *, can_mail: bool) -> Iterator[Text]:
    one = seen.complaint
    if not one.is_settled:
        how = "--how phone --text …"
        if one.mailbox:
            how = "--how email --send" if can_mail else "--how email --text …"
        yield Text("To do  ", style="bold").append(f"holdfast complaints answer {one.id} {how}", style="bold yellow")
        yield Text(f"       the words, drafted: holdfast complaints reply {one.id}")
        if one.mailbox and not can_mail:
            yield Text(f"       {NO_MAIL}: mail it yourself, and enter what you wrote", style="dim")
    elif one.closed_at is None:
        yield Text("To do  ", style="bold").append(f"holdfast complaints close {one.id} --cause …")
    yield Text(f"       prove that nobody texts them: holdfast complaints prove {one.id}", style="dim")


def _consents(seen: View) -> Iterator[Text]:
    yield Text("Consent", style="bold")
    if not seen.consents:
        yield Text("  None of theirs is on record, for any merchant.", style="bold red")
    for one in seen.consents:
        if one.then.row is None and not one.is_texted:
            continue
        when = "when last texted" if one.is_texted else "when they complained"
        yield Text(f"  {seen.merchant(one.merchant_id)}, {one.purpose}")
        yield from _standing(f"then ({when}, {moment(one.then.at)})", one.then)
        yield from _standing("now", one.now, short=True)
    if seen.without_consent:
        ids = ", ".join(str(number) for number in seen.without_consent[:10])
        yield Text(f"  {len(seen.without_consent)} texts went out without consent: {ids}", style="bold red")
    for found in seen.findings:
        yield Text(f"  Audit: {found['said']}", style="red")


def _standing(when: str, one: Standing, *, short: bool = False) -> Iterator[Text]:
    mark = Text("yes", style="green") if one.holds else Text("NO", style="bold red")
    yield Text(f"    {when}: ").append_text(mark).append(f", {one.said}")
    row = one.row
    if row is None or short:
        return
    known = {"collector": row.collector, "origin": row.origin, **row.detail}
    said = ", ".join(f"{name} {value}" for name, value in known.items() if value and name not in ("words", "complaint"))
    proof = f"row {row.seq} of the ledger, recorded {moment(row.recorded_at)}"
    yield Text(f"      {proof}{f'; {said}' if said else ''}", style="dim")
    for line in _wrapped(f"shown to them: “{row.disclosure}”", 6) if row.disclosure else ():
        yield Text(f"      {line}", style="dim")


def _stops(seen: View) -> Iterator[Text]:
    yield Text("Earlier stops", style="bold")
    earlier = seen.earlier_blocks
    if not seen.stops and not earlier:
        yield Text("  They had not said stop before.", style="dim")
    for row in seen.stops:
        yield Text(f"  {moment(row['received_at'])}  to {seen.merchant(row['merchant_id'])}: “{row['body'] or ''}”")
    for one in earlier:
        lifted = f", lifted {moment(one.lifted_at)} by {one.lifted_by}: {one.lifted_why}" if one.lifted_at else ""
        yield Text(f"  {moment(one.made_at)}  blocked for {seen.merchant(one.merchant_id)}: {one.reason}{lifted}")


def _messages(seen: View, *, whole: bool) -> Iterator[Text]:
    total = sum(row[3] for row in seen.counts)
    yield Text(f"Texts  {total}", style="bold").append("  newest first", style="dim")
    if not total:
        yield Text("  Nobody asked for a text to them to be sent through here.", style="dim")
    shown = seen.messages if whole else seen.messages[:SHOWN]
    for row in shown:
        style = {"sent": "green", "sending": "green", "refused": "dim", "cancelled": "yellow"}.get(row["state"], "red")
        at = moment(row["tried_at"] or row["created_at"])
        line = Text(f"  {at}  {seen.merchant(row['merchant_id'])}, {row['purpose']}: ")
        line.append(f"{row['state']} ({row['rule']})", style=style)
        if row["id"] in seen.without_consent:
            line.append("  WITHOUT CONSENT", style="bold red")
        body = " ".join((row["body"] or "").split())
        yield line.append(f"  {textwrap.shorten(body, 50, placeholder='…')}" if body else "")
    if total > len(shown):
        yield Text(
            f"  {total - len(shown)} more: holdfast complaints show {seen.complaint.id} --all, or export", style="dim"
        )


def _lineage(seen: View) -> Iterator[Text]:
    yield Text("How they came in", style="bold")
    if not seen.origins:
        yield Text("  It is not known: no import, form or keyword is on record.", style="bold red")
    for one in seen.origins:
        yield Text(f"  {moment(one.given_at)}  {seen.merchant(one.merchant_id)}: {one.label}")
    for way in seen.ways:
        found = view.way(way, seen.keys)
        yield (
            Text(f"  The same way ({found['way']} of {found['merchant']}): ")
            .append(f"{found['people']:,} people", style="bold")
            .append(f", {found['texted']:,} texted, {found['blocked']:,} blocked, {found['complained']:,} complained")
        )


def _field(label: str, value: str, style: str = "") -> Text:
    return Text(f"  {label:<10} ", style="bold").append(value, style=style)


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), min(WIDEST, terminal.width()) - indent) or [""]
