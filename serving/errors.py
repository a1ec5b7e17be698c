"""Errors of the `serving` package.

    ServingError
    ├── ContractError            a model file and its contract do not match
    │   ├── ContractMissing      the ONNX file has no contract
    │   ├── ContractInvalid      a field of the contract is absent, unknown or out of range
    │   └── SignatureMismatch    the graph's tensors differ from the contract's
    ├── ModelFileError           an ONNX file that is absent, truncated, foreign or without a valid contract
    ├── ModelTimeout             a model that did not load or answer in time, and was stopped
    ├── ModelRefused             a new version failed a check; the old one keeps serving
    ├── FaceDetectorError        a detector that is unknown, or whose model file cannot be used
    ├── ImageError               bytes that cannot become an image
    │   ├── ImageEmpty           zero bytes
    │   ├── ImageFormatUnknown   neither JPEG, PNG, WebP nor BMP
    │   │   └── PictureAsText    base64, JSON or similar text where the bytes of a picture are expected
    │   ├── ImageAnimated        more than one frame
    │   ├── ImageTooLarge        more pixels than allowed
    │   └── ImageUndecodable     truncated or corrupt
    ├── RequestError             the client has to change the request
    │   ├── BadRequest           the endpoint does not accept this request
    │   │   └── TooManyFiles     more files than one request may hold
    │   ├── NotFound             an unknown prediction, model, …
    │   │   └── ObservationUnknown  no answer with this id is stored
    │   ├── Unauthorized         no key, or an unknown one
    │   ├── Forbidden            a key without the required scope, or an address that needs a key
    │   ├── PayloadTooLarge      more bytes than allowed
    │   ├── TooManyPictures      more pictures than one tensor request may hold
    │   ├── HeadTooSlow          request line and header fields did not arrive in time
    │   ├── HeadTooLarge         request line and header fields have more bytes than allowed
    │   ├── BodyTooSlow          the body did not arrive in time
    │   ├── BodyIncomplete       the client disconnected while it sent the body
    │   ├── StreamIdle           the client sent or read nothing on a stream for too long
    │   ├── UpgradeRequired      a plain request where a WebSocket is expected
    │   ├── ContentUnsupported   the body has a content type that the endpoint does not read
    │   │   └── EncodingUnsupported  the body has a content encoding that the endpoint does not read
    │   ├── NotAcceptable        the endpoint offers no format that the client accepts
    │   ├── MethodNotAllowed     the path exists, for other methods
    │   └── RateLimited          too many requests from one client
    ├── Overloaded               the request is valid; try again later
    │   ├── NotReady             no model is live
    │   ├── QueueFull            more pictures wait than allowed
    │   ├── BodiesFull           the bodies of all requests together have more bytes than allowed
    │   ├── ConnectionsFull      more connections are open than allowed
    │   ├── StreamsFull          more streams are open than allowed
    │   └── DeadlinePassed       the request was not answered in time
    ├── StoreError               the observation database
    │   ├── StoreUnavailable     unreachable, full, read-only or broken; it may recover
    │   ├── RowsRefused          a value that the database does not accept
    │   ├── StoreUrlInvalid      MIEN_DATABASE_URL does not name a usable database
    │   ├── StoreTooNew          a newer service has changed its tables
    │   └── StoreIncomplete      its tables lack columns
    ├── DriftUnknown             drift could not be computed; requests are still served
    │   ├── WindowTooSmall       too few observations, or none
    │   ├── BatchTooSmall        too few answers in a batch, or none
    │   ├── TimesAhead           observations or results are dated in the future
    │   ├── ReferenceUnusable    the model has no reference, or one that lacks columns
    │   └── DriftFailed          Evidently failed, or the process that runs it
    ├── ScoringRefused           a folder cannot be scored as requested
    │   ├── OutputTaken          the output file holds something else
    │   └── ScoringBegunOtherwise  the run was started with another model or other options
    ├── LocationInvalid          MIEN_MODEL, or another model's setting, is not a model location
    ├── StartRefused             the service cannot start with its settings or on this machine
    └── RegistryUnavailable      the registry is unreachable or its answers cannot be used
        └── NothingRegistered    the registry has no such version

Every message says what was got, what was expected and what to do. Those of `Overloaded` carry the time to
wait in `retry_after_s`.
"""

from __future__ import annotations

import math
from pathlib import Path

from serving.urls import mask_urls


class ServingError(Exception):
    """Root of every error this package raises on purpose."""


class ContractError(ServingError):
    """A model file and its contract do not fit together."""

    def __init__(self, reason: str, *, remedy: str = "export the model again") -> None:
        self.reason = reason
        super().__init__(f"{reason}; {remedy}")


class ContractMissing(ContractError):
    """The ONNX file carries no contract in its metadata."""

    def __init__(self, *, path: str, key: str) -> None:
        self.path = path
        self.key = key
        super().__init__(
            f"{path}: no contract in the ONNX metadata (expected the key {key!r})",
            remedy="export the model with `python -m pipelines.export ARCHITECTURE`",
        )


class ContractInvalid(ContractError):
    """A field of the contract is absent, unknown, of the wrong type or out of range."""

    def __init__(self, *, field: str, got: object, expected: str) -> None:
        self.field = field
        self.got = got
        self.expected = expected
        super().__init__(f"contract field {field!r}: got {got!r}, expected {expected}")


class SignatureMismatch(ContractError):
    """The graph's inputs and outputs are not the ones the contract promises."""

    def __init__(self, *, tensor: str, got: object, expected: str) -> None:
        self.tensor = tensor
        self.got = got
        self.expected = expected
        super().__init__(f"tensor {tensor!r}: got {got}, expected {expected}")


class ModelFileError(ServingError):
    """An ONNX file that is absent, truncated, foreign or without a valid contract."""

    def __init__(self, *, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            f"{path}: {reason}, expected an ONNX file with a contract; "
            "export the model again or download it again"
        )


class ModelTimeout(ServingError):
    """A model did not load or answer in time; the operation was stopped."""

    def __init__(self, *, what: str, limit_s: float) -> None:
        self.what = what
        self.limit_s = limit_s
        self.reason = f"{what} within {limit_s:g} s (MIEN_MODEL_TIMEOUT_S)"
        super().__init__(f"{self.reason}; serve another model, or allow it more time")


class ImageError(ServingError):
    """Bytes that cannot become an image."""


class ImageEmpty(ImageError):
    """Zero bytes were given."""

    def __init__(self) -> None:
        super().__init__("the image has 0 bytes; send a JPEG, PNG, WebP or BMP file")


class ImageFormatUnknown(ImageError):
    """The first bytes do not belong to a supported format."""

    def __init__(self, *, head: bytes, recognised: str | None = None) -> None:
        """Describe a file of unknown format.

        Args:
            head: first bytes of the file.
            recognised: name of its format, when that is known but not supported.
        """
        self.head = head
        self.recognised = recognised
        message = f"not an image this service reads (it begins with {head[:8].hex(' ') or 'nothing'})"
        if recognised:
            message = f"not an image this service reads (its format is {recognised})"
        super().__init__(f"{message}; send a JPEG, PNG, WebP or BMP file")


class ImageAnimated(ImageError):
    """The file holds an animation; one still image is expected."""

    def __init__(self, *, format: str) -> None:
        self.format = format
        super().__init__(f"an animated {format} was sent, expected one still image; send one frame")


class ImageTooLarge(ImageError):
    """The image has more pixels than allowed; none was decoded."""

    def __init__(
        self, *, width: int | None = None, height: int | None = None, bit_depth: int = 8, max_pixels: int
    ) -> None:
        """Describe a picture that is too large.

        Args:
            width: columns according to its header; None when the decoder refused it without stating a size.
            height: rows according to its header; None in the same case.
            bit_depth: bits of one channel.
            max_pixels: maximum number of pixels at this depth.
        """
        self.width = width
        self.height = height
        self.bit_depth = bit_depth
        self.max_pixels = max_pixels
        message = f"the image has more pixels than its header says, at most {max_pixels} are accepted"
        if width is not None and height is not None:
            pixels = (
                f"{width * height} pixels" if bit_depth <= 8 else f"{width * height} {bit_depth}-bit pixels"
            )
            message = f"the image has {width}×{height} = {pixels}, at most {max_pixels} are accepted"
        super().__init__(f"{message}; send a smaller one")


class ImageUndecodable(ImageError):
    """The format is known but the data is truncated or corrupt."""

    def __init__(self, *, format: str, reason: str) -> None:
        self.format = format
        self.reason = reason
        super().__init__(f"the {format} data cannot be decoded ({reason}); send an intact file")


class FaceDetectorError(ServingError):
    """A face detector that is unknown, or whose model file cannot be used."""

    def __init__(self, *, detector: str, reason: str, remedy: str) -> None:
        self.detector = detector
        self.reason = reason
        super().__init__(f"face detector {detector!r}: {reason}; {remedy}")


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


class PictureAsText(ImageFormatUnknown):
    """A picture as base64, JSON or similar text, where its bytes are expected."""

    def __init__(self, *, head: bytes = b"", recognised: str) -> None:
        super().__init__(head=head)
        self.recognised = recognised
        self.args = (
            f"this is {recognised}, expected the bytes of a JPEG, PNG, WebP or BMP file; "
            'send the file as it is, as the body or as `curl -F "file=@photo.jpg"`',
        )


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


class StoreError(ServingError):
    """The observation database cannot be used, now or at all."""


class StoreUnavailable(StoreError):
    """The database is unreachable, full, read-only or broken; it may recover."""

    def __init__(self, *, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"{url}: {reason}; the service goes on, start the database or make room for it")


class RowsRefused(StoreError):
    """The database works but does not accept a value."""

    def __init__(self, *, reason: str) -> None:
        super().__init__(f"the database refuses a row: {reason}; nothing was written")


class StoreUrlInvalid(StoreError):
    """A database URL that cannot be used."""

    def __init__(self, *, reason: str) -> None:
        # Without the URL: it may hold a password.
        super().__init__(
            f"MIEN_DATABASE_URL: {reason}; expected sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"
        )


class StoreTooNew(StoreError):
    """A newer service has changed the tables."""

    def __init__(self, *, url: str, found: int, known: int) -> None:
        self.found = found
        self.known = known
        super().__init__(
            f"{url}: its tables have version {found}, this service knows up to {known}; "
            "start the newer service or name another database"
        )


class StoreIncomplete(StoreError):
    """The tables have this service's version but lack columns."""

    def __init__(self, *, url: str, missing: list[str]) -> None:
        self.missing = tuple(missing)
        super().__init__(
            f"{url}: its tables lack {', '.join(missing)}, expected those of this service's version; "
            "restore a backup or name another database"
        )


class DriftUnknown(ServingError):
    """Drift could not be computed; requests are still served."""


class WindowTooSmall(DriftUnknown):
    """Too few observations, or none."""

    def __init__(self, *, got: int, expected: int, version: str) -> None:
        self.got = got
        self.expected = expected
        found = f"only {got}" if got else "no"
        super().__init__(
            f"{found} observations of version {version} are in the window, at least {expected} are needed; "
            "wait for more requests, or lower MIEN_DRIFT_MIN_ROWS"
        )


class BatchTooSmall(DriftUnknown):
    """A batch of scored pictures has too few answers for a comparison, or none."""

    def __init__(self, *, got: int, expected: int, version: str) -> None:
        self.got = got
        self.expected = expected
        found = f"only {got} answers" if got else "no answer"
        super().__init__(
            f"the batch has {found} of version {version}, at least {expected} are needed; "
            "score a larger batch, or lower MIEN_DRIFT_MIN_ROWS"
        )


class TimesAhead(DriftUnknown):
    """Observations or results are dated in the future and left out."""

    def __init__(self, *, observations: int, results: int, ahead_s: float) -> None:
        self.observations = observations
        self.results = results
        self.ahead_s = ahead_s
        super().__init__(
            f"{observations} observations and {results} results are dated in the future, by up to "
            f"{ahead_s:.0f} s, and are left out: a clock is or was wrong; correct the machines' clocks"
        )


class ReferenceUnusable(DriftUnknown):
    """The model has no reference, or one that cannot be used for a comparison."""

    def __init__(self, *, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}; serve a version that `make run` registered, with its reference")


class DriftFailed(DriftUnknown):
    """The process that computes drift failed."""

    def __init__(self, *, reason: str) -> None:
        self.reason = reason
        super().__init__(f"drift could not be computed: {reason}; the next attempt comes by itself")


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
    """A model location is neither a registered model nor a usable path."""

    def __init__(self, *, got: str, reason: str, setting: str = "MIEN_MODEL") -> None:
        self.got = got
        super().__init__(
            f"{setting}={mask_urls(got)!r}: {reason}; expected models:/NAME@ALIAS, models:/NAME/VERSION, "
            "models:/NAME/STAGE, or the path of an ONNX file or of a folder with model.onnx"
        )


class StartRefused(ServingError):
    """The service cannot start with its settings or on this machine; the message says why."""


class RegistryUnavailable(ServingError):
    """The registry is unreachable or too slow, or its answers cannot be used."""


class NothingRegistered(RegistryUnavailable):
    """The registry answers but has no such version."""


class ScoringRefused(ServingError):
    """A folder cannot be scored as requested."""


class OutputTaken(ScoringRefused):
    """The output file exists and holds something else."""

    def __init__(self, *, path: Path) -> None:
        self.path = path
        super().__init__(
            f"{path} is there already, and not from this model, folder and options; "
            "remove it or name another file"
        )


class ScoringBegunOtherwise(ScoringRefused):
    """A run was started with another model or with other options."""

    def __init__(self, *, parts: Path, what: str, begun: object, now: object) -> None:
        self.what = what
        super().__init__(
            f"{parts} was begun with {what} {begun!r}, now it is {now!r}; "
            "finish it with these options, or remove that folder to start again"
        )
