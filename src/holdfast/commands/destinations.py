"""`holdfast destinations …`"""

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import asyncpg
import msgspec
import typer

from holdfast.commands import terminal
from holdfast.commands.asking import sure
from holdfast.commands.merchants import find
from holdfast.commands.options import Json, Yes
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.delivery.addresses import check_resolved
from holdfast.delivery.http import HttpSender
from holdfast.delivery.mail import MailSender
from holdfast.delivery.model import Attempt, Message, Outcome, OwnMessage
from holdfast.delivery.signing import new_secret, validate_secret
from holdfast.delivery.team import TeamSender
from holdfast.merchants import store
from holdfast.merchants.model import COMPANY, FOR_MESSAGES, Destination, Kind, Merchant, NewDestination
from holdfast.merchants.service import checked_email, checked_events

app = typer.Typer()

Id = Annotated[int, typer.Argument(help="The destination's number, as `holdfast destinations list` shows it.")]


@dataclass(frozen=True, slots=True)
class Shown:
    """A destination as it is printed: without its secrets."""

    id: int
    merchant: str | None
    kind: str
    address: str
    events: tuple[str, ...]
    enabled: bool
    secrets: int
    ceiling: int | None
    rotating_since: datetime | None
    disabled_since: datetime | None
    disabled_why: str | None

    @property
    def state(self) -> str:
        if self.enabled:
            return "yes"
        since = f" since {terminal.moment(self.disabled_since)}" if self.disabled_since else ""
        return f"no{since}{f': {self.disabled_why}' if self.disabled_why else ''}"


@app.command()
def add(
    merchant: Annotated[str | None, typer.Argument(help="The merchant's key; leave out with --application.")] = None,
    webhook: Annotated[str | None, typer.Option(help="A URL of the merchant: signed per Standard Webhooks.")] = None,
    email: Annotated[str | None, typer.Option(help="An address of the merchant.")] = None,
    application: Annotated[
        str | None, typer.Option(help="A URL of the company itself: gets everybody's events with the original bytes.")
    ] = None,
    events: Annotated[
        list[str] | None, typer.Option(help="Event types to send, * for any part; may be repeated. Default: all.")
    ] = None,
    secret: Annotated[str | None, typer.Option(help="A signing secret whsec_…; made when not given.")] = None,
    ceiling: Annotated[
        int | None, typer.Option(min=1, max=1024, help="At most so many tries at once, in each worker process.")
    ] = None,
    json: Json = False,
) -> None:
    """Add a destination. The signing secret is printed once, here; `destinations secret` shows it again."""
    kind, address = _chosen(merchant, webhook, email, application)
    patterns = checked_events(events or ["*"])
    secrets: tuple[str, ...] = ()
    if kind != "email":
        chosen = secret or new_secret()
        validate_secret(chosen)
        secrets = (chosen,)

    async def body(pool: Pool, settings: Settings) -> tuple[Destination, Merchant | None]:
        owner = await find(pool, merchant) if merchant else None
        if kind == "email":
            checked_email(address)
            if settings.smtp_url is None:
                terminal.note("Mail is not set up yet (HOLDFAST_SMTP_URL): what is sent here waits until it is.")
        else:
            await check_resolved(address, settings.networks)
        new = NewDestination(owner.id if owner else COMPANY, kind, address, secrets, patterns, ceiling)
        try:
            return await store.insert_destination(pool, new), owner
        except asyncpg.UniqueViolationError:
            raise CommandError(f"{merchant or 'the company'} has the destination {address} already") from None

    destination, owner = with_store(body)
    if json:
        terminal.print_json(
            {"destination": _shown(destination, owner.key if owner else None), "secrets": destination.secrets}
        )
        return
    terminal.say(f"Destination {destination.id} added: {', '.join(destination.events)} to {destination.address}")
    for value in destination.secrets:
        terminal.say(f"Signing secret: {value}")
    terminal.say(f"Try it: holdfast destinations test {destination.id}")


@app.command("list")
def listing(
    merchant: Annotated[str | None, typer.Argument(help="Only those of this merchant.")] = None,
    messages: Annotated[
        bool, typer.Option("--messages", help="The mailboxes and team channels that messages about incidents went to.")
    ] = False,
    json: Json = False,
) -> None:
    """List the destinations of events."""

    async def body(pool: Pool, _settings: Settings) -> list[Shown]:
        owner = await find(pool, merchant) if merchant else None
        keys = {m.id: m.key for m in await store.merchants(pool)}
        return [
            _shown(item, keys.get(item.merchant_id))
            for item in await store.destinations(pool, owner.id if owner else None)
            if (item.kind in FOR_MESSAGES) == messages
        ]

    shown = with_store(body)
    if json:
        terminal.print_json({"destinations": shown})
        return
    terminal.print_table(
        (">ID", "MERCHANT", "KIND", "ADDRESS", "EVENTS", "ENABLED", ">SECRETS", ">CEILING"),
        (
            (d.id, d.merchant or "(company)", d.kind, d.address, " ".join(d.events), d.state, d.secrets, d.ceiling)
            for d in shown
        ),
        empty="No messages were sent yet."
        if messages
        else "No destinations yet. Add one: holdfast destinations add bakery --webhook https://…",
    )


@app.command()
def subscribe(
    destination: Id,
    events: Annotated[list[str], typer.Option(help="Event types to send, * for any part; may be repeated.")],
    ceiling: Annotated[
        int | None,
        typer.Option(
            min=0, max=1024, help="At most so many tries at once, in each worker process; 0: none of its own."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Change what a destination gets."""

    async def body(pool: Pool, _settings: Settings) -> Shown:
        old = await _find(pool, destination)
        if old.kind in FOR_MESSAGES:
            raise CommandError(f"destination {destination} gets messages, and cannot subscribe to events")
        changed = await store.set_subscription(
            pool, old.id, checked_events(events), old.ceiling if ceiling is None else ceiling or None
        )
        assert changed is not None
        return await _owned(pool, changed)

    changed = with_store(body)
    if json:
        terminal.print_json(changed)
        return
    terminal.say(f"Destination {changed.id} gets {', '.join(changed.events)}.")


@app.command()
def enable(destination: Id, json: Json = False) -> None:
    """Send to it again. What became dead meanwhile: holdfast deliveries replay."""
    _switch(destination, on=True, json=json)


@app.command()
def disable(destination: Id, json: Json = False) -> None:
    """Send nothing to it: no new deliveries, and those that wait become dead letters, which can be replayed."""
    _switch(destination, on=False, json=json)


@app.command()
def remove(destination: Id, yes: Yes = False, json: Json = False) -> None:
    """Remove a destination for good; its history stays."""
    sure(f"remove destination {destination} for good", yes=yes, json=json)

    async def body(pool: Pool, _settings: Settings) -> bool:
        return await store.delete_destination(pool, destination)

    if not with_store(body):
        raise _unknown(destination)
    if json:
        terminal.print_json({"id": destination, "removed": True})
        return
    terminal.say(f"Destination {destination} removed.")


@app.command()
def secret(destination: Id, json: Json = False) -> None:
    """Print the signing secrets, the current one first."""

    async def body(pool: Pool, _settings: Settings) -> Destination:
        return await _find(pool, destination)

    found = with_store(body)
    if json:
        terminal.print_json({"id": found.id, "secrets": found.secrets})
        return
    for value in found.secrets:
        terminal.say(value)


@app.command()
def rotate(
    destination: Id,
    finish: Annotated[bool, typer.Option("--finish", help="End the rotation: only the new secret stays.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Break it off: only the old secret stays.")] = False,
    json: Json = False,
) -> None:
    """Make a new signing secret; until `rotate --finish` both sign, so that the receiver can change over."""
    if finish and cancel:
        raise typer.BadParameter("--finish keeps the new secret and --cancel the old one: say one of them")

    async def body(pool: Pool, _settings: Settings) -> tuple[str, ...]:
        if finish or cancel:
            changed = await store.end_rotation(pool, destination, "old" if cancel else "new")
        else:
            changed = await store.begin_rotation(pool, destination, new_secret())
        if changed is None:
            raise _not_rotated(await _find(pool, destination))
        return changed.secrets

    secrets = with_store(body)
    if json:
        terminal.print_json({"id": destination, "secrets": secrets})
    elif finish or cancel:
        terminal.say(
            f"Rotation {'finished' if finish else 'cancelled'}: only the {'new' if finish else 'old'} secret signs now."
        )
    else:
        terminal.say(f"New signing secret: {secrets[0]}")
        terminal.say(f"The old one signs too until: holdfast destinations rotate {destination} --finish")


def _not_rotated(found: Destination) -> CommandError:
    if not found.secrets:
        return CommandError(f"what goes to destination {found.id} is not signed: it is of kind {found.kind}")
    if len(found.secrets) == 1:
        return CommandError(
            f"destination {found.id} has one secret: `holdfast destinations rotate {found.id}` makes a new one"
        )
    since = f" since {terminal.moment(found.rotating_since)}" if found.rotating_since else ""
    return CommandError(
        f"destination {found.id} is being rotated{since}: `rotate {found.id} --finish` keeps the new secret, "
        f"`rotate {found.id} --cancel` the old one; `holdfast destinations secret {found.id}` shows both"
    )


@app.command("test")
def send_test(destination: Id, json: Json = False) -> None:
    """Send a made-up event now and show what the destination answers."""

    async def body(pool: Pool, settings: Settings) -> Attempt:
        found = await _find(pool, destination)
        return await _try(found, settings)

    attempt = with_store(body)
    if json:
        answer = attempt.response.decode(errors="replace")
        terminal.print_json(
            {
                "outcome": attempt.outcome,
                "status": attempt.status,
                "latency": attempt.latency,
                "error": attempt.error,
                "response": answer,
            }
        )
    elif attempt.outcome is Outcome.DELIVERED:
        terminal.say(f"Delivered: answered {attempt.status} after {terminal.duration(attempt.latency)}.")
    else:
        terminal.say(f"Not delivered: {attempt.error}.")
    if attempt.outcome is not Outcome.DELIVERED:
        raise typer.Exit(1)


def _chosen(merchant: str | None, webhook: str | None, email: str | None, application: str | None) -> tuple[Kind, str]:
    given: list[tuple[Kind, str]] = []
    if webhook:
        given.append(("webhook", webhook))
    if email:
        given.append(("email", email))
    if application:
        given.append(("application", application))
    if len(given) != 1:
        raise typer.BadParameter("name one of --webhook, --email and --application")
    if (given[0][0] == "application") == (merchant is not None):
        raise typer.BadParameter(
            "--application is the company's own: leave the merchant out" if merchant else "name the merchant first"
        )
    return given[0]


async def _find(pool: Pool, destination_id: int) -> Destination:
    found = await store.destination(pool, destination_id)
    if found is None:
        raise _unknown(destination_id)
    return found


def _unknown(destination_id: int) -> CommandError:
    return CommandError(f"there is no destination {destination_id}; `holdfast destinations list` shows them")


def _switch(destination_id: int, *, on: bool, json: bool) -> None:
    async def body(pool: Pool, _settings: Settings) -> tuple[bool, Shown]:
        changed = await store.set_enabled(pool, destination_id, on)
        return changed, await _owned(pool, await _find(pool, destination_id))

    changed, found = with_store(body)
    if json:
        terminal.print_json(found)
        return
    state = "enabled" if on else "disabled"
    terminal.say(f"Destination {destination_id} {state}." if changed else f"Destination {destination_id} was {state}.")


async def _owned(pool: Pool, found: Destination) -> Shown:
    keys = await store.keys(pool, [found.merchant_id])
    return _shown(found, keys.get(found.merchant_id))


def _shown(found: Destination, merchant: str | None) -> Shown:
    return Shown(
        found.id,
        merchant,
        found.kind,
        found.address,
        found.events,
        found.enabled,
        len(found.secrets),
        found.ceiling,
        found.rotating_since,
        found.disabled_since,
        found.disabled_why,
    )


async def _try(found: Destination, settings: Settings) -> Attempt:
    number = random.SystemRandom().getrandbits(40)
    about: dict[str, Any] = {"id": "pi_test", "object": "payment_intent", "amount": 1099, "currency": "usd"}
    now = datetime.now(UTC)
    event = {
        "id": f"evt_test_{number:x}",
        "object": "event",
        "type": "payment_intent.succeeded",
        "created": int(now.timestamp()),
        "livemode": False,
        "data": {"object": about | {"status": "succeeded"}},
    }
    message = Message(
        delivery_id=0,
        webhook_id=f"msg_test_{number:x}",
        attempt=1,
        event_id=str(event["id"]),
        event_type="payment_intent.succeeded",
        created=now,
        received=now,
        account=None,
        merchant=None,
        livemode=False,
        body=msgspec.json.encode(event),
        headers={},
    )
    if found.kind in FOR_MESSAGES:
        said = OwnMessage("Holdfast: a test", "This is a test. Messages about incidents come here.")
        message = replace(message, body=msgspec.json.encode(said))
    if found.kind == "team":
        return await TeamSender(settings.team_channels).send(found, message, now)
    if found.kind in ("email", "contact"):
        if settings.smtp_url is None:
            raise CommandError("mail is not set up: set HOLDFAST_SMTP_URL")
        async with MailSender(settings.smtp_url.get_secret_value(), settings.mail_from) as mail:
            return await mail.send(found, message, now)
    async with HttpSender(settings.networks) as http:
        return await http.send(found, message, now)
