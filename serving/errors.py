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
"""

from __future__ import annotations

from pathlib import Path


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
