"""A record system's FHIR server, as far as the tests need one: it reads, searches by code, and creates."""

from typing import Any

from fastapi import APIRouter, Request

from tests.serving.fhir.charts import bundle

BASE = "/fhir/R4"


def fhir_server(resources: list[dict[str, Any]], asked: list[dict[str, Any]]) -> APIRouter:
    """Return routes over some resources; what was asked, and with which authorization, is noted."""
    router = APIRouter(prefix=BASE)

    @router.get("/{kind}/{identifier}")
    async def read(kind: str, identifier: str, request: Request) -> dict[str, Any]:
        _note(request, asked)
        return next(r for r in resources if (r["resourceType"], r["id"]) == (kind, identifier))

    @router.get("/{kind}")
    async def search(kind: str, request: Request) -> dict[str, Any]:
        _note(request, asked)
        codes = {c.split("|")[-1] for c in request.query_params.get("code", "").split(",") if c}
        found = [r for r in resources if r["resourceType"] == kind and (not codes or codes & _codes(r))]
        return bundle(*found, kind="searchset")

    @router.post("/{kind}", status_code=201)
    async def create(kind: str, request: Request) -> dict[str, Any]:
        made = await request.json() | {"id": f"made-{len(resources)}"}
        resources.append(made)
        return made

    return router


def _codes(resource: dict[str, Any]) -> set[str]:
    return {coding["code"] for coding in resource.get("code", {}).get("coding", [])}


def _note(request: Request, asked: list[dict[str, Any]]) -> None:
    asked.append({"url": str(request.url), "authorization": request.headers.get("authorization")})
