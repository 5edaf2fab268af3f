"""Routes that convert problem documents to the error format of their protocol."""

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute

from features.errors import SalvageError
from serving.errors import invalid, problem_response

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def translating(translate: Callable[[Response], Response]) -> type[APIRoute]:
    """Return a route class that converts its errors, and those of its dependencies."""

    class TranslatingRoute(APIRoute):
        """A route with converted errors."""

        def get_route_handler(self) -> Handler:
            """Return the handler, wrapped to convert errors."""
            handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                try:
                    return await handler(request)
                except SalvageError as error:
                    return translate(problem_response(error))
                except RequestValidationError as error:
                    return translate(problem_response(invalid(error)))
                except HTTPException as error:
                    return translate(_refused(error))

            return handle

    return TranslatingRoute


def _refused(error: HTTPException) -> Response:
    document = {"title": str(error.detail), "detail": str(error.detail), "status": error.status_code}
    return Response(orjson.dumps(document), error.status_code, error.headers)
