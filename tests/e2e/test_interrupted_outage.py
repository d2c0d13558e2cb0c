"""The runbook of a Twilio outage with its real actions, by an engine that is killed at every boundary of every step."""

from datetime import timedelta
from uuid import UUID

import pytest
from pydantic import SecretStr

from holdfast.drills import call_town
from holdfast.drills.call_town import EAST, WEST
from holdfast.drills.operator import Operator
from holdfast.drills.twilio import DEFAULT_ACCOUNT_SID, DEFAULT_AUTH_TOKEN, EmulatedTwilio
from holdfast.incidents import people_store
from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from holdfast.runbooks.working import Desk
from holdfast.watch import store as watch
from holdfast.watch.model import Alert
from tests import servers
from tests.e2e.company import SETTINGS, Company, killed_everywhere
from tests.signals.measured import alive, level, measured
from tests.voice.calls import call, legs

RUNBOOK, KEY = "twilio-outage", "twilio-outage/regions"
NOWHERE = "http://127.0.0.1:9"
"""Our public URL: nobody is there, so call flows cannot be tested from here."""


class Town(Company):
    """Shops that are called all the time; in the east nobody can be put through until it ends."""

    def __init__(self, pool, twilio):
        self.settings = SETTINGS.model_copy(
            update={
                "public_url": NOWHERE,
                "twilio_account_sid": DEFAULT_ACCOUNT_SID,
                "twilio_auth_token": SecretStr(DEFAULT_AUTH_TOKEN),
                "twilio_api_url": twilio.url,
                "twilio_status_url": twilio.status_url,
            }
        )
        super().__init__(pool, RUNBOOK)
        # Each kill costs a lease's time, so it would be asked for in one run and not in the other.
        desk = Desk(pool, self.settings, self.registry, self.library)
        self.operator = Operator(desk, "ann", leaves=("voice.voicemail_only",))
        self.fails = True
        self.shops = call_town.town(["bakery", "florist"])

    async def begin(self):
        for shop in self.shops:
            await merchants.insert(self.pool, NewMerchant(shop.key, shop.key, f"{shop.key}@shops.example"))
        self.ids = await merchants.ids(self.pool, [shop.key for shop in self.shops])
        await call_town.introduce(self.pool, self.shops)
        await people_store.put(self.pool, "ann", "Ann", "ann@company.example", "admin")
        await people_store.set_rota(self.pool, ["ann"], self.now - timedelta(hours=1))
        since = self.now - timedelta(minutes=3)
        for second in range(0, 180, 10):
            await self.called(since + timedelta(seconds=second))
        why = "Legs of one region fail, and those of others do not."
        alert = Alert(KEY, RUNBOOK, "regions", "critical", "Calls through US-east fail", why, since, self.now)
        await watch.keep(self.pool, alert, {}, self.now)

    async def end(self):
        self.fails = False
        await watch.close(self.pool, KEY, self.now)

    async def live(self):
        for number, kind in enumerate(("web", "watch"), 20):
            await alive(self.pool, self.now, kind, source=UUID(int=number))
        await measured(self.pool, self.now, "event_loop_lag_recent_seconds", level(0.01, "web"))
        await self.called(self.now)

    async def outcome(self):
        state, states, sent, *rest = await super().outcome()
        return state, states, {key: count for key, count in sent.items() if "voicemail_only/asked" not in key}, *rest

    async def called(self, at):
        """Each number once: the east by its own people where it is not gone round, else by those in the west."""
        goes_round = await self.pool.fetchval("SELECT count(*) FROM lever WHERE name = 'voice.avoid'")
        for shop in self.shops:
            for region, phone in shop.numbers.items():
                place = WEST if goes_round else region
                failed = self.fails and place == EAST
                target = shop.plans[place].targets[0].address
                await legs(self.pool, target, "F" if failed else "A", region=place, phone=phone, at=at)
                outcome = "missed" if failed else "person"
                await call(self.pool, outcome, phone=phone, region=region, merchant_id=self.ids[shop.key], at=at)


@pytest.fixture
async def twilio():
    async with EmulatedTwilio(regions=call_town.PREFIXES) as exchange:
        call_town.connect(exchange, call_town.town(["bakery", "florist"]), NOWHERE)
        yield exchange


async def test_an_engine_killed_at_every_boundary_of_an_outage_changes_nothing(pool, monkeypatch, twilio):
    undisturbed = Town(pool, twilio)
    await undisturbed.play()
    expected = await undisturbed.outcome()
    state, states, _, turned, off = expected
    assert (state, off) == ("resolved", 0), await undisturbed.told()
    assert set(states.values()) <= {"done", "not applicable"}, await undisturbed.told()
    assert states["voice.redistribute"] == states["detours-back"] == states["comms.all_clear"] == "done"
    assert {row[:2] for row in turned} == {("voice.avoid", f"region:{EAST}")}

    await servers.clear(pool)
    await killed_everywhere(Town(pool, twilio), expected, monkeypatch)
