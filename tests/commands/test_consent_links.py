"""The command that makes a link to consent again."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from holdfast.commands.consent_links import link
from holdfast.consent import links
from tests.messaging.texts import ANN, grant, town
from tests.processes import ONLY, environment

WORDS = "I agree to get texts from The Bakery."


@pytest.fixture
def make(database_url, pool):
    """The command alone: it stands among those of the ledger."""
    app = typer.Typer()
    app.command()(link)

    async def runner(*arguments: str) -> Any:
        env = ONLY | environment(database_url=database_url, public_url="https://texts.example.com")
        return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=env)

    return runner


async def test_a_link_is_made_for_whom_we_know(make, pool):
    await grant(pool, (await town(pool)).bakery, ANN)
    result = await make("+1 415 555 0111", "-m", "bakery", "--disclosure", WORDS, "--days", "3", "--json")
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    offer = await links.find(pool, made["url"].removeprefix("https://texts.example.com/consent/"))
    assert offer is not None
    assert (offer.phone, offer.disclosure, offer.purpose) == (ANN, WORDS, "informational")
    assert timedelta(days=2) < offer.expires_at - datetime.now(UTC) <= timedelta(days=3)
    assert "nobody is known" in str((await make("+14155550199", "-m", "bakery", "--disclosure", WORDS)).exception)
    assert (await make(ANN, "-m", "bakery", "--disclosure", WORDS, "--purpose", "x")).exit_code == 2
