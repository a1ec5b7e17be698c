"""Errors that answer a request: what the client has to change, and what passes when it tries again later."""

from __future__ import annotations

import math

from serving.errors import ServingError


def whole_seconds(seconds: float) -> int:
    """Round a wait up to whole seconds, at least 1, for messages and `Retry-After` (RFC 9110, 10.2.3)."""
    return max(1, math.ceil(seconds))


class RequestError(ServingError):
    """The client has to change the request."""


class BadRequest(RequestError):
    """The endpoint does not accept this request."""


class TooManyFiles(BadRequest):
    """More files than one request may hold."""

    def __init__(self, *, got: int, limit: int) -> None:
        self.got = got
        self.limit = limit
        super().__init__(f"{got} files were sent, at most {limit} are accepted; send several requests")


class NotFound(RequestError):
    """What the request names does not exist."""


class ObservationUnknown(NotFound):
    """No answer with this id was stored, or it has been deleted."""

    def __init__(self, *, id: str) -> None:
        self.id = id
        super().__init__(f"no answer with the id {id!r} is stored; check the id: the answer may be deleted")


class Unauthorized(RequestError):
    """No key was sent, or an unknown one."""


class Forbidden(RequestError):
    """The key lacks the required scope, or requests from this address need a key."""


class PayloadTooLarge(RequestError):
    """More bytes than allowed; the rest was not read."""

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the request has more than {limit} bytes; send a smaller picture")


class TooManyPictures(RequestError):
    """More pictures than one tensor request may hold."""

    def __init__(self, *, got: int, limit: int) -> None:
        self.got = got
        self.limit = limit
        super().__init__(f"{got} pictures were sent, at most {limit} are accepted; send several requests")


class HeadTooSlow(RequestError):
    """Request line and header fields did not arrive in time."""

    def __init__(self, *, limit_s: float) -> None:
        self.limit_s = limit_s
        super().__init__(f"the head of the request was not complete within {limit_s:g} s; send it faster")


class HeadTooLarge(RequestError):
    """Request line and header fields have more bytes than allowed."""

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(
            f"request line and header fields have more than {limit} bytes; send fewer or shorter ones"
        )


class BodyTooSlow(RequestError):
    """The body did not arrive in time."""

    def __init__(self, *, got: int, limit_s: float) -> None:
        self.got = got
        self.limit_s = limit_s
        super().__init__(f"only {got} bytes of the body arrived within {limit_s:g} s; send it faster")


class BodyIncomplete(RequestError):
    """The client disconnected before the body was complete."""

    def __init__(self, *, got: int) -> None:
        self.got = got
        super().__init__(f"the connection ended after {got} bytes of the body; send it again")


class StreamIdle(RequestError):
    """The client sent or read nothing on a stream for too long."""

    def __init__(self, *, limit_s: float) -> None:
        self.limit_s = limit_s
        super().__init__(f"nothing was sent or read for {limit_s:g} s; send frames and read the answers")


class UpgradeRequired(RequestError):
    """A plain request where a WebSocket is expected."""

    def __init__(self) -> None:
        super().__init__(
            "this is a WebSocket and got a plain request; open it with ws:// (wss:// behind TLS), "
            "or send single pictures to /detect"
        )


class ContentUnsupported(RequestError):
    """The body has a content type that the endpoint does not read."""

    def __init__(self, *, got: str, expected: str) -> None:
        self.got = got
        super().__init__(f"the body is {got or 'without a content type'}, expected {expected}")


class EncodingUnsupported(ContentUnsupported):
    """The body has a content encoding that the endpoint does not read."""

    def __init__(self, *, got: str, expected: str) -> None:
        self.encoding = got
        super().__init__(got=f"encoded as {got!r} (Content-Encoding)", expected=expected)


class NotAcceptable(RequestError):
    """The endpoint offers no format that the client accepts."""

    def __init__(self, *, got: str, offered: str) -> None:
        self.got = got
        super().__init__(f"the client accepts {got}, this endpoint gives {offered}; change Accept")


class MethodNotAllowed(RequestError):
    """The path exists, for other methods."""

    def __init__(self, *, got: str, allowed: str) -> None:
        self.got = got
        self.allowed = allowed
        super().__init__(f"the method {got} is not allowed here; use {allowed}")


class RateLimited(RequestError):
    """Too many requests from one client."""

    def __init__(self, *, limit: str, retry_after_s: float) -> None:
        self.limit = limit
        self.retry_after_s = retry_after_s
        super().__init__(f"more than {limit} were sent; wait {whole_seconds(retry_after_s)} s")


class Overloaded(ServingError):
    """The request is valid and may be sent again later."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class NotReady(Overloaded):
    """No model is live, or the service is shutting down."""

    def __init__(self, *, reason: str) -> None:
        self.reason = reason
        super().__init__(reason, retry_after_s=5.0)


class QueueFull(Overloaded):
    """More pictures wait than allowed."""

    def __init__(self, *, waiting: int, limit: int) -> None:
        self.waiting = waiting
        self.limit = limit
        super().__init__(f"{waiting} pictures are waiting, at most {limit} may; send it again later")


class StreamsFull(Overloaded):
    """More streams are open than allowed."""

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"all {limit} streams are in use; try again later")


class ConnectionsFull(Overloaded):
    """More connections are open than allowed, and each has a request in progress."""

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"{limit} connections are open, which is the limit; connect again later")


class BodiesFull(Overloaded):
    """The bodies of all requests together are more than may be held in memory."""

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(
            f"other requests fill the {limit} bytes that may be held at once; send it again later"
        )


class DeadlinePassed(Overloaded):
    """The request was not answered in time."""

    def __init__(self, *, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        super().__init__(f"not answered within {deadline_s:g} s, the service is busy; send it again later")
