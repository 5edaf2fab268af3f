"""The documented error responses of the routes."""

from typing import Any

from serving.contract import ProblemDetails

MEANINGS = {
    404: "Not found",
    413: "Body too large",
    422: "The request cannot be accepted; every problem is named",
    503: "No model is ready, or the answer could not be recorded",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of these error statuses."""
    return {status: {"model": ProblemDetails, "description": MEANINGS[status]} for status in statuses}
