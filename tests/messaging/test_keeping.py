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


async def test_what_people_texted_goes_too_but_not_while_somebody_has_to_read_it(pool):
    await town(pool)
    texts = [("SM1", "other", None), ("SM2", "doubtful", None), ("SM3", "doubtful", NOON), ("SM4", "stop", None)]
    for sid, verdict, reviewed_at in texts:
        await pool.execute(
            "INSERT INTO inbound_text (sid, merchant_id, customer_id, phone, body, media, received_at, verdict, score, "
            "reviewed_at) VALUES ($1, 1, 1, '+1', 'words', '{picture}', $2, $3, 1, $4)",
            sid,
            NOON,
            verdict,
            reviewed_at,
        )
    assert await retention.prune(pool, 30, NOON + timedelta(days=29)) == 0
    assert await retention.prune(pool, 30, NOON + timedelta(days=31)) == 3
    rows = await pool.fetch("SELECT sid, body, media, verdict FROM inbound_text ORDER BY sid")
    assert [(row["sid"], row["body"], len(row["media"]), row["verdict"]) for row in rows] == [
        ("SM1", None, 0, "other"),
        ("SM2", "words", 1, "doubtful"),
        ("SM3", None, 0, "doubtful"),
        ("SM4", None, 0, "stop"),
    ]
    assert await retention.prune(pool, 30, NOON + timedelta(days=31)) == 0
