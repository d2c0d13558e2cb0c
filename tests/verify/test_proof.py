"""What a runbook proves about critical payments: what is missing elsewhere does not fail it."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.config import Settings
from holdfast.drills.stripe import DEFAULT_API_KEY, EmulatedStripe
from holdfast.incidents import store as incidents
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.payments.actions import reconcile
from holdfast.runbooks.actions import Done, Failed, Run
from holdfast.verify.actions import critical_payments
from tests.inbox.events import maker

HOUR = timedelta(hours=1)


@pytest.fixture
async def emulated(pool) -> AsyncIterator[EmulatedStripe]:
    await merchants.upsert(pool, [NewMerchant("bakery", "Bakery", None, "acct_1A")])
    await merchants.upsert(pool, [NewMerchant("cafe", "Cafe", None, "acct_1B")])
    async with EmulatedStripe(accounts=["acct_1A", "acct_1B"]) as stripe:
        yield stripe


@pytest.fixture
async def run(pool, emulated) -> Run:
    now = datetime.now(UTC)
    await incidents.keep_text(pool, "backlog-1", "webhook-backlog", "# text", now)
    made = await incidents.insert(
        pool,
        runbook="webhook-backlog",
        version="backlog-1",
        scope="",
        title="Events wait",
        severity="critical",
        cause="",
        since=now - HOUR,
        opened_by="holdfast",
        commander=None,
        affected={},
        now=now - HOUR,
    )
    assert made is not None
    settings = Settings(_env_file=None, stripe_api_key=DEFAULT_API_KEY, stripe_api_url=emulated.url)
    return Run(pool, settings, made, "step", 1, now)


async def happened(emulated, *types) -> None:
    made = int(time.time()) - 1800
    about = maker.payment_intent(made, 1, "usd", None)
    await emulated.emit([maker.event(event_type, about, made, "acct_1A") for event_type in types])


async def test_missing_metadata_does_not_fail_the_proof_of_critical_payments(run, emulated):
    await happened(emulated, "customer.updated", "price.updated")
    proof = await critical_payments.run(run)
    assert isinstance(proof, Done)
    assert "Stripe lists 2 events, none that is missing here is critical" in proof.said
    assert proof.evidence["stripe"]["missing"] == 2


async def test_a_missing_critical_event_does(run, emulated):
    await happened(emulated, "payout.paid")
    proof = await critical_payments.run(run)
    assert isinstance(proof, Failed)
    assert "1 critical events, never received" in proof.said


async def test_an_account_that_revoked_its_access_is_said_and_fails_neither_step(run, emulated):
    await happened(emulated, "payout.paid")
    emulated.remove_account("acct_1B")
    fetched = await reconcile.run(run)
    assert isinstance(fetched, Done)
    assert (fetched.evidence["taken_in"], fetched.evidence["mode"]) == (1, "test")
    proof = await critical_payments.run(run)
    assert not isinstance(proof, Failed)
    assert [note for note in proof.evidence["stripe"]["notes"] if "acct_1B of cafe has revoked our access" in note]
