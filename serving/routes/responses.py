"""The documented error responses of the routes."""

from typing import Any

from serving.contract import ProblemDetails

MEANINGS = {
    401: "Valid credentials are needed",
    403: "These credentials do not allow this",
    404: "Not found",
    410: "It has been erased",
    413: "Body too large",
    415: "The body is of a type that is not read here",
    422: "The request cannot be accepted; every problem is named",
    429: "More requests than are allowed",
    503: "No model is ready, or the answer could not be recorded",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of these error statuses."""
    return {status: {"model": ProblemDetails, "description": MEANINGS[status]} for status in statuses}
