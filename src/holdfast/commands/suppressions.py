"""`holdfast suppressions …`"""

from datetime import UTC, datetime
from typing import Annotated, Any, get_args

import typer

from holdfast.commands import terminal
from holdfast.commands.acting import As, acting
from holdfast.commands.consent import Phone, print_suppressions
from holdfast.commands.merchants import find
from holdfast.commands.options import Json, Limit, Since, read_optional_time
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.consent import documents, store
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import EVERY_MERCHANT, Reason
from holdfast.db.pool import Pool
from holdfast.messaging import blocking
from holdfast.messaging.stopping import Stopped

app = typer.Typer()

REASONS: tuple[Reason, ...] = get_args(Reason)
MerchantKey = Annotated[
    str | None, typer.Option("--merchant", "-m", metavar="KEY", help="Only its own; `every`: those of every merchant.")
]
Number = Annotated[int, typer.Argument(metavar="ID", help="As `holdfast suppressions list` shows.")]


@app.command("list")
def listing(
    merchant: MerchantKey = None,
    reason: Annotated[str | None, typer.Option(help=f"One of {', '.join(REASONS)}.")] = None,
    lifted: Annotated[bool | None, typer.Option("--lifted/--live", help="Only those that are lifted, or not.")] = None,
    since: Since = None,
    before: Annotated[int | None, typer.Option(metavar="ID", help="Go on behind this one.")] = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List blocks, newest first."""
    if reason is not None and reason not in REASONS:
        raise typer.BadParameter(f"{reason!r} is not a reason: write one of {', '.join(REASONS)}")
    begin = read_optional_time(since)

    async def body(pool: Pool, _settings: Settings) -> list[dict[str, Any]]:
        merchant_id = await _merchant_id(pool, merchant) if merchant is not None else None
        found = await store.suppressions(
            pool,
            merchant_id=merchant_id,
            reason=reason,
            live=None if lifted is None else not lifted,
            since=begin,
            before=before,
            limit=limit,
        )
        return await documents.listed(pool, found)

    found = with_store(body)
    if json:
        terminal.print_json({"suppressions": found})
        return
    print_suppressions(found, empty="Nobody is blocked." if merchant is None and reason is None else "None of these.")
    if len(found) == limit:
        terminal.note(f"There may be more: --before {found[-1]['id']}")


@app.command()
def show(suppression_id: Number, json: Json = False) -> None:
    """One block."""
    found = with_store(lambda pool, _settings: documents.one_suppression(pool, suppression_id))
    if found is None:
        raise CommandError(f"there is no suppression {suppression_id}; see `holdfast suppressions list`")
    if json:
        terminal.print_json(found)
        return
    terminal.print_fields((name.replace("_", " "), value) for name, value in found.items() if value not in ("", []))


@app.command()
def add(
    phone: Phone,
    merchant: Annotated[
        str | None, typer.Option("--merchant", "-m", metavar="KEY", help="Whose texts it keeps away.")
    ] = None,
    every: Annotated[bool, typer.Option("--every-merchant", help="All of them.")] = False,
    reason: Annotated[
        str, typer.Option(help="opt_out: they told one of us so, the ledger says it too. operator: our own wish.")
    ] = "operator",
    note: Annotated[str, typer.Option(help="Why.")] = "",
    by: As = None,
    json: Json = False,
) -> None:
    """Block somebody. What waits for them is cancelled; returns when nothing can go out any more."""
    if (merchant is None) != every:
        raise typer.BadParameter("say --merchant KEY, or --every-merchant")
    if reason not in blocking.BY_HAND:
        raise typer.BadParameter(f"{reason!r} cannot be given by hand: write {' or '.join(blocking.BY_HAND)}")
    chosen: blocking.ByHand = "opt_out" if reason == "opt_out" else "operator"

    async def body(pool: Pool, settings: Settings) -> Stopped:
        merchant_id = await _merchant_id(pool, merchant or documents.EVERY)
        return await blocking.add(
            pool,
            blocking.number(phone),
            merchant_id,
            chosen,
            PhoneKey.load(settings),
            actor=acting(settings, by),
            note=note,
            now=datetime.now(UTC),
        )

    done = with_store(body)
    if json:
        terminal.print_json(done)
        return
    said = "is blocked" if done.is_new else "was blocked already"
    whose = merchant or "every merchant"
    terminal.say(
        f"{phone} {said} for {whose}: suppression {done.suppression_id}; {len(done.cancelled)} waiting texts cancelled."
    )


@app.command()
def lift(
    suppression_id: Number,
    why: Annotated[str, typer.Option("--why", help="Why: it is kept.")],
    by: As = None,
    json: Json = False,
) -> None:
    """Lift a block by hand. A person who was erased stays blocked; who complained comes back by their own deed."""

    async def body(pool: Pool, settings: Settings) -> dict[str, Any] | None:
        await blocking.lift(pool, suppression_id, actor=acting(settings, by), why=why, now=datetime.now(UTC))
        return await documents.one_suppression(pool, suppression_id)

    found = with_store(body)
    assert found is not None
    if json:
        terminal.print_json(found)
        return
    terminal.say(f"Suppression {suppression_id} ({found['reason']}, {found['merchant']}) is lifted.")
    terminal.note("Texts still need a consent that holds: holdfast consent show " + (found["phone"] or "PHONE"))


async def _merchant_id(pool: Pool, key: str) -> int:
    return EVERY_MERCHANT if key == documents.EVERY else (await find(pool, key)).id
