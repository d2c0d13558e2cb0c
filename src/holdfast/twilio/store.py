"""All SQL of Twilio's accounts: the subaccounts, since the main one is in the settings."""

import json

import asyncpg

from holdfast.db.pool import Connection, Pool
from holdfast.twilio.model import Account

Executor = Connection | Pool
_ACCOUNT = "sid, name, merchant_id, auth_token, signing, former_tokens"


async def accounts(db: Executor) -> list[Account]:
    rows = await db.fetch(f"SELECT {_ACCOUNT} FROM twilio_account ORDER BY sid")
    return [_account(row) for row in rows]


async def put(db: Executor, account: Account) -> bool:
    """Add an account, or change the one with its sid; whether it is new."""
    added: bool = await db.fetchval(
        """
        INSERT INTO twilio_account (sid, name, merchant_id, auth_token, signing, former_tokens)
        VALUES ($1, $2, $3, $4, $5::jsonb, $6)
        ON CONFLICT (sid) DO UPDATE SET name = excluded.name, merchant_id = excluded.merchant_id,
            auth_token = excluded.auth_token, signing = excluded.signing, former_tokens = excluded.former_tokens
        RETURNING xmax = 0
        """,
        account.sid,
        account.name,
        account.merchant_id,
        account.auth_token,
        json.dumps(dict(account.signing)),
        list(account.former_tokens),
    )
    return added


async def remove(db: Executor, sid: str) -> bool:
    return await db.execute("DELETE FROM twilio_account WHERE sid = $1", sid) == "DELETE 1"


def _account(row: asyncpg.Record) -> Account:
    signing, former = json.loads(row["signing"]), tuple(row["former_tokens"])
    return Account(row["sid"], row["name"], row["merchant_id"], row["auth_token"], signing, former)
