"""Runbooks and actions for these tests."""

from datetime import timedelta
from typing import Literal

from holdfast.runbooks.actions import Done, Outcome, Registry, Run

HEAD = """\
---
id: {id}
title: The shop is slow
triggers: [shop-slow]
severity: critical
---
# The shop is slow

## Detection
- Customers say so
"""


def registry() -> Registry:
    """Actions of a made-up shop."""
    made = Registry()

    @made.action("shop.look")
    async def look(run: Run, *, pages: int = 100) -> Outcome:
        """See how slow it is."""
        return Done(f"looked at {pages} pages for {run.step}", {"pages": pages})

    @made.action("shop.tell")
    async def tell(run: Run, *, text: str = "", to: Literal["team", "all"] = "team") -> Outcome:
        """Tell people."""
        return Done(text)

    @made.action("shop.limits")
    async def limits(run: Run, *, per_page: dict[str, int], within: timedelta = timedelta(minutes=5)) -> Outcome:
        """See whether pages keep to their limits."""
        return Done("")

    @made.action("shop.read_only", expires=timedelta(hours=2))
    async def read_only(run: Run) -> Outcome:
        """Nobody can buy for a while."""
        return Done("")

    @read_only.verify
    async def _(run: Run) -> bool:
        return True

    @read_only.undo
    async def _(run: Run) -> str:
        return ""

    @made.action("shop.half", expires=timedelta(hours=2))
    async def half(run: Run) -> Outcome:
        """Changes something, and cannot take it back."""
        return Done("")

    return made


def runbook(body: str, *, id: str = "shop-slow") -> str:  # noqa: A002 - it is called that in the file
    return HEAD.format(id=id) + body
