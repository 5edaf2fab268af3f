"""The OpenAPI document: the framework's, with its errors' media types and path parameters corrected."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.errors import MEDIA_TYPE

PROBLEM = "#/components/schemas/ProblemDetails"
FRAMEWORK_ERRORS = ("HTTPValidationError", "ValidationError")


def document(app: FastAPI) -> dict[str, Any]:
    """Return the document; errors have the media type they are sent with, and unused ones are removed."""
    description = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
    )
    for path in description["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    parameter["schema"] = _as_it_stands_in_a_path(parameter["schema"])
            operation["responses"] = {
                status: _as_sent(status, response)
                for status, response in operation["responses"].items()
                if f"schemas/{FRAMEWORK_ERRORS[0]}" not in str(response)
            }
    for name in FRAMEWORK_ERRORS:
        description["components"]["schemas"].pop(name, None)
    return description


def _as_it_stands_in_a_path(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a path parameter, which is never null."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return rest | kinds[0] if len(kinds) == 1 else schema


def _as_sent(status: str, response: dict[str, Any]) -> dict[str, Any]:
    """Return a response with problem documents under their media type; other protocols' errors stay."""
    content = response.get("content", {}).get("application/json")
    if not status.startswith(("4", "5")) or PROBLEM not in str(content):
        return response
    return response | {"content": {MEDIA_TYPE: content}}
