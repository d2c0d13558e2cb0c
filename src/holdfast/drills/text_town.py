"""People of the town who agreed to be texted: what shops text them, and what they text back.

For demonstrations, drills and measurements, beside `call_town`. Sources of wording: everyday language.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import aiohttp

from holdfast.consent import customers, ledger
from holdfast.consent.keys import PhoneKey
from holdfast.consent.model import Entry
from holdfast.db.pool import Pool
from holdfast.drills.call_town import WEST, Shop
from holdfast.drills.twilio import EmulatedTwilio
from holdfast.merchants import store as merchants

FORM = "web form"
DISCLOSURE = "I agree to get texts, also marketing, from {shop}. No condition of purchase. Reply STOP to end."
REMINDERS = (
    "Your order is ready to be picked up.",
    "We are open until 6 today.",
    "Your appointment is tomorrow at 10. Reply C to confirm.",
    "Thank you for your visit.",
)
OFFERS = ("20 % off everything this weekend. Reply STOP to end.", "New in: come and see. Reply STOP to end.")
ANSWERS = (
    "Thanks!",
    "C",
    "Can you make it 11 instead?",
    "I'll stop by at 5",
    "can you cancel my 3pm",
    "who is this?",
    "Yes",
)
STOPS = ("STOP", "please take me off your list", "stop texting me", "ya no me manden mensajes", "unsubscribe")


@dataclass(frozen=True, slots=True)
class Townsman:
    """Somebody who agreed to be texted by one shop. `phone` is theirs, `number` the shop's."""

    shop: str
    number: str
    phone: str


def people(shops: Sequence[Shop], each: int, prefix: str = "+1303554") -> list[Townsman]:
    """`each` people of every shop, in Denver; at most 10,000 in all."""
    return [
        Townsman(shop.key, shop.numbers[WEST], f"{prefix}{each * place + who:04}")
        for place, shop in enumerate(shops)
        for who in range(each)
    ]


async def introduce(pool: Pool, town: Sequence[Townsman], now: datetime) -> None:
    """Their consents, as if given by a form a month ago; once."""
    ids = await merchants.ids(pool, sorted({one.shop for one in town}))
    async with pool.acquire() as db, db.transaction():
        if await db.fetchval("SELECT EXISTS (SELECT FROM consent)"):
            return
        found = await customers.ensure(db, [one.phone for one in town], PhoneKey(), now)
        await ledger.append(
            db,
            [
                Entry(
                    found[one.phone].id,
                    ids[one.shop],
                    "grant",
                    purpose,
                    "website",
                    now - timedelta(days=30),
                    "the town",
                    disclosure=DISCLOSURE.format(shop=one.shop),
                    origin=FORM,
                    detail={"method": "web form", "ip": "192.0.2.7"},
                )
                for one in town
                for purpose in ("informational", "marketing")
            ],
            now,
        )


def bought_list(number: str, shop: str, count: int = 60, prefix: str = "+1720555") -> list[Townsman]:
    """People whom nobody ever asked, on a list that a shop was sold."""
    return [Townsman(shop, number, f"{prefix}{100 + who:04}") for who in range(count)]


def written(leads: Sequence[Townsman], now: datetime) -> str:
    """The list as a CSV file, which says that they agreed."""
    day = (now - timedelta(days=20)).date().isoformat()
    rows = [f"{one.phone},Yes I agree to marketing texts,{day},marketing" for one in leads]
    return "\n".join(["phone,disclosure,date,purpose", *rows, ""])


@dataclass(slots=True)
class Texting:
    """Shops that text people, and people who text back, until told to end. Rates are a second.

    `stops`: how many of those who text back want no more.
    """

    url: str
    token: str
    twilio: EmulatedTwilio
    town: Sequence[Townsman]
    rate: float = 1.0
    answers: float = 0.2
    stops: float = 0.03
    seed: int = 1
    taken: int = 0
    refused: int = 0
    lost: int = 0
    stopped: list[Townsman] = field(default_factory=list)

    async def run(self) -> None:
        rng = random.Random(self.seed)  # noqa: S311 - no secret
        async with aiohttp.ClientSession(headers={"authorization": f"Bearer {self.token}"}) as session:
            while True:
                await asyncio.sleep(rng.expovariate(self.rate))
                one = rng.choice(self.town)
                marketing = rng.random() < 0.2
                said = await self.ask(session, one, rng.choice(OFFERS if marketing else REMINDERS), marketing=marketing)
                if said == 202 and rng.random() < self.answers:
                    await self.answer(one, rng)

    async def ask(self, session: aiohttp.ClientSession, one: Townsman, body: str, *, marketing: bool) -> int:
        """Have a shop text somebody; the status of the API's answer, 0 for none."""
        asked = {
            "merchant": one.shop,
            "to": one.phone,
            "purpose": "marketing" if marketing else "informational",
            "body": body,
            "from": one.number,
        }
        try:
            async with session.post(f"{self.url}/v1/messages", json=asked) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            status = 0
        self.taken += status == 202
        self.refused += status == 422
        self.lost += status not in (202, 422)
        return status

    async def campaign(self, people: Sequence[Townsman], body: str) -> int:
        """Have a shop text all of them; how many texts were taken."""
        async with aiohttp.ClientSession(headers={"authorization": f"Bearer {self.token}"}) as session:
            return [await self.ask(session, one, body, marketing=False) for one in people].count(202)

    async def complain(self, one: Townsman, text: str, answer_to: str) -> int:
        """Somebody's words reach support, which files them; the status of the API's answer."""
        asked = {"phone": one.phone, "merchant": one.shop, "text": text, "answer_to": answer_to, "actor": "support"}
        async with (
            aiohttp.ClientSession(headers={"authorization": f"Bearer {self.token}"}) as session,
            session.post(f"{self.url}/v1/complaints", json=asked) as answer,
        ):
            return answer.status

    async def answer(self, one: Townsman, rng: random.Random) -> None:
        """Somebody texts back; now and then, that they want no more."""
        wants_out = rng.random() < self.stops
        await self.twilio.text(one.phone, one.number, rng.choice(STOPS if wants_out else ANSWERS))
        if wants_out:
            self.stopped.append(one)
