"""Errors in the words of the standard protocols: members beside those of RFC 9457, which allows more of them.

/v2/…           `error`: what tritonclient and KServe's clients show
/invocations …  `error_code` and `message`: what MLflow's clients show
"""

from __future__ import annotations

from typing import Any

SCORING_PATHS = frozenset({"/invocations", "/ping", "/health", "/version"})
# MLflow's names of what a status says (mlflow.exceptions); others are its INTERNAL_ERROR.
_MLFLOW_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "ENDPOINT_NOT_FOUND",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}


def members(path: str, problem: dict[str, Any]) -> dict[str, Any]:
    """What the clients of a path look for beside the problem itself."""
    if path == "/v2" or path.startswith("/v2/"):
        return {"error": problem["detail"]}
    if path in SCORING_PATHS:
        status = problem["status"]
        otherwise = "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR"
        return {"error_code": _MLFLOW_CODES.get(status, otherwise), "message": problem["detail"]}
    return {}
