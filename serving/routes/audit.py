"""The audit log over HTTP: entries, tree head and proofs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Path, Query
from fastapi.concurrency import run_in_threadpool

from serving.access.gate import Gate
from serving.access.principal import AccessScope, Principal
from serving.audit.checkpoint import CheckpointFile
from serving.audit.export import described
from serving.audit.proofs import ConsistencyProof, InclusionProof, LogTree
from serving.audit.record import LogEntry
from serving.audit.sequencer import AuditLog
from serving.predictor import READ
from serving.recorder import Recorder
from serving.routes.dialect import translating
from serving.routes.responses import problems

MOST_ENTRIES = 500
ERRORS = (401, 403, 422, 429, 503)
Id = Annotated[str, Path(max_length=200)]
Size = Annotated[int, Query(ge=1, le=2**53)]


@dataclass(frozen=True)
class AuditHead:
    """The tree over the record now, and the newest checkpoint: a signed note on the tree it was over."""

    size: int
    root_hash: str
    checkpoint_size: int | None
    checkpoint: str | None


@dataclass(frozen=True)
class AuditEntry:
    """One record: ``body`` is the exact text that was hashed, ``facts`` what it says; no patient's values."""

    seq: int
    id: str
    recorded_at: str
    kind: str
    subject: str | None
    facts: Mapping[str, Any]
    body: str
    leaf_hash: str
    has_content: bool


@dataclass(frozen=True)
class AuditPage:
    """Some records in order; ``next_after`` asks for what follows, None at the end."""

    entries: tuple[AuditEntry, ...]
    next_after: int | None


@dataclass(frozen=True)
class AuditEntryDetail:
    """One record with its content, what was asked and answered: the exact text committed to, and its salt."""

    entry: AuditEntry
    content: str | None
    content_base64: str | None
    salt: str | None


@dataclass(frozen=True)
class InclusionAnswer:
    """A proof that a record is in a tree, and the signed note on that tree where there is one."""

    proof: InclusionProof
    checkpoint: str | None


def audit_router(recorder: Recorder, checkpoints: CheckpointFile, gate: Gate) -> APIRouter:
    """Return the routes under ``/v1/audit``; reading a content is put on record."""
    router = APIRouter(prefix="/v1/audit", tags=["audit"], route_class=translating(lambda problem: problem))
    needed = Depends(gate.needs(AccessScope.AUDIT_READ))
    log = recorder.log
    tree = LogTree(log.leaves)

    @router.get(
        "/head",
        responses=problems(401, 403, 429, 503),
        dependencies=[needed],
        summary="Read the tree's head",
    )
    async def head() -> AuditHead:
        return await run_in_threadpool(_head, log, checkpoints)

    @router.get(
        "/entries", responses=problems(*ERRORS), dependencies=[needed], summary="Read the record page by page"
    )
    async def entries(
        after: Annotated[int, Query(ge=0, le=2**53, description="only records after this number")] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_ENTRIES)] = 100,
        kind: Annotated[str | None, Query(max_length=50, description="only records of this kind")] = None,
    ) -> AuditPage:
        return await run_in_threadpool(_page, log, after, limit, kind)

    @router.get(
        "/entries/{record_id}",
        responses=problems(*ERRORS, 404),
        summary="Read one record with its content, which is put on record",
    )
    async def entry(record_id: Id, principal: Annotated[Principal, needed]) -> AuditEntryDetail:
        record = await run_in_threadpool(log.get, record_id)
        if record.content is not None:
            await recorder.record(recorder.draft(READ, {"client": principal.client, "entry": record.id}))
        parts = described(record, contents=True)
        return AuditEntryDetail(
            _entry(record), parts.get("content"), parts.get("content_base64"), parts.get("salt")
        )

    @router.get(
        "/proofs/inclusion",
        responses=problems(*ERRORS, 404),
        dependencies=[needed],
        summary="Prove that a record is in the tree of the newest checkpoint, or of another size",
    )
    async def inclusion(
        record_id: Annotated[str, Query(alias="id", max_length=200)], size: Size | None = None
    ) -> InclusionAnswer:
        return await run_in_threadpool(_inclusion, log, tree, checkpoints, record_id, size)

    @router.get(
        "/proofs/consistency",
        responses=problems(*ERRORS),
        dependencies=[needed],
        summary="Prove that the tree of one size is that of another one grown",
    )
    async def consistency(first: Size, second: Size) -> ConsistencyProof:
        return await run_in_threadpool(lambda: tree.consistency(first, second, size=log.head().size))

    return router


def _head(log: AuditLog, checkpoints: CheckpointFile) -> AuditHead:
    now, last = log.head(), checkpoints.last()
    signed = (None, None) if last is None else (last.size, last.note)
    return AuditHead(now.size, now.root_hash, *signed)


def _page(log: AuditLog, after: int, limit: int, kind: str | None) -> AuditPage:
    entries = [_entry(one) for one in log.entries(after=after, limit=limit, kind=kind)]
    return AuditPage(tuple(entries), entries[-1].seq if len(entries) == limit else None)


def _entry(entry: LogEntry) -> AuditEntry:
    body = orjson.loads(entry.body)
    return AuditEntry(
        entry.seq,
        entry.id,
        entry.at,
        entry.kind,
        body["subject"],
        body["facts"],
        entry.body.decode(),
        entry.leaf_hash,
        entry.held,
    )


def _inclusion(
    log: AuditLog, tree: LogTree, checkpoints: CheckpointFile, record_id: str, size: int | None
) -> InclusionAnswer:
    entry, head, last = log.get(record_id), log.head(), checkpoints.last()
    signed = last.size if last is not None and entry.seq <= last.size else head.size
    proof = tree.inclusion(entry, size or signed, size=head.size)
    note = last.note if last is not None and last.size == proof.tree_size else None
    return InclusionAnswer(proof, note)
