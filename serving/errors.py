"""Errors as RFC 9457 problem documents: one shape on every route."""

from dataclasses import asdict

import orjson
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from features.errors import (
    BundleRefused,
    InvalidInput,
    NoChampion,
    NotExplained,
    NotFound,
    RecordNotWritten,
    SalvageError,
)
from serving.contract import FieldProblem, ProblemDetails

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:salvage:problem:"


class BodyTooLarge(SalvageError):
    """A request's body is larger than the server reads."""


STATUSES: dict[type[SalvageError], tuple[int, str, str]] = {
    InvalidInput: (422, "invalid-request", "The request cannot be accepted"),
    NotFound: (404, "not-found", "There is no such thing here"),
    BodyTooLarge: (413, "body-too-large", "The request is too large"),
    NoChampion: (503, "no-champion", "No model is ready to answer"),
    BundleRefused: (503, "bundle-refused", "The model's files cannot be trusted"),
    NotExplained: (503, "not-explained", "The answer could not be explained"),
    RecordNotWritten: (503, "record-not-written", "The answer could not be recorded"),
}
UNFORESEEN = (500, "internal", "Internal error")
RETRY_SECONDS = "5"


def problem_response(error: SalvageError) -> Response:
    """Return the problem document of an error raised on purpose."""
    status, slug, title = next(
        (known for kind, known in STATUSES.items() if isinstance(error, kind)), UNFORESEEN
    )
    detail, fields = str(error), tuple[FieldProblem, ...]()
    if isinstance(error, InvalidInput):
        detail = (
            f"{len(error.problems)} problem{'' if len(error.problems) == 1 else 's'} in the {error.subject}"
        )
        fields = tuple(FieldProblem(p.field, p.problem, p.remedy) for p in error.problems)
    if isinstance(error, RecordNotWritten):
        detail = "no prediction leaves unrecorded; try again, or ask for the audit store to be checked"
    headers = {"Retry-After": RETRY_SECONDS} if status == 503 else None
    return _respond(ProblemDetails(TYPE + slug, title, status, detail, fields), headers)


def install(app: FastAPI) -> None:
    """Answer every error of the app with a problem document."""

    @app.exception_handler(SalvageError)
    async def on_purpose(request: Request, error: SalvageError) -> Response:
        return problem_response(error)

    @app.exception_handler(HTTPException)
    async def from_framework(request: Request, error: HTTPException) -> Response:
        slug = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "refused")
        details = ProblemDetails(TYPE + slug, str(error.detail), error.status_code, str(error.detail))
        return _respond(details, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        detail = "the server failed; nothing was answered, and its log has the cause"
        return _respond(ProblemDetails(TYPE + "internal", "Internal error", 500, detail))


def _respond(details: ProblemDetails, headers: dict[str, str] | None = None) -> Response:
    document = asdict(details)
    if not details.problems:
        del document["problems"]
    return Response(orjson.dumps(document), details.status, headers, MEDIA_TYPE)
