"""The words of old texts go; that there was a text, what decided and what became of it stays."""

from datetime import timedelta

from holdfast import retention
from tests.messaging.texts import ANN, BOB, NOON, ask, grant, town


async def test_words_go_with_the_retention_and_only_of_texts_that_are_over(pool):
    merchant = (await town(pool)).bakery
    for phone in (ANN, BOB):
        await grant(pool, merchant, phone)
    over = await ask(pool, merchant, ANN)
    await ask(pool, merchant, BOB)
    await pool.execute("UPDATE message SET state = 'sent', settled_at = $2 WHERE id = $1", over.id, NOON)
    await retention.prune(pool, 30, NOON + timedelta(days=29))
    assert await pool.fetchval("SELECT count(*) FROM message WHERE body IS NULL") == 0
    await retention.prune(pool, 30, NOON + timedelta(days=31))
    rows = await pool.fetch("SELECT state, rule, body IS NULL AS is_blank FROM message ORDER BY id")
    assert [tuple(row) for row in rows] == [("sent", "consent", True), ("queued", "consent", False)]
    assert await retention.prune(pool, 30, NOON + timedelta(days=31)) == 0
