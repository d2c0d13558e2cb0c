"""The usual handler's job, as one would write it without Holdfast: store the event, later apply it, note what to send.

One event at a time and one transaction each, with psycopg, beside the task queue.
"""

import json
from typing import Any, LiteralString

SCHEMA: LiteralString = """
CREATE TABLE event (
    id text PRIMARY KEY, type text NOT NULL, account text, created bigint NOT NULL, body text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(), routed_at timestamptz
);
CREATE TABLE payment (
    id text PRIMARY KEY, kind text NOT NULL, account text, status text, currency text, amount bigint,
    first_event text NOT NULL, last_event text NOT NULL, last_event_at bigint NOT NULL
);
CREATE TABLE subscription (account text NOT NULL, url text NOT NULL, pattern text NOT NULL);
CREATE INDEX ON subscription (account);
CREATE TABLE delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, event_id text NOT NULL, url text NOT NULL,
    UNIQUE (event_id, url)
);
"""

ADD: LiteralString = """
INSERT INTO event (id, type, account, created, body) VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
BODY: LiteralString = "SELECT body FROM event WHERE id = %s AND routed_at IS NULL FOR UPDATE"
APPLY: LiteralString = """
INSERT INTO payment AS p (id, kind, account, status, currency, amount, first_event, last_event, last_event_at)
VALUES (%(id)s, %(kind)s, %(account)s, %(status)s, %(currency)s, %(amount)s, %(event)s, %(event)s, %(created)s)
ON CONFLICT (id) DO UPDATE SET status = excluded.status, amount = excluded.amount, last_event = excluded.last_event,
    last_event_at = excluded.last_event_at WHERE excluded.last_event_at >= p.last_event_at
"""
PLAN: LiteralString = """
INSERT INTO delivery (event_id, url)
SELECT %s, url FROM subscription WHERE account = %s AND %s LIKE pattern ON CONFLICT DO NOTHING
"""
ROUTED: LiteralString = "UPDATE event SET routed_at = clock_timestamp() WHERE id = %s"

_LEDGER = {"payment_intent", "charge", "refund", "dispute", "checkout.session", "invoice", "payout", "transfer"}


def added(event: Any, body: bytes) -> tuple[object, ...]:
    """Parameters of `ADD`; `event` as Stripe's SDK gives it."""
    return event["id"], event["type"], getattr(event, "account", None), event["created"], body.decode()


def statements(event_id: str, body: str) -> list[tuple[LiteralString, Any]]:
    """What a worker executes for an event."""
    event = json.loads(body)
    found = event["data"]["object"]
    made: list[tuple[LiteralString, Any]] = []
    if found.get("object") in _LEDGER and found.get("id"):
        payment = {
            "id": found["id"],
            "kind": found["object"],
            "account": event.get("account"),
            "status": found.get("status"),
            "currency": found.get("currency"),
            "amount": found.get("amount", found.get("total")),
            "event": event_id,
            "created": event["created"],
        }
        made.append((APPLY, payment))
    made.append((PLAN, (event_id, event.get("account"), event["type"])))
    made.append((ROUTED, (event_id,)))
    return made
