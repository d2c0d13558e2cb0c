"""`holdfast texts …`"""

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.commands import terminal, text_reviews
from holdfast.commands.merchants import find
from holdfast.commands.options import Json, Limit, Since, Until, read_optional_time
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import EVERY_MERCHANT
from holdfast.db.notifications import hint
from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants
from holdfast.merchants.numbers import e164
from holdfast.messaging import gate, policy, templates
from holdfast.messaging import texts_store as store
from holdfast.messaging.api import (
    RULES,
    STATES,
    message_document,
    policy_document,
    story_document,
    template_document,
    template_documents,
)
from holdfast.messaging.model import WHY, Ask, Decision
from holdfast.messaging.texts_store import Filter
from holdfast.queue.channels import SEND

app = typer.Typer()
policy_app = typer.Typer()
templates_app = typer.Typer()
app.add_typer(policy_app, name="policy", help="How merchants text: hours, caps, sender, brand.", no_args_is_help=True)
app.add_typer(
    text_reviews.app, name="reviews", help="Doubtful texts from people: reading and judging them.", no_args_is_help=True
)
app.add_typer(templates_app, name="templates", help="Bodies with {placeholders}.", no_args_is_help=True)

MerchantKey = Annotated[str | None, typer.Option("--merchant", "-m", metavar="KEY", help="A merchant's.")]
Owner = Annotated[
    str | None, typer.Option("--merchant", "-m", metavar="KEY", help="Whose; every merchant's unless given.")
]
To = Annotated[str | None, typer.Option(metavar="NUMBER", help="To this person: +14155550123.")]
Before = Annotated[int | None, typer.Option(metavar="ID", help="Go on behind this one.")]
TextId = Annotated[int, typer.Argument(metavar="ID")]
Name = Annotated[str, typer.Argument(metavar="NAME")]
HELD = {
    "quiet_hours": "it waits for the person's morning",
    "messaging_on_hold": "texts are on hold: it waits until the lever is turned back",
}
_FALLBACK = "default"
"""Written instead of a value, it sets a policy's field back to what holds for every merchant."""


@app.command()
def send(
    merchant: Annotated[str, typer.Argument(metavar="MERCHANT")],
    to: Annotated[str, typer.Argument(metavar="NUMBER", help="The person's: +14155550123.")],
    body: Annotated[str | None, typer.Argument(help="What it says.")] = None,
    template: Annotated[str | None, typer.Option(help="A template instead.")] = None,
    var: Annotated[list[str] | None, typer.Option(metavar="NAME=TEXT", help="For it; may be repeated.")] = None,
    purpose: Annotated[str, typer.Option(help="informational or marketing.")] = "informational",
    from_: Annotated[str | None, typer.Option("--from", metavar="NUMBER", help="A number of the merchant.")] = None,
    send_at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="Not before 2026-11-24T15:30.")] = None,
    key: Annotated[str | None, typer.Option(help="However often it is asked for under this key, it goes once.")] = None,
    json: Json = False,
) -> None:
    """Send a text, if the gate lets it: it says which rule refused it, and by what."""
    if purpose not in ("informational", "marketing"):
        raise typer.BadParameter(f"{purpose!r} is no purpose: write informational or marketing")
    if (body is None) == (template is None):
        raise typer.BadParameter("give either what it says or a --template")
    given = dict(_variable(one) for one in var or ())
    at = read_optional_time(send_at)

    async def run(pool: Pool, settings: Settings) -> tuple[Decision, dict[str, Any]]:
        owner = await find(pool, merchant)
        said = await _body(pool, owner.id, body, template, given)
        asked = Ask(
            owner.id,
            e164(to),
            "marketing" if purpose == "marketing" else "informational",
            said,
            key=key,
            template=template,
            from_=e164(from_) if from_ is not None else None,
            send_at=at,
        )
        decision = (await gate.decide(pool, [asked], PhoneKey.load(settings)))[0]
        if not decision.is_refused:
            await hint(pool, SEND)
        return decision, await story_document(pool, decision.id)

    decision, document = with_store(run)
    if json:
        terminal.print_json({"message": document, "held_by": decision.held_by, "repeat": decision.is_repeat})
    else:
        _tell(decision)
    if decision.is_refused:
        raise typer.Exit(1)


async def _body(pool: Pool, merchant_id: int, body: str | None, template: str | None, given: dict[str, str]) -> str:
    if template is not None:
        return templates.render((await templates.find(pool, merchant_id, template)).body, given)
    if given:
        raise CommandError("--var is for a --template")
    return templates.checked_body(body or "")


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text!r} is not NAME=TEXT")
    return name, value


def _tell(decision: Decision) -> None:
    number = f"Text {decision.id}"
    if decision.is_refused:
        by = [f"ledger row {decision.consent_seq}" if decision.consent_seq is not None else ""]
        by.append(f"suppression {decision.suppression_id}" if decision.suppression_id is not None else "")
        rows = ", ".join(one for one in by if one)
        reason = f" ({decision.reason})" if decision.reason else ""
        shown = f" See {rows}." if rows else ""
        terminal.say(f"{number} refused by {decision.rule}: {WHY[decision.rule]}{reason}.{shown}")
        return
    repeat = " It was asked for before under this key." if decision.is_repeat else ""
    waits = f" {HELD[decision.held_by].capitalize()}." if decision.held_by is not None else ""
    terminal.say(f"{number} is {decision.state}, to go at {terminal.moment(decision.send_at)}.{waits}{repeat}")


@app.command("list")
def list_texts(
    merchant: MerchantKey = None,
    to: To = None,
    state: Annotated[str | None, typer.Option(help=f"One of {', '.join(STATES)}.")] = None,
    rule: Annotated[str | None, typer.Option(help=f"One of {', '.join(RULES)}.")] = None,
    since: Since = None,
    until: Until = None,
    before: Before = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List texts, refused ones included, newest first."""
    for name, value, known in (("state", state, STATES), ("rule", rule, RULES)):
        if value is not None and value not in known:
            raise typer.BadParameter(f"{value!r} is no {name}: write one of {', '.join(known)}")

    async def body(pool: Pool, _settings: Settings) -> list[dict[str, Any]]:
        owner = (await find(pool, merchant)).id if merchant is not None else None
        person = e164(to) if to is not None else None
        chosen = Filter(owner, person, state, rule, read_optional_time(since), read_optional_time(until))
        found = await store.messages(pool, chosen, limit=limit, before=before)
        keys = await merchants.keys(pool, [one.merchant_id for one in found])
        return [message_document(one, keys) for one in found]

    found = with_store(body)
    if json:
        terminal.print_json({"messages": found})
        return
    terminal.print_table(
        (">TEXT", "AT", "MERCHANT", "TO", "PURPOSE", "STATE", "AT TWILIO", "RULE", ">CODE"),
        (
            (
                one["id"],
                one["created_at"],
                one["merchant"],
                one["to"] or "erased",
                one["purpose"],
                terminal.status(one["state"]),
                one["status"] or "",
                one["rule"],
                one["error_code"] or "",
            )
            for one in found
        ),
        empty="No texts.",
    )
    if len(found) == limit:
        terminal.note(f"There may be more: --before {found[-1]['id']}")


@app.command("show")
def show_text(text: TextId, json: Json = False) -> None:
    """One text: what decided about it, and everything that Twilio told of it."""

    async def body(pool: Pool, _settings: Settings) -> dict[str, Any]:
        return await story_document(pool, text)

    found = with_store(body)
    if json:
        terminal.print_json(found)
        return
    shown = ("id", "merchant", "to", "from", "kind", "purpose", "body", "template", "state", "rule", "why", "reason")
    more = ("created_at", "send_at", "not_after", "tries", "tried_at", "settled_at", "sid", "status", "status_at")
    terminal.print_fields((name.replace("_", " "), found[name]) for name in (*shown, *more))
    terminal.print_fields((name.replace("_", " "), found[name]) for name in ("error_code", "error", "note"))
    for name, row in (("decided by the ledger's row", found["consent"]), ("blocked by", found["suppression"])):
        if row is not None:
            terminal.say("")
            terminal.print_fields([(name, row.get("seq", row.get("id")))])
            facts = ("action", "purpose", "source", "given_at", "reason", "actor", "note", "made_at", "lifted_at")
            terminal.print_fields((fact.replace("_", " "), row[fact]) for fact in facts if row.get(fact))
    terminal.say("")
    terminal.print_table(
        ("RECEIVED", "STATUS", ">EVENT"),
        ((one["at"], one["status"], one["event"]) for one in found["callbacks"]),
        empty="Twilio told nothing of it, or that is no longer kept.",
    )


@policy_app.command("show")
def show_policy(merchant: Owner = None, json: Json = False) -> None:
    """How a merchant texts, and what of it is its own."""

    async def body(pool: Pool, _settings: Settings) -> dict[str, Any]:
        owner = await _owner(pool, merchant)
        return await policy_document(pool, owner, merchant)

    _show_policy(with_store(body), json=json)


@policy_app.command("set")
def set_policy(
    merchant: Owner = None,
    opens: Annotated[str | None, typer.Option(metavar="HH:MM", help="Marketing goes from then on.")] = None,
    closes: Annotated[str | None, typer.Option(metavar="HH:MM", help="Until then, of the person's time.")] = None,
    most_per_day: Annotated[str | None, typer.Option(metavar="N", help="Marketing to one person in 24 h.")] = None,
    most_per_week: Annotated[str | None, typer.Option(metavar="N", help="And in 7 days.")] = None,
    sender: Annotated[str | None, typer.Option(metavar="NUMBER", help="A number of the merchant, or MG….")] = None,
    brand: Annotated[str | None, typer.Option(help="What people know it as.")] = None,
    help_text: Annotated[str | None, typer.Option(help="What HELP is answered with.")] = None,
    provider_answers: Annotated[
        str | None, typer.Option(metavar="yes|no", help="Whether Twilio itself answers STOP, START and HELP.")
    ] = None,
    json: Json = False,
) -> None:
    """Change how a merchant texts; `default` as a value sets it back to what holds for every merchant."""
    given = {
        "opens": _read(opens, policy.read_time),
        "closes": _read(closes, policy.read_time),
        "most_per_day": _read(most_per_day, _count),
        "most_per_week": _read(most_per_week, _count),
        "sender": _read(sender, str),
        "brand": _read(brand, str),
        "help_text": _read(help_text, str),
        "provider_answers": _read(provider_answers, _yes),
    }
    changes = {name: value[0] for name, value in given.items() if value is not None}
    if not changes:
        raise typer.BadParameter("say what is to be changed; `holdfast texts policy set --help` lists it")

    async def body(pool: Pool, _settings: Settings) -> dict[str, Any]:
        owner = await _owner(pool, merchant)
        await policy.change(pool, owner, changes, by=getpass.getuser())
        return await policy_document(pool, owner, merchant)

    _show_policy(with_store(body), json=json)


async def _owner(pool: Pool, merchant: str | None) -> int:
    return (await find(pool, merchant)).id if merchant is not None else EVERY_MERCHANT


def _read(text: str | None, reader: Any) -> tuple[Any] | None:
    """None: it stays as it is."""
    if text is None:
        return None
    return (None,) if text == _FALLBACK else (reader(text),)


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text)
    raise typer.BadParameter(f"{text!r} is not a number")


def _yes(text: str) -> bool:
    if text in ("yes", "no"):
        return text == "yes"
    raise typer.BadParameter(f"{text!r} is neither yes nor no")


def _show_policy(found: dict[str, Any], *, json: bool) -> None:
    if json:
        terminal.print_json(found)
        return
    terminal.say(f"How {found['merchant'] or 'every merchant'} texts:")
    terminal.print_table(
        ("WHAT", "IS", "ITS OWN"),
        (
            (name.replace("_", " "), value, "yes" if found["own"][name] is not None and found["merchant"] else "")
            for name, value in found["in_force"].items()
        ),
        empty="",
    )
    for warning in found["warnings"]:
        terminal.note(f"Note: {warning}.")


@templates_app.command("list")
def list_templates(merchant: MerchantKey = None, json: Json = False) -> None:
    """All; or those that a merchant has or may use."""

    async def body(pool: Pool, _settings: Settings) -> list[dict[str, Any]]:
        owner = (await find(pool, merchant)).id if merchant is not None else None
        return await template_documents(pool, owner)

    found = with_store(body)
    if json:
        terminal.print_json({"templates": found})
        return
    terminal.print_table(
        ("NAME", "MERCHANT", "PLACEHOLDERS", "BODY"),
        ((one["name"], one["merchant"] or "every", ", ".join(one["variables"]), one["body"]) for one in found),
        empty="No templates. Add one: holdfast texts templates set ready 'Hi {name}, your order is ready.'",
    )


@templates_app.command("set")
def set_template(
    name: Name,
    body: Annotated[str | None, typer.Argument(help="With placeholders: Hi {name}!")] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Read it from there.")] = None,
    merchant: Owner = None,
    json: Json = False,
) -> None:
    """Add a template, or replace it."""
    if (body is None) == (file is None):
        raise typer.BadParameter("give either what it says or a --file")
    said = body if body is not None else _file(file)

    async def run(pool: Pool, _settings: Settings) -> tuple[bool, dict[str, Any]]:
        owner = await _owner(pool, merchant)
        is_new = await templates.put(pool, owner, name, said, by=getpass.getuser())
        keys = {owner: merchant} if merchant is not None else {}
        return is_new, template_document(await templates.find(pool, owner, name), keys)

    is_new, found = with_store(run)
    if json:
        terminal.print_json(found)
        return
    needs = f"; it needs {', '.join(found['variables'])}" if found["variables"] else ""
    terminal.say(f"Template {name} of {merchant or 'every merchant'} {'added' if is_new else 'changed'}{needs}.")


def _file(path: Path | None) -> str:
    assert path is not None
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}") from None


@templates_app.command("remove")
def remove_template(name: Name, merchant: Owner = None, json: Json = False) -> None:
    """Remove a template; a merchant's own gives way to that of every merchant."""

    async def body(pool: Pool, _settings: Settings) -> None:
        owner = await _owner(pool, merchant)
        await templates.remove(pool, owner, name)

    with_store(body)
    if json:
        terminal.print_json({"name": name, "merchant": merchant, "removed": True})
        return
    terminal.say(f"Template {name} of {merchant or 'every merchant'} removed.")
