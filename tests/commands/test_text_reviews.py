"""`holdfast text-reviews …`"""

import json

from tests.messaging.test_reviews import DOUBTFUL, receive
from tests.messaging.texts import ANN, BAKERY, town


async def test_nothing_waits_at_first(done):
    assert "No text waits" in await done("text-reviews", "list")
    assert json.loads(await done("text-reviews", "list", "--json")) == {"texts": []}


async def test_a_doubtful_text_is_listed_shown_and_judged(done, run, pool):
    await town(pool)
    number = await receive(pool, DOUBTFUL)
    assert DOUBTFUL in await done("text-reviews", "list", "-m", "bakery")
    shown = json.loads(await done("text-reviews", "show", number, "--json"))
    assert (shown["from"], shown["to"], shown["merchant"], shown["verdict"]) == (ANN, BAKERY, "bakery", "doubtful")
    out = await done("text-reviews", "decide", number, "revoked", "--as", "bob", "--note", "annoyed")
    assert "revoked by bob" in out
    status, _, err = await run("text-reviews", "decide", number, "ordinary")
    assert (status, err.strip()) == (1, f"holdfast: text {number} was judged already: revoked, by bob")
    assert (await run("text-reviews", "decide", number, "maybe"))[0] == 2
    assert (await run("text-reviews", "show", "SM0"))[0] == 1
