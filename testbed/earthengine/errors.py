"""Errors of the service, as the JSON that its clients parse."""

from __future__ import annotations

_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
"""HTTP status -> google.rpc.Code (https://cloud.google.com/apis/design/errors)."""


class EeError(Exception):
    """A request that the service refuses."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message

    def json(self) -> dict[str, object]:
        """Body of the answer: google.rpc.Status in JSON."""
        return {"error": {"code": self.status, "message": self.message, "status": _NAMES.get(self.status, "UNKNOWN")}}


def bad(message: str) -> EeError:
    """400: the expression or the request is wrong."""
    return EeError(400, message)
