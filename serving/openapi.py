"""The OpenAPI document, corrected where the framework cannot know better."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.errors import MEDIA_TYPE

PROBLEM = "#/components/schemas/ProblemDetails"
FRAMEWORK_ERRORS = ("HTTPValidationError", "ValidationError")


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document: errors under the media type they are sent with, none that is never sent."""
    found = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    for path in found["paths"].values():
        for operation in path.values():
            operation["responses"] = {
                status: _as_sent(status, response)
                for status, response in operation["responses"].items()
                if f"schemas/{FRAMEWORK_ERRORS[0]}" not in str(response)
            }
    for name in FRAMEWORK_ERRORS:
        found["components"]["schemas"].pop(name, None)
    return found


def _as_sent(status: str, response: dict[str, Any]) -> dict[str, Any]:
    """Return an error under the media type of a problem document; other protocols' errors as they are."""
    content = response.get("content", {}).get("application/json")
    if not status.startswith(("4", "5")) or PROBLEM not in str(content):
        return response
    return response | {"content": {MEDIA_TYPE: content}}
