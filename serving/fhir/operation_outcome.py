"""Problem documents as FHIR OperationOutcomes."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi.responses import Response

from serving.fhir.datatypes import MEDIA_TYPE, Json

ISSUES: Mapping[int, str] = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    409: "conflict",
    412: "required",
    413: "too-long",
    415: "not-supported",
    422: "processing",
    429: "throttled",
    503: "transient",
}


def operation_outcome(status: int, problem: Mapping[str, Any]) -> Json:
    """Return an OperationOutcome with one issue for each thing wrong, from a problem document."""
    code = ISSUES.get(status, "exception")
    severity = "error" if status < 500 else "fatal"
    listed = problem.get("problems") or [None]
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": severity,
                "code": code,
                "details": {"text": str(problem["title"])},
                "diagnostics": str(problem["detail"])
                if one is None
                else f"{one['field']}: {one['problem']}; {one['remedy']}",
            }
            for one in listed
        ],
    }


def as_outcome(problem: Response) -> Response:
    """Convert a problem response to an OperationOutcome with the same status and headers."""
    outcome = operation_outcome(problem.status_code, orjson.loads(problem.body))
    headers = {n: v for n, v in problem.headers.items() if n not in ("content-length", "content-type")}
    return Response(orjson.dumps(outcome), problem.status_code, headers, MEDIA_TYPE)
