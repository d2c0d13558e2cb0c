"""`/v1/audit/findings`: texts that should not have gone out."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants
from holdfast.messaging import auditing
from holdfast.messaging import auditing_store as store
from holdfast.messaging.api import merchant_id
from holdfast.messaging.auditing_store import Finding, FindingKind, Which
from holdfast.messaging.model import MessagingError

Id = Annotated[int, Path(ge=1, le=2**63 - 1)]


class AuditFinding(BaseModel):
    """A text that should not have gone out. `critical`: the person had stopped it, or never agreed."""

    id: int
    kind: FindingKind
    subject: str
    """Twilio's sid of the text, or message:ID."""
    merchant: str | None
    """Its key; null: nobody's."""
    customer_id: int | None
    message_id: int | None
    sent_at: datetime
    found_at: datetime
    said: str
    is_critical: bool
    settled_at: datetime | None
    settled_by: str | None
    settled_why: str | None


class Findings(BaseModel):
    findings: list[AuditFinding]
    next: str | None
    """The cursor of the next page; null at the end."""


class Settling(BaseModel):
    """Who looked at it, and why it is settled."""

    model_config = ConfigDict(extra="forbid")

    actor: str = Field(min_length=1, max_length=200)
    why: str = Field(min_length=1, max_length=1000)


class SettlingMany(Settling):
    """What else is settled for the same reason: at least one of these, or `all`."""

    kind: FindingKind | None = None
    merchant: str | None = Field(None, max_length=63, description="Its key.")
    batch: int | None = Field(None, ge=1, le=2**63 - 1, description="Texts that this import's consents allowed.")
    all: bool = Field(False, description="All that are open, where nothing else is said.")


class Settled(BaseModel):
    """`ids`: of the findings that were open."""

    settled: int
    ids: list[int]


def router(pool: Pool) -> APIRouter:
    """Its routes."""
    made = APIRouter(tags=["audit"], prefix="/audit")

    @made.get("/findings")
    async def list_findings(
        kind: FindingKind | None = None,
        merchant: Annotated[str | None, Query(max_length=63, description="Its key.")] = None,
        settled: Annotated[bool, Query(description="Also those that are settled.")] = False,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        cursor: Annotated[str | None, Query(max_length=18, pattern="^[0-9]+$", description="`next` of before.")] = None,
    ) -> Findings:
        """Newest first; those that nobody has settled, unless said otherwise."""
        found = await store.findings(
            pool,
            kind=kind,
            merchant_id=await merchant_id(pool, merchant),
            open_only=not settled,
            before=int(cursor) if cursor else None,
            limit=limit + 1,
        )
        keys = await merchants.keys(pool, [one.merchant_id for one in found])
        shown = [AuditFinding(**document(one, keys)) for one in found[:limit]]
        return Findings(findings=shown, next=str(shown[-1].id) if len(found) > limit else None)

    @made.post("/findings/settle")
    async def settle_findings(settling: SettlingMany) -> Settled:
        """Many that are open, for one reason, such as those of an import. 422 unless it is said which."""
        which = Which(settling.kind, await merchant_id(pool, settling.merchant), settling.batch)
        if which == Which() and not settling.all:
            raise MessagingError("say which: kind, merchant, batch, or all")
        ids = await auditing.settle_many(pool, which, actor=settling.actor, why=settling.why, now=datetime.now(UTC))
        return Settled(settled=len(ids), ids=ids)

    @made.post("/findings/{finding_id}/settle")
    async def settle_finding(finding_id: Id, settling: Settling) -> AuditFinding:
        """Somebody has looked at it, and says why it needs nothing more."""
        found = await auditing.settle(pool, finding_id, actor=settling.actor, why=settling.why, now=datetime.now(UTC))
        return AuditFinding(**document(found, await merchants.keys(pool, [found.merchant_id])))

    return made


def document(finding: Finding, keys: Mapping[int, str]) -> dict[str, Any]:
    """What the API answers and the command prints with --json. `keys`: what merchants are called, by id."""
    found = asdict(finding)
    return found | {"merchant": keys.get(found.pop("merchant_id"))}
