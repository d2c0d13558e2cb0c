"""`holdfast twilio …`"""

import os
import sys
from typing import Annotated

import typer

from holdfast.commands import terminal
from holdfast.commands.asking import sure
from holdfast.commands.merchants import find
from holdfast.commands.options import Json, Yes
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants
from holdfast.merchants.model import COMPANY
from holdfast.twilio import store
from holdfast.twilio.model import Account
from holdfast.twilio.service import checked, checked_sid
from holdfast.voice import service

_SHOWN_NUMBERS = 10
app = typer.Typer()
accounts_app = typer.Typer()
app.add_typer(accounts_app, name="accounts", help="Subaccounts; the main one is in the settings.", no_args_is_help=True)

Sid = Annotated[str, typer.Argument(metavar="AC…", help="The account's SID, as Twilio's console shows it.")]
TOKEN = "HOLDFAST_ACCOUNT_TOKEN"  # noqa: S105
"""The variable of the environment that `accounts add` takes the token from."""


@accounts_app.command()
def add(
    sid: Sid,
    name: Annotated[str | None, typer.Option(help="What it is called.")] = None,
    merchant: Annotated[
        str | None,
        typer.Option("--merchant", "-m", metavar="KEY", help="Whose it is; the company's ('') unless given."),
    ] = None,
    signing_key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY_ID", help="A shared key that Twilio signs with; its secret is asked for. Repeatable."
        ),
    ] = None,
    keep_old: Annotated[
        bool, typer.Option("--keep-old", help="Also accept what the token that was there signs: while it is rotated.")
    ] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Accept the present token alone; it is not asked for.")
    ] = False,
    json: Json = False,
) -> None:
    """Add a subaccount, or change one: its token is asked for, or read from stdin, or from HOLDFAST_ACCOUNT_TOKEN.

    Without a terminal, stdin has the token on its first line, and the secret of each signing key on one more.
    """
    checked_sid(sid)
    if keep_old and drop_old:
        raise CommandError("--keep-old is for the beginning of a rotation, --drop-old for its end: give one of them")
    token = "" if drop_old else os.environ.get(TOKEN) or _secret("Auth token")
    signing = {key: _secret(f"Secret of {key}") for key in signing_key or ()}

    async def body(pool: Pool, settings: Settings) -> bool:
        if sid == settings.twilio_account_sid:
            raise CommandError(f"{sid} is the account of the settings (HOLDFAST_TWILIO_ACCOUNT_SID) already")
        owner = await find(pool, merchant) if merchant else None
        there = next((one for one in await store.accounts(pool) if one.sid == sid), None)
        called = name or (there.name if there is not None else owner.name if owner is not None else sid)
        owner_id = owner.id if owner is not None else COMPANY
        if there is not None and merchant is None:
            owner_id = there.merchant_id
        others = await service.others_numbers(pool, sid, owner_id)
        if others:
            raise CommandError(_breaks(sid, others))
        kept = signing if signing or there is None else there.signing
        if there is None and (keep_old or drop_old):
            raise CommandError(f"there is no account {sid} yet, and no old token: leave --keep-old and --drop-old out")
        now = there.auth_token if there is not None and drop_old else token
        former = _former(there, now, keep_old=keep_old) if not drop_old else ()
        return await store.put(pool, checked(Account(sid, called, owner_id, now, kept, former)))

    added = with_store(body)
    if json:
        terminal.print_json({"sid": sid, "added": added})
        return
    terminal.say(f"Account {sid} {'added' if added else 'changed'}; what it signs is accepted within a second.")


def _former(there: Account | None, token: str, *, keep_old: bool) -> tuple[str, ...]:
    """Tokens that go on verifying beside the new one."""
    if there is None:
        return ()
    old = (*there.former_tokens, there.auth_token) if keep_old else there.former_tokens
    return tuple(one for one in dict.fromkeys(old) if one != token)


def _breaks(sid: str, others: list[str]) -> str:
    named = ", ".join(others[:_SHOWN_NUMBERS]) + (", …" if len(others) > _SHOWN_NUMBERS else "")
    return (
        f"{len(others)} of its numbers are not that merchant's, and their calls would be refused: {named}. "
        "Say first whose they are (holdfast numbers set … --merchant KEY) or which account has them (--account AC…); "
        f"or let {sid} be the company's (--merchant ''), which may have anybody's numbers"
    )


@accounts_app.command("list")
def listing(json: Json = False) -> None:
    """List accounts; tokens are never shown."""

    async def body(pool: Pool, settings: Settings) -> tuple[list[Account], dict[int, str], str | None, int]:
        found = await store.accounts(pool)
        keys = await merchants.keys(pool, [one.merchant_id for one in found])
        main = settings.twilio_account_sid if settings.twilio_auth_token is not None else None
        return found, keys, main, len(settings.twilio_former_auth_tokens)

    found, keys, main, old = with_store(body)
    rows = [(one.sid, one.name, keys.get(one.merchant_id), len(one.signing), len(one.former_tokens)) for one in found]
    if json:
        shown = [dict(zip(("sid", "name", "merchant", "signing_keys", "old_tokens"), row, strict=True)) for row in rows]
        terminal.print_json({"main": main, "accounts": shown})
        return
    if main is None:
        terminal.note("No main account: set HOLDFAST_TWILIO_ACCOUNT_SID and HOLDFAST_TWILIO_AUTH_TOKEN.")
    else:
        rows.insert(0, (main, "(main, of the settings)", None, 0, old))
    terminal.print_table(
        ("SID", "NAME", "MERCHANT", "SIGNING KEYS", "OLD TOKENS"),
        ((sid, name, key or "(company)", *counts) for sid, name, key, *counts in rows),
        empty="No accounts. Set the main one in the settings; subaccounts: holdfast twilio accounts add AC…",
    )


@accounts_app.command()
def remove(sid: Sid, yes: Yes = False, json: Json = False) -> None:
    """Remove a subaccount: what it signs is no longer accepted."""
    checked_sid(sid)
    sure(f"remove {sid}: what it signs will be refused, and its calls with it", yes=yes, json=json)

    async def body(pool: Pool, _settings: Settings) -> None:
        if not await store.remove(pool, sid):
            raise CommandError(f"there is no account {sid}; `holdfast twilio accounts list` shows them")

    with_store(body)
    if json:
        terminal.print_json({"sid": sid, "removed": True})
        return
    terminal.say(f"Account {sid} removed.")


def _secret(what: str) -> str:
    """Asked for without echo; without a terminal, the next line of stdin."""
    if sys.stdin.isatty():
        return str(typer.prompt(what, hide_input=True, err=True)).strip()
    text = sys.stdin.readline().strip()
    if not text:
        raise CommandError(f"{what}: stdin has none; pipe it in, or set {TOKEN}")
    return text
