"""Batches: JSON Lines of patients, answered line by line while they arrive."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from serving.access.gate import Gate
from serving.access.principal import AccessScope, Principal
from serving.batcher import Batcher
from serving.contract import DETAIL
from serving.detail import Detail
from serving.routes.incoming import IDEMPOTENT, caller_of, require_media_type
from serving.routes.responses import problems
from serving.schemas import request_schema

JSON_LINES = "application/jsonl"
ACCEPTED = (JSON_LINES, "application/x-ndjson")
LINE = {
    "type": "object",
    "description": "one line for each line of the request: an answer, or a problem in its place",
    "properties": {
        "line": {"type": "integer", "minimum": 1},
        "answer": {"$ref": "#/components/schemas/Answer"},
        "problem": {"$ref": "#/components/schemas/ProblemDetails"},
    },
    "required": ["line"],
}


class DuplexResponse(StreamingResponse):
    """A response that is sent while the request's body is still read.

    The framework's own response detects a disconnected client by reading from it, and so loses parts of the
    body; here the reader of the body learns of it.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answers as they come."""
        await self.stream_response(send)


def batches_router(batcher: Batcher, gate: Gate) -> APIRouter:
    """Return the route ``/v1/batches``."""
    router = APIRouter(prefix="/v1/batches", tags=["predictions"])

    @router.post(
        "",
        response_class=StreamingResponse,
        responses={
            200: {"content": {JSON_LINES: {"schema": LINE}}},
            **problems(401, 403, 415, 422, 429, 503),
        },
        openapi_extra={
            "parameters": [IDEMPOTENT],
            "requestBody": {"required": True, "content": {JSON_LINES: {"schema": request_schema()}}},
        },
        summary="Predict for many patients, one a line, each explained and on record",
    )
    async def predict(
        request: Request,
        principal: Annotated[Principal, Depends(gate.needs(AccessScope.PREDICT))],
        model: Annotated[str | None, Query(description="the model of lines that name none")] = None,
        detail: Annotated[Detail, Query(description=DETAIL)] = Detail.BRIEF,
    ) -> StreamingResponse:
        require_media_type(request, ACCEPTED)
        caller = caller_of(request, principal, b"")
        answers = batcher.answers(request.stream(), model, caller, detail)
        return DuplexResponse(answers, media_type=JSON_LINES)

    return router
