"""The command that makes a link by which a person may consent again."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from holdfast.commands import terminal
from holdfast.commands.acting import As, acting
from holdfast.commands.merchants import find
from holdfast.commands.options import Json
from holdfast.commands.session import CommandError, with_store
from holdfast.config import Settings
from holdfast.consent import customers, links
from holdfast.consent.history import PURPOSES
from holdfast.consent.keys import PhoneKey
from holdfast.consent.links import Link
from holdfast.db.pool import Pool
from holdfast.merchants.numbers import e164

_MOST_DAYS = links.LONGEST_VALID.days


def link(
    phone: Annotated[str, typer.Argument(metavar="PHONE", help="The person's number: +14155550123.")],
    merchant: Annotated[str, typer.Option("--merchant", "-m", metavar="KEY", help="Whose texts.")],
    disclosure: Annotated[str, typer.Option(help="What the person is shown, and agrees to.", metavar="TEXT")],
    purpose: Annotated[str, typer.Option(help=f"One of {', '.join(PURPOSES)}.")] = "informational",
    days: Annotated[int, typer.Option(min=1, max=_MOST_DAYS, help="How long it is valid.")] = links.VALID.days,
    who: As = None,
    json: Json = False,
) -> None:
    """Make a link by which a person may consent again, once. It is shown now alone: send it to nobody else."""
    if purpose not in PURPOSES:
        raise typer.BadParameter(f"{purpose!r} is not a purpose: write {' or '.join(PURPOSES)}")

    async def body(pool: Pool, settings: Settings) -> Link:
        shop, number = await find(pool, merchant), e164(phone)
        person = (await customers.find(pool, [number], PhoneKey.load(settings))).get(number)
        if person is None:
            raise CommandError(f"nobody is known by {number}")
        async with pool.acquire() as db, db.transaction():
            return await links.make(
                db,
                settings.public,
                person,
                shop.id,
                PURPOSES[PURPOSES.index(purpose)],
                disclosure=disclosure,
                actor=acting(settings, who),
                now=datetime.now(UTC),
                lasts=timedelta(days=days),
            )

    made = with_store(body)
    if json:
        terminal.print_json({"url": made.url, "expires_at": made.expires_at})
        return
    terminal.say(made.url)
    terminal.note(f"Valid until {terminal.moment(made.expires_at)}, for one use.")
