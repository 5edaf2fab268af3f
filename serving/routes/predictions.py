"""Predictions: asked for, answered on record, and read again."""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from serving.contract import Answer, RecordedAnswer, parse_request, request_schema
from serving.errors import BodyTooLarge
from serving.predictor import Predictor
from serving.routes.responses import problems

JSON = "application/json"


def predictions_router(predictor: Predictor, *, largest_body: int) -> APIRouter:
    """Return the routes under ``/v1/predictions``."""
    router = APIRouter(prefix="/v1/predictions", tags=["predictions"])

    @router.post(
        "",
        response_model=Answer,
        responses=problems(404, 413, 422, 503),
        openapi_extra={"requestBody": {"required": True, "content": {JSON: {"schema": request_schema()}}}},
        summary="Predict every endpoint for one patient, explained and on record",
    )
    async def predict(request: Request) -> Response:
        body = await _read(request, largest_body)
        answer = await run_in_threadpool(lambda: predictor.predict(parse_request(body)))
        return Response(answer, media_type=JSON)

    @router.get(
        "/{prediction_id}",
        response_model=RecordedAnswer,
        responses=problems(404, 503),
        summary="Read a prediction as it was answered",
    )
    async def recorded(prediction_id: str) -> Response:
        return Response(await run_in_threadpool(predictor.recorded, prediction_id), media_type=JSON)

    return router


async def _read(request: Request, largest_body: int) -> bytes:
    """Read the body, stopping as soon as it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest_body:
            raise BodyTooLarge(f"the body is larger than {largest_body} bytes")
    return bytes(body)
