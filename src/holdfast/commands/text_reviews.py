"""`holdfast text-reviews …`"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, get_args

import typer

from holdfast.commands import terminal
from holdfast.commands.acting import As, acting
from holdfast.commands.merchants import find
from holdfast.commands.options import Json, Limit
from holdfast.commands.session import with_store
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants
from holdfast.messaging import reviews
from holdfast.messaging.inbound_api import document
from holdfast.messaging.inbound_store import Received

app = typer.Typer()

Sid = Annotated[str, typer.Argument(metavar="SM…", help="As `holdfast text-reviews list` shows.")]
Keys = Mapping[int, str]
DECISIONS: tuple[reviews.Decision, ...] = get_args(reviews.Decision)
_SHOWN = 160


@app.command("list")
def list_reviews(
    merchant: Annotated[str | None, typer.Option("--merchant", "-m", metavar="KEY", help="A merchant's.")] = None,
    before: Annotated[str | None, typer.Option("--behind", metavar="SID", help="Go on behind this one.")] = None,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """List texts that may mean stop and that nobody has judged, oldest first: their senders get nothing until then."""

    async def body(pool: Pool, _settings: Settings) -> tuple[list[Received], Keys]:
        chosen = (await find(pool, merchant)).id if merchant is not None else None
        found = await reviews.listing(pool, limit=limit, before=before, merchant_id=chosen)
        return found, await merchants.keys(pool, [one.merchant_id for one in found])

    found, keys = with_store(body)
    if json:
        terminal.print_json({"texts": [document(one, keys) for one in found]})
        return
    terminal.print_table(
        ("TEXT", "CAME", "FROM", "MERCHANT", ">SCORE", "WORDS"),
        (
            (
                one.sid,
                one.received_at,
                one.from_ or "erased",
                keys.get(one.merchant_id, "-"),
                f"{one.score:.2f}",
                _words(one),
            )
            for one in found
        ),
        empty="No text waits to be judged.",
    )


@app.command()
def show(sid: Sid, json: Json = False) -> None:
    """Show a text from a person: its words, how it was judged and by which rules, and what was decided."""

    async def body(pool: Pool, _settings: Settings) -> tuple[Received, Keys]:
        found = await reviews.show(pool, sid)
        return found, await merchants.keys(pool, [found.merchant_id])

    _print(*with_store(body), json=json)


@app.command()
def decide(
    sid: Sid,
    decision: Annotated[
        str,
        typer.Argument(
            metavar="revoked|ordinary",
            help="revoked: they want no more, since the text came; ordinary: the merchant gets the text.",
        ),
    ],
    note: Annotated[str, typer.Option(help="Why; it is kept with the text.")] = "",
    who: As = None,
    json: Json = False,
) -> None:
    """Say what a doubtful text meant; once."""
    if decision not in DECISIONS:
        raise typer.BadParameter(f"{decision!r} is not a decision: write {' or '.join(DECISIONS)}")

    async def body(pool: Pool, settings: Settings) -> tuple[Received, Keys]:
        found = await reviews.decide(
            pool,
            sid,
            decision,
            actor=acting(settings, who),
            note=note,
            now=datetime.now(UTC),
        )
        return found, await merchants.keys(pool, [found.merchant_id])

    _print(*with_store(body), json=json)


def _print(text: Received, keys: Keys, *, json: bool) -> None:
    if json:
        terminal.print_json(document(text, keys))
        return
    terminal.print_fields(
        (
            ("text", text.sid),
            ("from", text.from_ or "erased, or no phone"),
            ("to", text.to),
            ("merchant", keys.get(text.merchant_id)),
            ("came", text.received_at),
            ("words", text.body or "-"),
            ("pictures", " ".join(text.media) or None),
            ("judged", f"{text.verdict}, {text.score:.2f}"),
            ("rules", "; ".join(text.rules) or None),
            ("Twilio said", text.provider_said),
            ("decided", f"{text.decision} by {text.reviewed_by}" if text.decision else None),
            ("at", text.reviewed_at),
            ("note", text.review_note or None),
        )
    )


def _words(text: Received) -> str:
    words = " ".join((text.body or "").split())
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}…"
