"""All SQL of the steps of incidents' runs."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg

from holdfast.db.pool import Connection, Pool
from holdfast.incidents.evidence import plain, stored
from holdfast.incidents.model import StepRow, StepState
from holdfast.runbooks.model import Step

Executor = Connection | Pool
LONGEST_SAID = 4_000
"""Characters of what a step said."""
_STEP = (
    'incident_id, key, position, phase, "group", kind, text, action, parameters, role, every, state, runs, tries, '
    "due_at, began_at, ended_at, actor, said, evidence, draft, answer"
)


async def add(db: Executor, incident_id: int, steps: Sequence[Step]) -> None:
    """The steps of a new incident, all pending."""
    await db.executemany(
        """
        INSERT INTO step (incident_id, key, position, phase, "group", kind, text, action, parameters, role, every)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        """,
        [
            (
                incident_id,
                step.key,
                number,
                step.phase,
                step.group,
                step.kind,
                step.text,
                step.action,
                json.dumps(dict(step.parameters), default=str),
                step.role,
                step.every,
            )
            for number, step in enumerate(steps)
        ],
    )


async def steps(db: Executor, incident_id: int) -> list[StepRow]:
    """In the runbook's order."""
    rows = await db.fetch(f"SELECT {_STEP} FROM step WHERE incident_id = $1 ORDER BY position", incident_id)
    return [_step(row) for row in rows]


async def step(db: Executor, incident_id: int, key: str) -> StepRow | None:
    row = await db.fetchrow(f"SELECT {_STEP} FROM step WHERE incident_id = $1 AND key = $2", incident_id, key)
    return _step(row) if row is not None else None


async def for_people(db: Executor, incident_ids: Sequence[int]) -> list[StepRow]:
    """The steps of these incidents that wait for somebody: they ask, or have failed."""
    rows = await db.fetch(
        f"""
        SELECT {_STEP} FROM step WHERE incident_id = ANY($1::bigint[]) AND state IN ('asking', 'failed')
        ORDER BY incident_id, position
        """,
        list(incident_ids),
    )
    return [_step(row) for row in rows]


async def resume(db: Executor, incident_id: int, engine: str, now: datetime) -> None:
    """For an incident that goes on: updates begin again, and Recovery as a whole, with what it proves."""
    await db.execute(
        """
        UPDATE step SET state = 'waiting', due_at = $3, ended_at = NULL, tries = 0
        WHERE incident_id = $1 AND kind = 'every' AND state = 'done' AND actor = $2
        """,
        incident_id,
        engine,
        now,
    )
    await db.execute(
        """
        UPDATE step SET state = 'pending', actor = NULL, said = '', answer = NULL, tries = 0, due_at = NULL,
            began_at = NULL, ended_at = NULL
        WHERE incident_id = $1 AND phase = 'recovery' AND kind <> 'every' AND state IN ('done', 'not applicable')
        """,
        incident_id,
    )


async def forget_answer(db: Executor, incident_id: int, key: str) -> None:
    """An `ask` is to be asked again: nobody has answered it."""
    await db.execute(
        "UPDATE step SET actor = NULL, answer = NULL WHERE incident_id = $1 AND key = $2", incident_id, key
    )


async def lock(db: Connection, incident_id: int, key: str) -> StepRow | None:
    """The step, which nobody else changes until the transaction ends."""
    row = await db.fetchrow(
        f"SELECT {_STEP} FROM step WHERE incident_id = $1 AND key = $2 FOR UPDATE", incident_id, key
    )
    return _step(row) if row is not None else None


async def begin(db: Executor, incident_id: int, key: str, *, runs: int, now: datetime) -> None:
    """From now on it is under way: should this be the last that is heard of it, it is uncertain what it did."""
    await db.execute(
        """
        UPDATE step SET state = 'running', runs = $3, tries = tries + 1, began_at = coalesce(began_at, $4),
            due_at = NULL
        WHERE incident_id = $1 AND key = $2
        """,
        incident_id,
        key,
        runs,
        now,
    )


async def put(
    db: Executor,
    incident_id: int,
    key: str,
    state: StepState,
    *,
    said: str,
    now: datetime,
    actor: str | None = None,
    evidence: Mapping[str, Any] | None = None,
    due_at: datetime | None = None,
    draft: str | None = None,
    answer: str | None = None,
    tries: int | None = None,
) -> None:
    """How it stands now. What is None of actor, evidence, draft, answer and tries stays as it is."""
    await db.execute(
        """
        UPDATE step SET state = $3, said = $4, actor = coalesce($5, actor), evidence = coalesce($6::jsonb, evidence),
            due_at = $7, draft = coalesce($8, draft), answer = coalesce($9, answer), tries = coalesce($10, tries),
            began_at = coalesce(began_at, CASE WHEN $3::text <> 'pending' THEN $11::timestamptz END),
            ended_at = CASE WHEN $3::text IN ('done', 'not applicable', 'skipped', 'undone', 'failed')
                       THEN $11::timestamptz END
        WHERE incident_id = $1 AND key = $2
        """,
        incident_id,
        key,
        state,
        plain(said)[:LONGEST_SAID],
        actor,
        stored(evidence) if evidence is not None else None,
        due_at,
        draft,
        answer,
        tries,
        now,
    )


def _step(row: asyncpg.Record) -> StepRow:
    return StepRow(**{**row, "parameters": json.loads(row["parameters"]), "evidence": json.loads(row["evidence"])})
