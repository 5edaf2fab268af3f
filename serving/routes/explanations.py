"""Explanations at chosen horizons, and plans side by side."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from serving.access.gate import Gate
from serving.access.principal import AccessScope, Principal
from serving.contract import (
    ComparisonAnswer,
    ExplanationsAnswer,
    parse_comparison,
    parse_explanation,
)
from serving.predictor import Predictor
from serving.routes.incoming import IDEMPOTENT, JSON, body_of, caller_of
from serving.routes.responses import problems
from serving.schemas import comparison_schema, explanation_schema

ERRORS = (401, 403, 404, 413, 415, 422, 429, 503)


def explanations_router(predictor: Predictor, gate: Gate, *, largest_body: int) -> APIRouter:
    """Return the routes ``/v1/explanations`` and ``/v1/comparisons``."""
    router = APIRouter(prefix="/v1", tags=["predictions"])

    @router.post(
        "/explanations",
        response_model=ExplanationsAnswer,
        responses=problems(*ERRORS),
        openapi_extra=_body(explanation_schema()),
        summary="Explain every endpoint of one patient at several horizons",
    )
    async def explain(
        request: Request, principal: Annotated[Principal, Depends(gate.needs(AccessScope.EXPLAIN))]
    ) -> Response:
        body = await body_of(request, largest=largest_body, media_types=(JSON,))
        answer = await predictor.explain(parse_explanation(body), caller_of(request, principal, body))
        return Response(answer, media_type=JSON)

    @router.post(
        "/comparisons",
        response_model=ComparisonAnswer,
        responses=problems(*ERRORS),
        openapi_extra=_body(comparison_schema()),
        summary="Show outcomes and harms of one patient under several plans, with how many had each",
    )
    async def compare(
        request: Request, principal: Annotated[Principal, Depends(gate.needs(AccessScope.PREDICT))]
    ) -> Response:
        body = await body_of(request, largest=largest_body, media_types=(JSON,))
        answer = await predictor.compare(parse_comparison(body), caller_of(request, principal, body))
        return Response(answer, media_type=JSON)

    return router


def _body(schema: dict[str, object]) -> dict[str, object]:
    return {
        "parameters": [IDEMPOTENT],
        "requestBody": {"required": True, "content": {JSON: {"schema": schema}}},
    }
