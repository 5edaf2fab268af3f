"""Errors as RFC 9457 problem documents: one shape on every route."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from features.errors import (
    BundleRefused,
    InvalidInput,
    InvalidRequest,
    KeyReused,
    NoChampion,
    NotExplained,
    NotFound,
    Problem,
    RecordNotWritten,
    SalvageError,
    TooBusy,
)
from serving.access.errors import (
    CHALLENGE,
    AccessUnavailable,
    AddressRefused,
    Forbidden,
    TooManyRequests,
    Unauthenticated,
)
from serving.contract import FieldProblem, ProblemDetails

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:salvage:problem:"


class BodyTooLarge(SalvageError):
    """A request's body is larger than the server reads."""


class WrongMediaType(SalvageError):
    """A request's Content-Type is none that the route reads."""


class ContentErased(SalvageError):
    """The content of a record has been erased."""


STATUSES: dict[type[SalvageError], tuple[int, str, str]] = {
    KeyReused: (422, "idempotency-key-reused", "The Idempotency-Key was used for another request"),
    InvalidInput: (422, "invalid-request", "The request cannot be accepted"),
    NotFound: (404, "not-found", "There is no such thing here"),
    ContentErased: (410, "erased", "It has been erased"),
    BodyTooLarge: (413, "body-too-large", "The request is too large"),
    WrongMediaType: (415, "wrong-media-type", "The body is of a type that is not read here"),
    Unauthenticated: (401, "unauthenticated", "Valid credentials are needed"),
    Forbidden: (403, "forbidden", "These credentials do not allow this"),
    TooManyRequests: (429, "too-many-requests", "More requests than are allowed"),
    AddressRefused: (422, "address-refused", "The server may not call this address"),
    AccessUnavailable: (503, "access-unavailable", "Credentials cannot be checked"),
    NoChampion: (503, "no-champion", "No model is ready to answer"),
    BundleRefused: (503, "bundle-refused", "The model's files cannot be trusted"),
    NotExplained: (503, "not-explained", "The answer could not be explained"),
    RecordNotWritten: (503, "record-not-written", "The answer could not be recorded"),
    TooBusy: (503, "too-busy", "Too much is waiting to be answered"),
}
UNFORESEEN = (500, "internal", "Internal error")
RETRY_SECONDS = "5"


def problem_of(error: SalvageError) -> ProblemDetails:
    """Return the problem details of an error."""
    status, slug, title = next(
        (known for kind, known in STATUSES.items() if isinstance(error, kind)), UNFORESEEN
    )
    detail, fields = str(error), tuple[FieldProblem, ...]()
    if isinstance(error, InvalidInput):
        count = len(error.problems)
        detail = f"{count} problem{'' if count == 1 else 's'} in the {error.subject}"
        fields = tuple(FieldProblem(p.field, p.problem, p.remedy) for p in error.problems)
    if isinstance(error, RecordNotWritten):
        detail = "no prediction leaves unrecorded; try again, or ask for the audit store to be checked"
    return ProblemDetails(TYPE + slug, title, status, detail, fields)


def invalid(error: RequestValidationError) -> InvalidRequest:
    """Convert the framework's validation error about a path or query parameter."""
    problems = [
        Problem(str(one["loc"][-1]), "cannot be used", str(one["msg"]).lower()) for one in error.errors()
    ]
    return InvalidRequest("request", problems)


def document_of(details: ProblemDetails) -> dict[str, Any]:
    """Return a problem as JSON values, without an empty ``problems``."""
    document = asdict(details)
    if not details.problems:
        del document["problems"]
    return document


def problem_response(error: SalvageError) -> Response:
    """Return the response for an error: a problem document, with Retry-After or a challenge where due."""
    details = problem_of(error)
    headers: dict[str, str] = {}
    if details.status == 503:
        headers["Retry-After"] = RETRY_SECONDS
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, Unauthenticated):
        headers |= CHALLENGE
    return _respond(details, headers)


def install(app: FastAPI) -> None:
    """Answer every error of the app with a problem document."""

    @app.exception_handler(SalvageError)
    async def on_purpose(request: Request, error: SalvageError) -> Response:
        return problem_response(error)

    @app.exception_handler(RequestValidationError)
    async def of_parameters(request: Request, error: RequestValidationError) -> Response:
        return problem_response(invalid(error))

    @app.exception_handler(HTTPException)
    async def from_framework(request: Request, error: HTTPException) -> Response:
        slug = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "refused")
        details = ProblemDetails(TYPE + slug, str(error.detail), error.status_code, str(error.detail))
        return _respond(details, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        detail = "the server failed; nothing was answered, and its log has the cause"
        return _respond(ProblemDetails(TYPE + "internal", "Internal error", 500, detail))


def _respond(details: ProblemDetails, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(document_of(details)), details.status, headers, MEDIA_TYPE)
