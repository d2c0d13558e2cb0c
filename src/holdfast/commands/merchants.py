"""`holdfast merchants …`"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import asyncpg
import typer

from holdfast.commands import terminal
from holdfast.commands.options import Json, Limit
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.delivery.addresses import AddressRefused, check_url
from holdfast.delivery.signing import SecretError, new_secret, validate_secret
from holdfast.inbox import store as inbox
from holdfast.merchants import store
from holdfast.merchants.files import Rejected
from holdfast.merchants.model import Merchant, MerchantError, NewDestination, NewMerchant
from holdfast.merchants.service import COLUMNS, Row, checked, read_file

app = typer.Typer()

Key = Annotated[str, typer.Argument(help="The merchant's short name in commands and messages, such as bakery-42.")]
Name = Annotated[str | None, typer.Option(help="Its full name.")]
Email = Annotated[str | None, typer.Option(help="Where the company reaches it.")]
Account = Annotated[str | None, typer.Option(help="Its connected Stripe account, acct_….")]
Zone = Annotated[
    str | None,
    typer.Option("--time-zone", help="Of its business hours: Europe/Berlin; that of each number unless given."),
]
_SHOWN_REJECTS = 20
_CHUNK = 1000


@app.command()
def add(
    key: Key,
    name: Name = None,
    email: Email = None,
    stripe_account: Account = None,
    time_zone: Zone = None,
    json: Json = False,
) -> None:
    """Add a merchant."""

    async def body(pool: Pool, _settings: Settings) -> tuple[Merchant, int]:
        new = checked(NewMerchant(key, name or key, email, stripe_account, time_zone))
        try:
            merchant = await store.insert(pool, new)
        except asyncpg.UniqueViolationError:
            raise CommandError(await _taken(pool, new)) from None
        return merchant, await _earlier(pool, stripe_account)

    _report(*with_store(body), json=json, what="added")


@app.command("set")
def change(
    key: Key,
    name: Name = None,
    email: Email = None,
    stripe_account: Account = None,
    no_stripe_account: Annotated[
        bool, typer.Option("--no-stripe-account", help="It has none any more, as when it revoked our access.")
    ] = False,
    time_zone: Zone = None,
    json: Json = False,
) -> None:
    """Change a merchant; what is not named stays."""
    if stripe_account and no_stripe_account:
        raise typer.BadParameter("give either --stripe-account or --no-stripe-account")

    async def body(pool: Pool, _settings: Settings) -> tuple[Merchant, int]:
        old = await find(pool, key)
        new = checked(
            NewMerchant(
                key,
                name or old.name,
                email or old.email,
                None if no_stripe_account else stripe_account or old.stripe_account,
                time_zone or old.time_zone,
            )
        )
        try:
            merchant = await store.update(pool, key, new)
        except asyncpg.UniqueViolationError:
            raise CommandError(await _taken(pool, new)) from None
        assert merchant is not None
        return merchant, await _earlier(pool, stripe_account)

    _report(*with_store(body), json=json, what="changed")


@app.command("list")
def listing(
    search: Annotated[
        str | None, typer.Option(help="Only those with this text in key, name, e-mail or account.")
    ] = None,
    after: Annotated[str | None, typer.Option(help="Go on behind this key.")] = None,
    limit: Limit = 100,
    json: Json = False,
) -> None:
    """List merchants by key."""

    async def body(pool: Pool, _settings: Settings) -> list[Merchant]:
        return await store.search(pool, search, limit=limit, after=after)

    merchants = with_store(body)
    if json:
        terminal.print_json({"merchants": merchants})
        return
    terminal.print_table(
        ("KEY", "NAME", "E-MAIL", "STRIPE ACCOUNT", "TIME ZONE", "SINCE"),
        ((m.key, m.name, m.email, _account(m), m.time_zone, m.created_at) for m in merchants),
        empty="No merchants yet. Add one: holdfast merchants add bakery --stripe-account acct_…"
        if search is None
        else f"No merchant with {search!r}.",
    )
    if len(merchants) == limit:
        terminal.note(f"There may be more: --after {merchants[-1].key}")


@app.command("import")
def load(
    file: Annotated[Path, typer.Argument(help=f"CSV with a header line, or JSON lines. Fields: {', '.join(COLUMNS)}.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the file.")] = False,
    json: Json = False,
) -> None:
    """Add or change many merchants, with a webhook each where the file has one. All rows or none."""

    async def body(pool: Pool, settings: Settings) -> dict[str, int]:
        rows = await _accepted(pool, file, settings)
        if dry_run:
            return {"rows": len(rows), "added": 0, "changed": 0, "webhooks_added": 0}
        return await _store(pool, rows)

    result = with_store(body)
    if json:
        terminal.print_json({"file": str(file), "dry_run": dry_run, **result})
    elif dry_run:
        terminal.say(f"{result['rows']} merchants, all of them as they should be. Nothing was changed (--dry-run).")
    else:
        terminal.say(
            f"{result['rows']} merchants: {result['added']} added, {result['changed']} changed, "
            f"{result['rows'] - result['added'] - result['changed']} as they were; "
            f"{result['webhooks_added']} webhooks added."
        )


async def find(pool: Pool, key: str) -> Merchant:
    """The merchant with this key. Raises CommandError."""
    merchant = await store.find(pool, key)
    if merchant is None:
        raise CommandError(f"there is no merchant {key!r}; `holdfast merchants list` shows them")
    return merchant


def _account(merchant: Merchant) -> str | None:
    since = merchant.stripe_disconnected_at
    account = merchant.stripe_account
    return f"{account} (revoked our access, seen {terminal.moment(since)})" if since else account


def _report(merchant: Merchant, earlier: int, *, json: bool, what: str) -> None:
    if json:
        terminal.print_json({"merchant": merchant, "unmatched_events": earlier})
        return
    terminal.say(f"Merchant {merchant.key} {what}.")
    if earlier:
        terminal.say(
            f"{earlier} events of {merchant.stripe_account} came before it was known. Give them to it: "
            f"holdfast events replay --account {merchant.stripe_account} --state unmatched"
        )


async def _earlier(pool: Pool, account: str | None) -> int:
    return await inbox.count(pool, inbox.Filter(account=account, state="unmatched")) if account else 0


async def _taken(pool: Pool, new: NewMerchant) -> str:
    if new.stripe_account:
        owner = (await store.accounts(pool, [new.stripe_account])).get(new.stripe_account)
        if owner is not None and owner != new.key:
            return f"the Stripe account {new.stripe_account} belongs to merchant {owner} already"
    return f"there is a merchant {new.key} already; change it with `holdfast merchants set {new.key} …`"


async def _accepted(pool: Pool, file: Path, settings: Settings) -> list[Row]:
    try:
        rows, rejected = _checked_rows(read_file(file), settings)
        rows, others = await _without_other_secrets(pool, rows)
        rejected = sorted(rejected + others, key=lambda reject: reject.line)
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from None
    except MerchantError as error:
        raise CommandError(f"{file}: {error}") from None
    if rejected:
        for reject in rejected[:_SHOWN_REJECTS]:
            terminal.note(f"{file}, line {reject.line}: {reject.reason}")
        more = len(rejected) - _SHOWN_REJECTS
        if more > 0:
            terminal.note(f"… and {more} more")
        raise CommandError(f"{len(rejected)} of {len(rows) + len(rejected)} rows cannot be taken; nothing was changed")
    return rows


def _checked_rows(found: Iterable[Row | Rejected], settings: Settings) -> tuple[list[Row], list[Rejected]]:
    rows: list[Row] = []
    rejected: list[Rejected] = []
    with terminal.progress() as progress:
        task = progress.add_task("Checking", total=None)
        for item in found:
            progress.advance(task)
            if isinstance(item, Row):
                try:
                    if item.webhook_url:
                        check_url(item.webhook_url, settings.networks)
                    if item.webhook_secret:
                        validate_secret(item.webhook_secret)
                    rows.append(item)
                except (AddressRefused, SecretError) as error:
                    rejected.append(Rejected(item.line, str(error)))
            else:
                rejected.append(item)
    return rows, rejected


async def _without_other_secrets(pool: Pool, rows: list[Row]) -> tuple[list[Row], list[Rejected]]:
    """Rows, and those whose webhook is there and signed by another secret: that would be ignored without a word."""
    wanted = [(row.merchant.key, row.webhook_url or "") for row in rows if row.webhook_secret]
    there = await store.webhook_secrets(pool, wanted) if wanted else {}
    taken: list[Row] = []
    rejected: list[Rejected] = []
    for row in rows:
        number, secrets = there.get((row.merchant.key, row.webhook_url or ""), (0, ()))
        if row.webhook_secret and number and row.webhook_secret not in secrets:
            rejected.append(
                Rejected(
                    row.line,
                    f"its webhook is destination {number} and signed with another secret than webhook_secret: leave "
                    f"that empty, and change it with `holdfast destinations rotate {number}`",
                )
            )
        else:
            taken.append(row)
    return taken, rejected


async def _store(pool: Pool, rows: list[Row]) -> dict[str, int]:
    added = changed = webhooks = 0
    with terminal.progress() as progress:
        task = progress.add_task("Importing", total=len(rows))
        async with pool.acquire() as connection, connection.transaction():
            for start in range(0, len(rows), _CHUNK):
                chunk = rows[start : start + _CHUNK]
                try:
                    news = await store.upsert(connection, [row.merchant for row in chunk])
                except asyncpg.UniqueViolationError as error:
                    raise CommandError(f"an account of the file belongs to another merchant: {error.detail}") from None
                added, changed = added + news[0], changed + news[1]
                webhooks += await _webhooks(connection, chunk)
                progress.advance(task, len(chunk))
    return {"rows": len(rows), "added": added, "changed": changed, "webhooks_added": webhooks}


async def _webhooks(db: store.Executor, rows: list[Row]) -> int:
    having = [row for row in rows if row.webhook_url]
    if not having:
        return 0
    ids = await store.ids(db, [row.merchant.key for row in having])
    return await store.upsert_destinations(
        db,
        [
            NewDestination(
                ids[row.merchant.key],
                "webhook",
                row.webhook_url or "",
                (row.webhook_secret or new_secret(),),
                row.webhook_events,
            )
            for row in having
        ],
    )
