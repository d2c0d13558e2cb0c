"""The file of a complaint for an auditor: a ZIP of readable data, with the hashes of all of it in a manifest.

The same data as of the same time make the same bytes. `ledger.json` has the person's rows of the ledger with all that
their hashes cover, so that each can be computed anew (`consent.chain.link`) and found in the whole ledger, whose head
is noted in it.
"""

import csv
import hashlib
import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined

from holdfast import csv_cells
from holdfast.complaints import proof as proofs
from holdfast.complaints import view, view_store
from holdfast.complaints.model import Complaint, ComplaintError
from holdfast.complaints.proof import Proof
from holdfast.complaints.view import View
from holdfast.consent import chain
from holdfast.consent import store as consent
from holdfast.db.pool import Pool
from holdfast.incidents import store as incidents

MANIFEST = "MANIFEST.sha256"
PAGE = 1000
MESSAGES = (
    "id", "merchant", "kind", "purpose", "at", "state", "rule", "ledger_row", "suppression", "from", "sid", "status",
    "error_code", "body"
)  # fmt: skip
RECEIVED = (
    "sid", "at", "merchant", "to", "body", "verdict", "rules", "suppression", "decision"
)  # fmt: skip
SUPPRESSIONS = (
    "id", "merchant", "reason", "source", "actor", "note", "made_at", "ledger_row", "excepted", "lifted_at",
    "lifted_by", "lifted_why"
)  # fmt: skip
"""The columns of the tables: also of one without rows."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first time that a ZIP can say: no file in it has a time of its own."""

_templates = Environment(
    loader=PackageLoader("holdfast.complaints"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)


@dataclass(frozen=True, slots=True)
class Export:
    """`sha256` of the whole; `files`: what is in it, by name, and how large."""

    data: bytes
    sha256: str
    files: Mapping[str, int]


async def export(pool: Pool, complaint: Complaint, now: datetime, *, proof: Proof | None = None) -> Export:
    """All that is known of a complaint, and the proof of silence if one was made."""
    seen = await view.read(pool, complaint, now)
    shown: dict[str, Any] = msgspec.to_builtins(view.document(seen))
    log = await _log(pool, seen)
    proved = msgspec.to_builtins(proofs.document(proof)) if proof is not None else None
    files = {
        "complaint.json": _json({"as_of": now, **shown}),
        "ledger.json": _json(await _ledger(pool, complaint.customer_id)),
        "messages.csv": _csv(
            MESSAGES, [view.message(seen, row) for row in await _all_messages(pool, complaint.customer_id)]
        ),
        "received.csv": _csv(RECEIVED, shown["texted"]),
        "suppressions.csv": _csv(SUPPRESSIONS, [view.suppression(seen, one) for one in seen.suppressions]),
        "lineage.json": _json({"lineage": shown["lineage"], "cohorts": shown["cohorts"]}),
        "incident-log.json": _json({"incident": seen.incident_id, "log": log}),
    }
    if proved is not None:
        files["proof.json"] = _json(proved)
    page = _templates.get_template("complaint.html.j2").render(
        it=shown, proof=proved, log=log, as_of=now.astimezone(UTC).isoformat(timespec="seconds")
    )
    files["complaint.html"] = page.encode()
    data = _zip(files)
    return Export(data, hashlib.sha256(data).hexdigest(), {name: len(files[name]) for name in sorted(files)})


def write_private(file: Path, data: bytes) -> None:
    """All of it or nothing, for its owner alone to read. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        target.write(data)
    new.replace(file)


def check(data: bytes) -> list[str]:
    """What of an exported file is not as its manifest says; nothing: all of it is. Raises ComplaintError."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            there = {name: opened.read(name) for name in opened.namelist()}
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise ComplaintError(f"this is no file of a complaint: {error}") from None
    if MANIFEST not in there:
        raise ComplaintError(f"this is no file of a complaint: it has no {MANIFEST}")
    lines = there.pop(MANIFEST).decode("utf-8", "replace").splitlines()
    wanted = {name: digest for digest, _, name in (line.partition("  ") for line in lines if line)}
    wrong = [f"{name} is missing" for name in wanted if name not in there]
    wrong += [f"{name} is not in the manifest" for name in there if name not in wanted]
    return wrong + [
        f"{name} was changed"
        for name, content in there.items()
        if name in wanted and hashlib.sha256(content).hexdigest() != wanted[name]
    ]


def _zip(files: Mapping[str, bytes]) -> bytes:
    """With the manifest, as `sha256sum -c` reads it."""
    listed = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for name, content in sorted({**files, MANIFEST: listed.encode()}.items()):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            info.create_system = 3
            made.writestr(info, content, zipfile.ZIP_DEFLATED, 9)
    return target.getvalue()


async def _ledger(pool: Pool, customer_id: int) -> dict[str, Any]:
    seq, digest = await consent.head(pool)
    rows = await view_store.ledger_rows(pool, customer_id)
    return {"head": {"seq": seq, "hash": digest.hex()}, "rows": [_ledger_row(row) for row in rows]}


def _ledger_row(row: asyncpg.Record) -> dict[str, Any]:
    """With what its hash covers, in hex where it is bytes, and whether that still makes the hash."""
    covered = {name: row[name] for name in chain.FIELDS if name != "disclosure"}
    covered["disclosure"] = row["disclosure_digest"]
    said = msgspec.json.decode(row["said"]) if row["said"] is not None else None
    holds = chain.same(chain.link(bytes(row["previous"]), covered), bytes(row["hash"]))
    if said is not None:
        holds = holds and chain.same(chain.detail_digest(bytes(row["salt"]), said), bytes(row["detail"]))
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in covered.items()}
    return shown | {
        "shown_to_them": row["disclosure"],
        "said": said,
        "salt": bytes(row["salt"]).hex() if row["salt"] is not None else None,
        "previous": bytes(row["previous"]).hex(),
        "hash": bytes(row["hash"]).hex(),
        "holds": holds,
    }


async def _all_messages(pool: Pool, customer_id: int) -> list[asyncpg.Record]:
    found: list[asyncpg.Record] = []
    before: int | None = None
    while page := await view_store.messages(pool, customer_id, before=before, limit=PAGE):
        found += page
        before = page[-1]["id"]
    return found


async def _log(pool: Pool, seen: View) -> list[dict[str, Any]]:
    if seen.incident_id is None:
        return []
    log: list[dict[str, Any]] = msgspec.to_builtins(await incidents.entries(pool, seen.incident_id))
    return log


def _json(document: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2) + b"\n"


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """UTF-8 with a byte order mark, as spreadsheets want it; nothing in it is a formula."""
    target = io.StringIO(newline="")
    writer = csv.writer(target)
    writer.writerow(columns)
    writer.writerows([[_cell(row[name]) for name in columns] for row in rows])
    return b"\xef\xbb\xbf" + target.getvalue().encode()


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return value.astimezone(UTC).isoformat()
        case list():
            return " ".join(str(item) for item in value)
    return csv_cells.plain(str(value))
