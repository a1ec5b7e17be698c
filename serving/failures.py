"""What can go wrong while the service runs; the errors of models and pictures are in `serving.errors`.

    ServingError
    ├── RequestError             the client's to correct
    │   ├── BadRequest           not what the endpoint takes
    │   │   └── TooManyFiles     more files than one request may hold
    │   ├── NotFound             no such prediction, model, …
    │   ├── Unauthorized         no key, or an unknown one
    │   ├── Forbidden            a key without the scope, or an address that needs one
    │   ├── PayloadTooLarge      more bytes than allowed
    │   └── RateLimited          too many requests from one key
    ├── Overloaded               try again later, nothing is wrong with the request
    │   ├── NotReady             no model is live
    │   ├── QueueFull            more pictures wait than allowed
    │   └── DeadlinePassed       the answer would have come too late
    ├── StoreUnavailable         the observation database cannot be reached
    ├── ModelRefused             a new version failed a check; the old one keeps serving
    ├── LocationInvalid          MIEN_MODEL names nothing that can be followed
    └── RegistryUnavailable      the registry is away, or what is followed is not in it
        └── NothingRegistered    the registry answers: there is no such version

Every message says what was got, what was expected and what to do. Those of `Overloaded` also
say how long to wait.
"""

from __future__ import annotations

from serving.errors import ServingError


class RequestError(ServingError):
    """The client's to correct."""


class BadRequest(RequestError):
    """A request that the endpoint does not take."""


class TooManyFiles(BadRequest):
    """More files than one request may hold."""

    def __init__(self, *, got: int, limit: int) -> None:
        self.got = got
        self.limit = limit
        super().__init__(f"{got} files were sent, at most {limit} are accepted; send several requests")


class NotFound(RequestError):
    """There is no such thing."""


class Unauthorized(RequestError):
    """No key was sent, or one that is not known."""


class Forbidden(RequestError):
    """A key without the scope that is needed, or an address from which a key is needed."""


class PayloadTooLarge(RequestError):
    """More bytes than allowed; the rest was not read."""

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the request has more than {limit} bytes; send a smaller picture")


class RateLimited(RequestError):
    """Too many requests from one client."""

    def __init__(self, *, limit: str, retry_after_s: float) -> None:
        self.limit = limit
        self.retry_after_s = retry_after_s
        super().__init__(f"more than {limit} were sent; wait {retry_after_s:.0f} s")


class Overloaded(ServingError):
    """The request is fine and may be sent again."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class NotReady(Overloaded):
    """No model is live, or the service is going down."""

    def __init__(self, *, reason: str) -> None:
        self.reason = reason
        super().__init__(reason, retry_after_s=5.0)


class QueueFull(Overloaded):
    """More pictures wait than are allowed to."""

    def __init__(self, *, waiting: int, limit: int) -> None:
        self.waiting = waiting
        self.limit = limit
        super().__init__(f"{waiting} pictures are waiting, at most {limit} may; send it again later")


class DeadlinePassed(Overloaded):
    """The request was not answered in time."""

    def __init__(self, *, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        super().__init__(f"not answered within {deadline_s:g} s, the service is busy; send it again later")


class StoreUnavailable(ServingError):
    """The observation database cannot be reached."""


class ModelRefused(ServingError):
    """A version failed a check and is not served."""

    def __init__(self, *, version: str, sha256: str, step: str, reason: str) -> None:
        self.version = version
        self.sha256 = sha256
        self.step = step
        self.reason = reason
        super().__init__(
            f"version {version} ({sha256[:12] or 'no file'}) is refused at its {step}: {reason}; "
            "promote another version or register this one again"
        )


class LocationInvalid(ServingError):
    """A model location that names nothing that can be followed."""

    def __init__(self, *, got: str, reason: str) -> None:
        self.got = got
        super().__init__(
            f"MIEN_MODEL={got!r}: {reason}; expected models:/NAME@ALIAS, models:/NAME/VERSION, "
            "models:/NAME/STAGE, or the path of an ONNX file or of a folder with model.onnx"
        )


class RegistryUnavailable(ServingError):
    """The registry is away, too slow, or answers nonsense."""


class NothingRegistered(RegistryUnavailable):
    """The registry answers, and what is followed is not in it."""
