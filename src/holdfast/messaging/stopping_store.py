"""The SQL of stopping: what waits is cancelled and leaves the queue; what is on its way is seen."""

from collections.abc import Sequence
from datetime import datetime

from holdfast.db.pool import Connection, Pool
from holdfast.queue import store as queue
from holdfast.queue.model import Stage


async def cancel(db: Connection, blocks: Sequence[tuple[int, int, int]], now: datetime) -> dict[int, list[int]]:
    """For each (customer, merchant or 0, suppression): the texts that waited, by suppression. Confirmations stay."""
    rows = await db.fetch(
        f"""
        WITH blocked AS (
            SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS b(customer_id, merchant_id, id)
        ),
        cancelled AS (
            UPDATE message SET state = 'cancelled', rule = 'suppressed', suppression_id = blocked.id, settled_at = $4
            FROM blocked
            WHERE message.customer_id = blocked.customer_id AND message.kind <> 'confirmation'
              AND message.state = 'queued'
              AND blocked.merchant_id IN (0, message.merchant_id)
            RETURNING message.id, blocked.id AS suppression_id
        ),
        gone AS (
            DELETE FROM work USING cancelled WHERE work.stage = {Stage.SEND.value} AND work.ref = cancelled.id
            RETURNING work.*
        ),
        settled AS (
            {queue.ADD_DONE}
            SELECT stage, ref, lane, merchant_id, destination_id, received_at, $4, attempts, 'cancelled', NULL FROM gone
        )
        SELECT suppression_id, id FROM cancelled ORDER BY id
        """,
        [one[0] for one in blocks],
        [one[1] for one in blocks],
        [one[2] for one in blocks],
        now,
    )
    found: dict[int, list[int]] = {}
    for suppression_id, message_id in rows:
        found.setdefault(suppression_id, []).append(message_id)
    return found


async def being_sent(db: Connection | Pool, customer_ids: Sequence[int]) -> int:
    """Texts to these, confirmations apart, that somebody may be handing to Twilio now."""
    found: int = await db.fetchval(
        """
        SELECT count(*) FROM message
        WHERE customer_id = ANY($1::bigint[]) AND state = 'sending' AND kind <> 'confirmation'
          AND sending_until > clock_timestamp()
        """,
        customer_ids,
    )
    return found
