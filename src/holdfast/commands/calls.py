"""`holdfast calls …` and `holdfast voicemails …`"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, get_args

import typer

from holdfast.commands import terminal
from holdfast.commands.merchants import find
from holdfast.commands.options import Json, Limit, Since, Until, read_optional_time
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants
from holdfast.voice import history_store as store
from holdfast.voice.calls_api import call_document, story_document, voicemail_document
from holdfast.voice.history_store import Filter, Story
from holdfast.voice.model import Call, CallOutcome, Voicemail

app = typer.Typer()
voicemails_app = typer.Typer()

MerchantKey = Annotated[str | None, typer.Option("--merchant", "-m", metavar="KEY", help="A merchant's.")]
Number = Annotated[str | None, typer.Option(metavar="NUMBER", help="The number that was called: +14155550123.")]
Caller = Annotated[str | None, typer.Option(help="A part of the caller's number.")]
Before = Annotated[str | None, typer.Option(metavar="SID", help="Go on behind this one.")]
OUTCOMES: tuple[CallOutcome, ...] = get_args(CallOutcome)
Keys = Mapping[int, str]


@app.command("list")
def list_calls(
    merchant: MerchantKey = None,
    number: Number = None,
    outcome: Annotated[str | None, typer.Option(help=f"One of {', '.join(OUTCOMES)}.")] = None,
    caller: Caller = None,
    since: Since = None,
    until: Until = None,
    before: Before = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List calls, newest first."""
    if outcome is not None and outcome not in OUTCOMES:
        raise typer.BadParameter(f"{outcome!r} is not an outcome: write one of {', '.join(OUTCOMES)}")

    async def body(pool: Pool, _settings: Settings) -> tuple[list[Call], Keys]:
        chosen = replace(await _filter(pool, merchant, number, caller, since, until), outcome=outcome)
        found = await store.calls(pool, chosen, limit=limit, before=before)
        return found, await merchants.keys(pool, [one.merchant_id for one in found])

    found, keys = with_store(body)
    if json:
        terminal.print_json({"calls": [call_document(one, keys) for one in found]})
        return
    terminal.print_table(
        ("CALL", "BEGAN", "CALLER", "NUMBER", "MERCHANT", ">SECONDS", "OUTCOME", "TOLD LAST"),
        (
            (
                one.sid,
                one.began_at,
                one.caller,
                one.phone,
                keys.get(one.merchant_id, "-"),
                "" if one.seconds is None else one.seconds,
                terminal.status(one.outcome or one.status or "unknown"),
                one.answer,
            )
            for one in found
        ),
        empty="No calls.",
    )


@app.command("show")
def show_call(sid: Annotated[str, typer.Argument(metavar="CA…")], json: Json = False) -> None:
    """One call: legs, voicemails, alerts of Twilio's, and every callback in order with what we answered."""

    async def body(pool: Pool, _settings: Settings) -> tuple[Story | None, Keys]:
        found = await store.story(pool, sid)
        return found, await merchants.keys(pool, [found.call.merchant_id]) if found is not None else {}

    found, keys = with_store(body)
    if found is None:
        raise CommandError(f"there is no call {sid}; see `holdfast calls list`")
    if json:
        terminal.print_json(story_document(found, keys))
        return
    call = found.call
    terminal.print_fields(
        (
            ("call", call.sid),
            ("caller", call.caller),
            ("number", f"{call.phone} ({call.region})"),
            ("merchant", keys.get(call.merchant_id)),
            ("began", call.began_at),
            ("ended", call.ended_at),
            ("seconds", call.seconds),
            ("status", call.status),
            ("outcome", call.outcome or "not over yet"),
            ("answered by", call.answered_by),
            ("told last", call.answer),
            ("test call", "yes" if call.is_test else None),
            ("account", call.account),
        )
    )
    terminal.say("")
    terminal.print_table(
        (">#", "TARGET", "REGION", "SHOWN", "OUTCOME", ">SIP", ">SECONDS", "AT"),
        (
            (
                leg.place,
                leg.target,
                leg.region,
                leg.caller_id or "the caller",
                terminal.status(leg.outcome),
                leg.sip_code or "",
                "" if leg.seconds is None else leg.seconds,
                leg.at,
            )
            for leg in found.legs
        ),
        empty="It was put through to nobody.",
    )
    for message in found.voicemails:
        terminal.say("")
        terminal.print_fields(_fields(message, keys))
    if found.alerts:
        terminal.say("")
        terminal.print_table(
            (">CODE", "LEVEL", "AT", "SAID"),
            ((one.code, one.level, one.at, one.said) for one in found.alerts),
            empty="",
        )
    terminal.say("")
    terminal.print_table(
        ("RECEIVED", "CALLBACK", "ANSWERED", "ADDRESS"),
        ((one.at, one.kind, one.answered or "", one.address) for one in found.callbacks),
        empty="No callback of it is kept any more.",
    )


@voicemails_app.command("list")
def list_voicemails(
    merchant: MerchantKey = None,
    number: Number = None,
    caller: Caller = None,
    since: Since = None,
    until: Until = None,
    before: Before = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List voicemails, newest first."""

    async def body(pool: Pool, _settings: Settings) -> tuple[list[Voicemail], Keys]:
        chosen = await _filter(pool, merchant, number, caller, since, until)
        found = await store.voicemails(pool, chosen, limit=limit, before=before)
        return found, await merchants.keys(pool, [one.merchant_id for one in found])

    found, keys = with_store(body)
    if json:
        terminal.print_json({"voicemails": [voicemail_document(one, keys) for one in found]})
        return
    terminal.print_table(
        ("VOICEMAIL", "AT", "CALLER", "NUMBER", "MERCHANT", ">SECONDS", "TRANSCRIPTION"),
        (
            (
                one.sid,
                one.at,
                one.caller,
                one.phone,
                keys.get(one.merchant_id, "-"),
                "" if one.seconds is None else one.seconds,
                (one.transcription or "")[:60],
            )
            for one in found
        ),
        empty="No voicemails.",
    )


@voicemails_app.command("show")
def show_voicemail(sid: Annotated[str, typer.Argument(metavar="RE…")], json: Json = False) -> None:
    """One voicemail: who called, where the recording is, and what was said if it was written down."""

    async def body(pool: Pool, _settings: Settings) -> tuple[Voicemail | None, Keys]:
        found = await store.voicemail(pool, sid)
        return found, await merchants.keys(pool, [found.merchant_id]) if found is not None else {}

    found, keys = with_store(body)
    if found is None:
        raise CommandError(f"there is no voicemail {sid}; see `holdfast voicemails list`")
    if json:
        terminal.print_json(voicemail_document(found, keys))
        return
    terminal.print_fields(_fields(found, keys))


def _fields(message: Voicemail, keys: Keys) -> tuple[tuple[str, object], ...]:
    return (
        ("voicemail", message.sid),
        ("call", message.call_sid),
        ("caller", message.caller),
        ("number", message.phone),
        ("merchant", keys.get(message.merchant_id)),
        ("at", message.at),
        ("seconds", message.seconds),
        ("recording", message.url),
        ("transcription", message.transcription),
    )


async def _filter(
    pool: Pool, merchant: str | None, number: str | None, caller: str | None, since: str | None, until: str | None
) -> Filter:
    owner = (await find(pool, merchant)).id if merchant is not None else None
    return Filter(owner, number, None, caller, read_optional_time(since), read_optional_time(until))
