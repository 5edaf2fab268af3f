"""Predictions: answered and recorded, and read again."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from serving.access.gate import Gate
from serving.access.principal import AccessScope, Principal
from serving.contract import DETAIL, Answer, RecordedAnswer, parse_request
from serving.detail import Detail
from serving.gateway import request_id
from serving.predictor import Predictor
from serving.recorder import Caller
from serving.routes.incoming import IDEMPOTENT, body_of, caller_of
from serving.routes.responses import problems
from serving.schemas import request_schema

JSON = "application/json"


def predictions_router(predictor: Predictor, gate: Gate, *, largest_body: int) -> APIRouter:
    """Return the routes under ``/v1/predictions``."""
    router = APIRouter(prefix="/v1/predictions", tags=["predictions"])
    may_predict, may_explain = (
        Depends(gate.needs(AccessScope.PREDICT)),
        Depends(gate.needs(AccessScope.EXPLAIN)),
    )

    @router.post(
        "",
        response_model=Answer,
        responses=problems(401, 403, 404, 413, 415, 422, 429, 503),
        openapi_extra={
            "parameters": [IDEMPOTENT],
            "requestBody": {"required": True, "content": {JSON: {"schema": request_schema()}}},
        },
        summary="Predict every endpoint for one patient, explained and on record",
    )
    async def predict(
        request: Request,
        principal: Annotated[Principal, may_predict],
        detail: Annotated[Detail, Query(description=DETAIL)] = Detail.BRIEF,
    ) -> Response:
        body = await body_of(request, largest=largest_body, media_types=(JSON,))
        answer = await predictor.predict(parse_request(body), caller_of(request, principal, body), detail)
        return Response(answer, media_type=JSON)

    @router.get(
        "/{prediction_id}",
        response_model=RecordedAnswer,
        responses=problems(401, 403, 404, 410, 429, 503),
        summary="Read a prediction as it was answered; that it was read is recorded",
    )
    async def recorded(prediction_id: str, principal: Annotated[Principal, may_explain]) -> Response:
        answer = await predictor.read_again(prediction_id, Caller(principal.client, request_id.get()))
        return Response(answer, media_type=JSON)

    return router
