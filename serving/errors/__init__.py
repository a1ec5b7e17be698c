"""Errors of the `serving` package.

    ServingError
    ├── ContractError            a model file and its contract do not match
    │   ├── ContractMissing      the ONNX file has no contract
    │   ├── ContractInvalid      a field of the contract is absent, unknown or out of range
    │   └── SignatureMismatch    the graph's tensors differ from the contract's
    ├── ModelFileError           an ONNX file that is absent, truncated, foreign or without a valid contract
    ├── ModelTimeout             a model that did not load or answer in time, and was stopped
    ├── ModelRefused             a new version failed a check; the old one keeps serving
    ├── SignatureInvalid         the files of a model are not as a trusted key signed them
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
    ├── ScoringRefused           a folder or a video cannot be scored as requested
    │   ├── VideoUnreadable      a file that is not a video that can be read
    │   ├── VideoUnwritable      a video file that cannot be written here
    │   ├── OutputTaken          the output file holds something else
    │   └── ScoringBegunOtherwise  the run was started with another model or other options
    ├── LocationInvalid          MIEN_MODEL, or another model's setting, is not a model location
    ├── StartRefused             the service cannot start with its settings or on this machine
    └── RegistryUnavailable      the registry is unreachable or its answers cannot be used
        └── NothingRegistered    the registry has no such version

Those down to `ImageError` are in this module: training shares them. Those of requests and of overload are in
`requests`, the others in `operation`. Every message says what was got, what was expected and what to do;
those of `Overloaded` carry the time to wait in `retry_after_s`.
"""

from __future__ import annotations

from pathlib import Path


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


class PictureAsText(ImageFormatUnknown):
    """A picture as base64, JSON or similar text, where its bytes are expected."""

    def __init__(self, *, head: bytes = b"", recognised: str) -> None:
        super().__init__(head=head)
        self.recognised = recognised
        self.args = (
            f"this is {recognised}, expected the bytes of a JPEG, PNG, WebP or BMP file; "
            'send the file as it is, as the body or as `curl -F "file=@photo.jpg"`',
        )


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


class SignatureInvalid(ServingError):
    """The files of a model are not as a trusted key signed them."""

    def __init__(self, *, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}; sign the files with a trusted key, or trust the key that signed them")
