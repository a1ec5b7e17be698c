"""Errors of the `serving` package.

    ServingError
    ├── ContractError            a model file and its contract do not fit
    │   ├── ContractMissing      the ONNX file carries no contract
    │   ├── ContractInvalid      a field of the contract is absent, unknown or out of range
    │   └── SignatureMismatch    the graph's tensors are not the contract's
    ├── ModelFileError           an ONNX file that is absent, truncated, foreign or without a valid contract
    ├── ModelTimeout             a model that did not load or answer in time, and was ended
    ├── ImageError               bytes that cannot become an image
    │   ├── ImageEmpty           zero bytes
    │   ├── ImageFormatUnknown   neither JPEG, PNG, WebP nor BMP
    │   ├── ImageAnimated        more than one frame
    │   ├── ImageTooLarge        more pixels than allowed
    │   └── ImageUndecodable     truncated or corrupt
    └── FaceDetectorError        a detector that is unknown, or whose model file cannot be used

Every message says what was got, what was expected and what to do.

What can go wrong while the service runs; the errors of models and pictures are in `serving.errors`.

    ServingError
    ├── RequestError             the client's to correct
    │   ├── BadRequest           not what the endpoint takes
    │   │   └── TooManyFiles     more files than one request may hold
    │   ├── NotFound             no such prediction, model, …
    │   │   └── ObservationUnknown  no answer of this id was stored
    │   ├── Unauthorized         no key, or an unknown one
    │   ├── Forbidden            a key without the scope, or an address that needs one
    │   ├── PayloadTooLarge      more bytes than allowed
    │   ├── TooManyPictures      more pictures than one request of tensors may hold
    │   ├── HeadTooSlow          request line and header fields did not arrive in time
    │   ├── HeadTooLarge         request line and header fields have more bytes than allowed
    │   ├── BodyTooSlow          the body did not arrive in time
    │   ├── BodyIncomplete       the client went away in the middle of it
    │   ├── StreamIdle           nothing came on a stream, or nothing was taken from it, for too long
    │   ├── UpgradeRequired      a plain request where a WebSocket is expected
    │   ├── ContentUnsupported   a body that is not of the kind that the endpoint reads
    │   │   └── EncodingUnsupported  compressed in a way that is not read
    │   ├── NotAcceptable        the client accepts nothing that the endpoint can give
    │   ├── MethodNotAllowed     the path exists, for other methods
    │   └── RateLimited          too many requests from one key
    ├── PictureAsText            (an ImageFormatUnknown) base64, JSON or the like, where a picture is expected
    ├── Overloaded               try again later, nothing is wrong with the request
    │   ├── NotReady             no model is live
    │   ├── QueueFull            more pictures wait than allowed
    │   ├── BodiesFull           the bodies of all requests together are more than allowed
    │   ├── ConnectionsFull      more connections are open than allowed
    │   ├── StreamsFull          more streams are open than allowed
    │   └── DeadlinePassed       the answer would have come too late
    ├── StoreError               the observation database
    │   ├── StoreUnavailable     away, full, read-only or broken; it may come back
    │   ├── RowsRefused          a value that the database does not take
    │   ├── StoreUrlInvalid      MIEN_DATABASE_URL names no database that can be used
    │   ├── StoreTooNew          a newer service has changed its tables
    │   └── StoreIncomplete      its tables lack columns
    ├── DriftUnknown             whether the world has moved cannot be said
    │   ├── WindowTooSmall       too few observations, or none
    │   ├── BatchTooSmall        too few answers in a batch, or none
    │   ├── TimesAhead           observations or results are dated in the future
    │   ├── ReferenceUnusable    the model came without a reference, or with one that lacks columns
    │   └── DriftFailed          Evidently, or the process that it runs in
    ├── ModelRefused             a new version failed a check; the old one keeps serving
    ├── ScoringRefused           a folder cannot be scored as asked
    │   ├── OutputTaken          the result's file holds something else
    │   └── ScoringBegunOtherwise  it was begun with another model or other options
    ├── LocationInvalid          MIEN_MODEL, or another model's setting, names nothing to follow
    ├── StartRefused             what the service was given cannot be started with
    └── RegistryUnavailable      the registry is away, or what is followed is not in it
        └── NothingRegistered    the registry answers: there is no such version

Every message says what was got, what was expected and what to do. Those of `Overloaded` also
say how long to wait.
"""

from __future__ import annotations

import math
from pathlib import Path

from serving.urls import mask_urls


class ServingError(Exception):
    """Root of every error this package raises on purpose."""


class ContractError(ServingError):
    """A model file and its contract do not fit together."""


class ContractMissing(ContractError):
    """The ONNX file carries no contract in its metadata."""

    def __init__(self, *, path: str, key: str) -> None:
        self.path = path
        self.key = key
        super().__init__(
            f"{path}: no contract in the ONNX metadata (expected the key {key!r}); "
            "export the model with `python -m pipelines.export ARCHITECTURE`"
        )


class ContractInvalid(ContractError):
    """A field of the contract is absent, unknown, of the wrong type or out of range."""

    def __init__(self, *, field: str, got: object, expected: str) -> None:
        self.field = field
        self.got = got
        self.expected = expected
        super().__init__(
            f"contract field {field!r}: got {got!r}, expected {expected}; export the model again"
        )


class SignatureMismatch(ContractError):
    """The graph's inputs and outputs are not the ones the contract promises."""

    def __init__(self, *, tensor: str, got: object, expected: str) -> None:
        self.tensor = tensor
        self.got = got
        self.expected = expected
        super().__init__(f"tensor {tensor!r}: got {got}, expected {expected}; export the model again")


class ModelFileError(ServingError):
    """An ONNX file that is absent, truncated, foreign or without a valid contract."""

    def __init__(self, *, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(
            f"{path}: {reason}, expected an ONNX file with a contract; "
            "export the model again or download it anew"
        )


class ModelTimeout(ServingError):
    """A model did not load or answer in time; what it was doing was ended."""

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
    """The first bytes are those of no supported format."""

    def __init__(self, *, head: bytes, recognised: str | None = None) -> None:
        """An unknown file.

        Args:
            head: its first bytes.
            recognised: name of its format, when it is one that is known and not read.
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
    """The image has more pixels than are allowed; none was decoded."""

    def __init__(self, *, width: int | None = None, height: int | None = None, max_pixels: int) -> None:
        """A picture that is too large.

        Args:
            width: columns by its header; None when the decoder refused it and states no size.
            height: rows by its header, likewise.
            max_pixels: how many are allowed.
        """
        self.width = width
        self.height = height
        self.max_pixels = max_pixels
        message = f"the image has more pixels than its header says, at most {max_pixels} are accepted"
        if width is not None and height is not None:
            pixels = width * height
            message = f"the image has {width}×{height} = {pixels} pixels, at most {max_pixels} are accepted"
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
    """A wait as `Retry-After` (RFC 9110, 10.2.3) and messages state it: rounded up, at least 1."""
    return max(1, math.ceil(seconds))


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


class ObservationUnknown(NotFound):
    """No answer of this id was stored, or it was deleted since."""

    def __init__(self, *, id: str) -> None:
        self.id = id
        super().__init__(f"no answer with the id {id!r}; it may never have been given or is deleted by now")


class Unauthorized(RequestError):
    """No key was sent, or one that is not known."""


class Forbidden(RequestError):
    """A key without the scope that is needed, or an address from which a key is needed."""


class PayloadTooLarge(RequestError):
    """More bytes than allowed; the rest was not read."""

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"the request has more than {limit} bytes; send a smaller picture")


class TooManyPictures(RequestError):
    """More pictures than one request of tensors may hold."""

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
        super().__init__(f"{got} bytes arrived within {limit_s:g} s and more were to come; send it faster")


class BodyIncomplete(RequestError):
    """The client went away before its body had arrived."""

    def __init__(self, *, got: int) -> None:
        self.got = got
        super().__init__(f"the connection ended after {got} bytes of the body; send it again")


class StreamIdle(RequestError):
    """Nothing came on a stream, or nothing was taken from it, for too long."""

    def __init__(self, *, limit_s: float) -> None:
        self.limit_s = limit_s
        super().__init__(
            f"nothing was sent, or nothing taken, for {limit_s:g} s; send frames and read the answers"
        )


class UpgradeRequired(RequestError):
    """A plain request where a WebSocket is expected."""

    def __init__(self) -> None:
        super().__init__(
            "this is a WebSocket and got a plain request; open it with ws:// (wss:// behind TLS), "
            "or send single pictures to /detect"
        )


class ContentUnsupported(RequestError):
    """A body that is not of the kind that the endpoint reads."""

    def __init__(self, *, got: str, expected: str) -> None:
        self.got = got
        super().__init__(f"the body is {got or 'of no stated type'}, expected {expected}")


class EncodingUnsupported(ContentUnsupported):
    """A body that is compressed in a way that is not read."""

    def __init__(self, *, got: str, expected: str) -> None:
        self.encoding = got
        super().__init__(got=f"encoded as {got!r} (Content-Encoding)", expected=expected)


class PictureAsText(ImageFormatUnknown):
    """A picture in base64, JSON or the like, where its bytes are expected."""

    def __init__(self, *, head: bytes = b"", recognised: str) -> None:
        super().__init__(head=head)
        self.recognised = recognised
        self.args = (
            f"this is {recognised}, expected the bytes of a JPEG, PNG, WebP or BMP file; "
            'send the file as it is, as the body or as `curl -F "file=@photo.jpg"`',
        )


class NotAcceptable(RequestError):
    """The client accepts nothing that the endpoint can give."""

    def __init__(self, *, got: str, offered: str) -> None:
        self.got = got
        super().__init__(f"the client accepts {got}, this endpoint gives {offered}; change Accept")


class MethodNotAllowed(RequestError):
    """The path exists, for other methods."""

    def __init__(self, *, got: str, allowed: str) -> None:
        self.got = got
        self.allowed = allowed
        super().__init__(f"{got} is not possible here; use {allowed}")


class RateLimited(RequestError):
    """Too many requests from one client."""

    def __init__(self, *, limit: str, retry_after_s: float) -> None:
        self.limit = limit
        self.retry_after_s = retry_after_s
        super().__init__(f"more than {limit} were sent; wait {whole_seconds(retry_after_s)} s")


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


class StreamsFull(Overloaded):
    """More streams are open than are allowed to be."""

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        super().__init__(f"{limit} streams are open, which is all there may be; open it again later")


class ConnectionsFull(Overloaded):
    """More connections are open than are allowed to be, and a request is in progress on each."""

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
    """The observation database is not to be used, now or at all."""


class StoreUnavailable(StoreError):
    """The database is away, full, read-only or broken; it may come back."""

    def __init__(self, *, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"{url}: {reason}; the service goes on, start the database or make room for it")


class RowsRefused(StoreError):
    """The database works and does not take a value."""

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
    """The tables were changed by a service that knows more."""

    def __init__(self, *, url: str, found: int, known: int) -> None:
        self.found = found
        self.known = known
        super().__init__(
            f"{url}: its tables have version {found}, this service knows up to {known}; "
            "start the newer service or name another database"
        )


class StoreIncomplete(StoreError):
    """Tables of this service's version that lack columns."""

    def __init__(self, *, url: str, missing: list[str]) -> None:
        self.missing = tuple(missing)
        super().__init__(
            f"{url}: its tables lack {', '.join(missing)}, expected those of this service's version; "
            "restore a backup or name another database"
        )


class DriftUnknown(ServingError):
    """Whether the world has moved cannot be said; the service goes on."""


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
    """A batch of scored pictures has too few answers, or none, to be compared as a whole."""

    def __init__(self, *, got: int, expected: int, version: str) -> None:
        self.got = got
        self.expected = expected
        found = f"only {got} answers" if got else "no answer"
        super().__init__(
            f"the batch has {found} of version {version}, at least {expected} are needed; "
            "score a larger batch, or lower MIEN_DRIFT_MIN_ROWS"
        )


class TimesAhead(DriftUnknown):
    """Observations or results are dated in the future, and left out."""

    def __init__(self, *, observations: int, results: int, ahead_s: float) -> None:
        self.observations = observations
        self.results = results
        self.ahead_s = ahead_s
        super().__init__(
            f"{observations} observations and {results} results are dated in the future, by up to "
            f"{ahead_s:.0f} s, and are left out: a clock was or is wrong; set the machines' clocks right"
        )


class ReferenceUnusable(DriftUnknown):
    """The model came without a reference, or with one that cannot be compared with."""

    def __init__(self, *, path: str, reason: str) -> None:
        self.path = path
        super().__init__(f"{path}: {reason}; serve a version that `make run` registered, which brings one")


class DriftFailed(DriftUnknown):
    """The process that computes it failed."""

    def __init__(self, *, reason: str) -> None:
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
    """A model location that names nothing that can be followed."""

    def __init__(self, *, got: str, reason: str, setting: str = "MIEN_MODEL") -> None:
        self.got = got
        super().__init__(
            f"{setting}={mask_urls(got)!r}: {reason}; expected models:/NAME@ALIAS, models:/NAME/VERSION, "
            "models:/NAME/STAGE, or the path of an ONNX file or of a folder with model.onnx"
        )


class StartRefused(ServingError):
    """What the service was given cannot be started with; the message says what and what to do."""


class RegistryUnavailable(ServingError):
    """The registry is away, too slow, or answers nonsense."""


class NothingRegistered(RegistryUnavailable):
    """The registry answers, and what is followed is not in it."""


class ScoringRefused(ServingError):
    """A folder cannot be scored as asked."""


class OutputTaken(ScoringRefused):
    """The result's file is there already and holds something else."""

    def __init__(self, *, path: Path) -> None:
        self.path = path
        super().__init__(
            f"{path} is there already, and not from this model, folder and options; "
            "remove it or name another file"
        )


class ScoringBegunOtherwise(ScoringRefused):
    """A run was begun with another model or with other options."""

    def __init__(self, *, parts: Path, what: str, begun: object, now: object) -> None:
        self.what = what
        super().__init__(
            f"{parts} was begun with {what} {begun!r}, now it is {now!r}; "
            "finish it as it was begun, or remove that folder to begin anew"
        )
