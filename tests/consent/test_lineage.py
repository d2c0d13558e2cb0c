"""Who came in the same way as somebody who complained."""

from datetime import timedelta
from typing import Any

import pytest

from holdfast.consent import lineage
from tests.messaging.texts import ANN, BOB, NOON, ask, grant, stop, town

pytestmark = pytest.mark.usefixtures("any_server")


async def batch(pool: Any, merchant_id: int, file: str = "people.csv") -> int:
    found: int = await pool.fetchval(
        "INSERT INTO import_batch (merchant_id, file, sha256, state, actor, began_at) "
        "VALUES ($1, $2, '', 'applied', 'ann', $3) RETURNING id",
        merchant_id,
        file,
        NOON,
    )
    return found


async def customer(pool: Any, phone: str) -> int:
    found: int = await pool.fetchval("SELECT id FROM customer WHERE phone = $1", phone)
    return found


async def test_a_consent_is_told_by_the_line_of_the_file_or_the_form(pool):
    merchant = (await town(pool)).bakery
    number = await batch(pool, merchant)
    await grant(pool, merchant, ANN, source="import", batch_id=number, batch_row=17)
    await grant(pool, merchant, ANN, NOON - timedelta(days=2), origin="spring web form")
    first, second = await lineage.sources(pool, await customer(pool, ANN), merchant)
    assert first.label == f"line 17 of people.csv, import {number} by ann"
    assert (first.batch_id, first.batch_row, second.label) == (number, 17, "spring web form")


async def test_everybody_who_came_with_the_same_file_is_found_in_pages(pool):
    found = await town(pool)
    number = await batch(pool, found.bakery)
    phones = [f"+1415555{n:04}" for n in range(200, 205)]
    for place, phone in enumerate(phones):
        await grant(pool, found.bakery, phone, source="import", batch_id=number, batch_row=place)
    await grant(pool, found.bakery, BOB)
    ids = [await customer(pool, phone) for phone in phones]
    (origin,) = await lineage.sources(pool, ids[0])
    page = await lineage.cohort(pool, origin, limit=2)
    assert page + await lineage.cohort(pool, origin, after=page[-1]) == ids
    assert [page async for page in lineage.everybody(pool, origin)] == [ids]


async def test_a_cohort_says_how_many_stopped_and_were_texted(pool):
    found = await town(pool)
    phones = [f"+1415555{n:04}" for n in range(200, 204)]
    for phone in phones:
        await grant(pool, found.bakery, phone, origin="raffle")
    await grant(pool, found.garage, BOB, origin="raffle")
    await stop(pool, found.bakery, phones[0])
    await stop(pool, found.garage, phones[1])
    await stop(pool, 0, phones[2], reason="complaint")
    sent = await ask(pool, found.bakery, phones[3])
    await pool.execute("UPDATE message SET state = 'sent' WHERE id = $1", sent.id)
    (origin,) = await lineage.sources(pool, await customer(pool, phones[3]))
    assert await lineage.cohort_size(pool, origin) == lineage.Cohort(people=4, suppressed=2, complained=0, texted=1)


async def test_a_contact_that_a_file_brought_without_consent_has_a_lineage_too(pool):
    merchant = (await town(pool)).bakery
    number = await batch(pool, merchant)
    await grant(pool, merchant, ANN)
    await pool.execute(
        "INSERT INTO contact (customer_id, merchant_id, batch_id, batch_row, changed_at) "
        "SELECT id, $1, $2, 3, $3 FROM customer",
        merchant,
        number,
        NOON,
    )
    origins = await lineage.sources(pool, await customer(pool, ANN))
    assert [(one.batch_id, one.batch_row, one.consent_seq) for one in origins] == [(None, None, 1), (number, 3, None)]
    assert (await lineage.cohort_size(pool, origins[1])).people == 1


async def test_what_came_one_by_one_has_no_cohort(pool):
    merchant = (await town(pool)).bakery
    await grant(pool, merchant, ANN)
    (origin,) = await lineage.sources(pool, await customer(pool, ANN))
    assert (origin.label, await lineage.cohort(pool, origin)) == ("website", [])
