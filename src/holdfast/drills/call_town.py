"""A small town of shops that can be called, in two regions: for demonstrations, drills and measurements.

Each shop has a number in each region, and behind each number a desk and a mobile in the same region. So a region that
fails leaves half of the calls without anybody, unless they go round it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.db.pool import Pool
from holdfast.drills.twilio import EmulatedTwilio
from holdfast.drills.twilio_people import Caller, Person
from holdfast.drills.twilio_traffic import CallMix
from holdfast.merchants import number_store
from holdfast.merchants import store as merchants
from holdfast.merchants.numbers import NewNumber
from holdfast.voice import store
from holdfast.voice.model import Plan, PlanTarget

EAST, WEST = "US-east", "US-west"
PREFIXES = {"+1212": EAST, "+1646": EAST, "+1415": WEST, "+1510": WEST}
"""Where the numbers of the town are, by how they begin: numbers of shops, and of those who answer."""
_NUMBERS = {EAST: "+1212", WEST: "+1415"}
_PEOPLE = {EAST: "+1646", WEST: "+1510"}
DESK, MOBILE = Person(answers=0.9, rings=4.0, talks=30.0), Person(answers=0.7, rings=6.0, talks=30.0)
CALLERS = CallMix(
    caller_prefix="+1303555", callers=((Caller(patience=150.0, leaves_voicemail=1.0, voicemail=12.0), 1.0),)
)
"""They wait for as long as it takes, and leave a message."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop's two numbers with their plans, by region."""

    key: str
    numbers: dict[str, str]
    plans: dict[str, Plan]


def town(keys: Sequence[str]) -> list[Shop]:
    """A shop for each merchant."""
    shops = []
    for place, key in enumerate(keys):
        plans = {
            region: Plan(
                targets=tuple(
                    PlanTarget(f"{_PEOPLE[region]}555{10 * place + who:04}", rings=15, region=region) for who in (1, 2)
                ),
                greeting=f"Thank you for calling the {key}.",
                transcribe=True,
            )
            for region in (EAST, WEST)
        }
        shops.append(Shop(key, {region: f"{_NUMBERS[region]}555{1000 + place:04}" for region in (EAST, WEST)}, plans))
    return shops


async def introduce(pool: Pool, shops: Sequence[Shop]) -> None:
    """Put the numbers and call plans of merchants that are there into the store."""
    ids = await merchants.ids(pool, [shop.key for shop in shops])
    new = [
        NewNumber(phone, ids[shop.key], region, stands_in=True)
        for shop in shops
        for region, phone in shop.numbers.items()
    ]
    await number_store.put(pool, new)
    plans = {phone: shop.plans[region] for shop in shops for region, phone in shop.numbers.items()}
    await store.put_plans(pool, plans, changed_by="the town")


def connect(twilio: EmulatedTwilio, shops: Sequence[Shop], url: str) -> None:
    """Point the numbers at Holdfast's public URL, and put people at the targets."""
    hooks = f"{url}/hooks/twilio"
    twilio.set_debugger_url(f"{hooks}/debugger")
    for shop in shops:
        for region, phone in shop.numbers.items():
            twilio.add_number(
                phone,
                voice_url=f"{hooks}/voice",
                status_callback=f"{hooks}/voice/status",
                sms_url=f"{hooks}/message",
                region=region,
            )
            for target, person in zip(shop.plans[region].targets, (DESK, MOBILE), strict=True):
                twilio.set_person(target.address, person, region=region)
