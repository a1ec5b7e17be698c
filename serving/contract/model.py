"""What a model expects and answers, carried inside its ONNX file as one JSON value.

The pipeline writes it (`pipelines.export`), the service reads it and refuses a model without it.
It holds nothing that changes when the same thing is built again: two exports of one trained
model are byte-identical. Lineage (run, commit) sits on the MLflow model version instead.

Version 1 has exactly the required fields. Version 2 adds the optional blocks `face_detector`, `flip_average`,
`conformal` and `novelty`; a contract without any of them is written as version 1.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal, get_args

from serving.errors import ContractInvalid, SignatureMismatch

CONTRACT_VERSIONS = (1, 2)
"""Versions that can be read."""
METADATA_KEY = "mien.contract"

Color = Literal["rgb", "gray"]
Crop = Literal["none", "face"]
Detector = Literal["haar", "yunet"]
Resize = Literal["area", "linear", "cubic"]

IMAGE = "image"
PROBABILITIES = "probabilities"
HEATMAP = "heatmap"
EMBEDDING = "embedding"
NOVELTY = "novelty"
OUTPUTS = (PROBABILITIES, HEATMAP, EMBEDDING)
"""Outputs of every model; see `ModelContract.outputs` for those of one."""

# An image side below 8 px holds no face; above 1024 px no listed network takes it.
MIN_SIDE_PX, MAX_SIDE_PX = 8, 1024
# A margin of 1 adds a whole box on each side; beyond that the crop is no longer about the face.
MAX_MARGIN = 1.0
_SHA256 = re.compile(r"[0-9a-f]{64}")
# The largest finite float32 (IEEE 754 binary32): a threshold beyond it could never be reached.
_FLOAT32_MAX = 3.4028234663852886e38
# Control characters, lone surrogates, line and paragraph separators (Unicode's general categories).
_UNFIT_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Embeddings, overrides and isolates: a text with them is displayed in another order than it is stored."""


def class_name_problem(name: object) -> str | None:
    """Why a class cannot have this name; None when it can.

    A name is shown on the page, sent in JSON and headers, and stored in databases: all of them take valid
    Unicode without control characters, and some take nothing else.
    """
    if not isinstance(name, str) or not name:
        return "it is not a non-empty text"
    for character in name:
        if unicodedata.category(character) in _UNFIT_CATEGORIES or character in _BIDIRECTIONAL:
            return f"it contains U+{ord(character):04X}, which is not a visible character"
    return None


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """How a picture becomes the network's input: crop, then resize, then colour.

    `prepare` and the service both hand this to `preprocess`, so that what the network sees in
    training is what it sees when it serves.
    """

    height: int
    """Rows of the network's input, px."""
    width: int
    """Columns of the network's input, px."""
    color: Color = "rgb"
    """`rgb`, or `gray`: luminance repeated three times."""
    crop: Crop = "none"
    """`none`: the whole picture. `face`: a square around the largest face."""
    detector: Detector | None = None
    """Which face detector `prepare` used; set exactly when `crop` is `face`."""
    margin: float = 0.0
    """Added on each side of a face box, as a fraction of the box's longer side, in [0, 1]."""
    resize: Resize = "area"
    """Filter when shrinking; enlarging uses `linear` unless this says `cubic`."""

    def __post_init__(self) -> None:
        for side in ("height", "width"):
            _check_integer(side, getattr(self, side), MIN_SIDE_PX, MAX_SIDE_PX)
        _check_choice("color", self.color, get_args(Color))
        _check_choice("crop", self.crop, get_args(Crop))
        _check_choice("resize", self.resize, get_args(Resize))
        _check_number("margin", self.margin, 0.0, MAX_MARGIN)
        if self.crop == "face":
            _check_choice("detector", self.detector, get_args(Detector))
        elif self.detector is not None:
            raise ContractInvalid(field="detector", got=self.detector, expected="null when crop is 'none'")


@dataclass(frozen=True, kw_only=True)
class DetectorFile:
    """File of the face detector whose boxes the crop margin was calibrated on."""

    name: str
    """File name without its folder, for example `face_detection_yunet_2023mar.onnx`."""
    sha256: str
    """SHA-256 of the file, hexadecimal."""

    def __post_init__(self) -> None:
        _check_text("face_detector.name", self.name)
        if "/" in self.name or "\\" in self.name:
            raise ContractInvalid(
                field="face_detector.name", got=self.name, expected="a file name without a folder"
            )
        _check_sha256("face_detector.sha256", self.sha256)


@dataclass(frozen=True, kw_only=True)
class ConformalThreshold:
    """Threshold of prediction sets that contain the true class with a known probability.

    Sadinle, Lei & Wasserman, 2019, "Least ambiguous set-valued classifiers with bounded error levels".
    """

    threshold: float
    """A class belongs to the set of a picture if its probability is at least this; in [0, 1]."""
    coverage: float
    """Nominal share of sets that contain the true class, in [0, 1]."""
    measured_coverage: float
    """Share of sets that contained it on pictures that the threshold was not computed from, in [0, 1]."""

    def __post_init__(self) -> None:
        for name in ("threshold", "coverage", "measured_coverage"):
            _check_number(f"conformal.{name}", getattr(self, name), 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class NoveltyOutput:
    """The output `novelty` of the graph: the larger, the less a picture is like those of the training."""

    threshold: float | None
    """Value above which a picture counts as unlike the training's; null: not calibrated."""

    def __post_init__(self) -> None:
        if self.threshold is not None:
            _check_number("novelty.threshold", self.threshold, -_FLOAT32_MAX, _FLOAT32_MAX)


@dataclass(frozen=True, kw_only=True)
class ModelContract:
    """The agreement between one ONNX file and the programs that run it.

    Raises:
        ContractInvalid: a field is of the wrong type or out of range.
    """

    classes: tuple[str, ...]
    """Class names in the order of the `probabilities` columns, see `class_name_problem`; two or more."""
    input: InputSpec
    """How a picture becomes the `image` tensor."""
    architecture: str
    """Name in the architecture registry, with `-int8` and the like for variants."""
    weights: str
    """Where training started: `scratch`, `imagenet`, `drawn` (faces), or `hf:CHECKPOINT`."""
    temperature: float
    """Calibration temperature already applied inside the graph (Guo et al., 2017); > 0."""
    dataset: str
    """SHA-256 of the manifest's content, hexadecimal."""
    face_detector: DetectorFile | None = None
    """File of `input.detector`; None: not recorded, or the model sees whole pictures."""
    flip_average: bool = False
    """Whether the graph averages a picture's embedding with that of its mirror image, at twice the cost."""
    conformal: ConformalThreshold | None = None
    """Threshold of prediction sets; None: not computed."""
    novelty: NoveltyOutput | None = None
    """Set exactly when the graph has the output `novelty`."""

    def __post_init__(self) -> None:
        names = self.classes
        if (
            not isinstance(names, tuple)
            or len(names) < 2
            or len(set(names)) != len(names)
            or any(class_name_problem(name) for name in names)
        ):
            raise ContractInvalid(
                field="classes",
                got=names,
                expected="two or more different non-empty names of visible Unicode characters",
            )
        for field in ("architecture", "weights"):
            _check_text(field, getattr(self, field))
        _check_number("temperature", self.temperature, 1e-3, 1e3)
        _check_sha256("dataset", self.dataset)
        if not isinstance(self.flip_average, bool):
            raise ContractInvalid(field="flip_average", got=self.flip_average, expected="true or false")
        if self.face_detector is not None and self.input.detector is None:
            raise ContractInvalid(
                field="face_detector",
                got=self.face_detector.name,
                expected="no such block when crop is 'none'",
            )

    @property
    def version(self) -> int:
        """Version of the JSON text: 2 with an optional block; without one 1, which older services read."""
        return 2 if any(getattr(self, name) for name in _BLOCKS) else 1

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs."""
        return OUTPUTS if self.novelty is None else (*OUTPUTS, NOVELTY)

    def to_json(self) -> str:
        """The contract as one canonical JSON text: sorted keys, no white space, no absent blocks."""
        values = {name: value for name, value in asdict(self).items() if name not in _BLOCKS or value}
        values["version"] = self.version
        return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelContract:
        """Read what `to_json` wrote.

        Raises:
            ContractInvalid: not JSON, a key missing or unknown, or a value out of range.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ContractInvalid(field="(all)", got=text[:40], expected="one JSON object") from error
        # Before the keys, because a later version may have others.
        version = data.get("version", 1) if isinstance(data, Mapping) else 1
        if isinstance(version, bool) or version not in CONTRACT_VERSIONS:
            raise ContractInvalid(field="version", got=version, expected=f"one of {list(CONTRACT_VERSIONS)}")
        required = [*_names(cls, optional=False), "version"]
        values = _known_keys("(all)", data, required, optional=_BLOCKS if version == 2 else ())
        del values["version"]
        for name, kind in _STRUCTURES.items():
            if name in values:
                values[name] = kind(**_known_keys(name, values[name], _names(kind)))
        if not isinstance(values["classes"], list):
            raise ContractInvalid(field="classes", got=values["classes"], expected="a list")
        values["classes"] = tuple(values["classes"])
        return cls(**values)


_STRUCTURES: Mapping[str, type[Any]] = {
    "input": InputSpec,
    "face_detector": DetectorFile,
    "conformal": ConformalThreshold,
    "novelty": NoveltyOutput,
}
"""Key → type of its JSON object, whose keys are all required."""


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One input or output of a graph, as its runtime describes it."""

    name: str
    dtype: str
    """NumPy's name: `uint8`, `float32`."""
    shape: tuple[int | str | None, ...]
    """Fixed sizes as integers; a name or None where the size is open."""


def check_signature(
    contract: ModelContract, *, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]
) -> None:
    """Hold a graph's tensors against its contract.

    Raises:
        SignatureMismatch: a tensor is missing, superfluous, or has another dtype or shape.
    """
    spec = contract.input
    count = len(contract.classes)
    _check_names("inputs", [tensor.name for tensor in inputs], (IMAGE,))
    _check_names("outputs", [tensor.name for tensor in outputs], contract.outputs)
    by_name = {tensor.name: tensor for tensor in (*inputs, *outputs)}
    _check_tensor(by_name[IMAGE], "uint8", (spec.height, spec.width, 3))
    _check_tensor(by_name[PROBABILITIES], "float32", (count,))
    _check_tensor(by_name[HEATMAP], "float32", (None, None))
    _check_tensor(by_name[EMBEDDING], "float32", (None,))
    if contract.novelty is not None:
        _check_tensor(by_name[NOVELTY], "float32", ())


def _check_names(tensor: str, got: list[str], expected: tuple[str, ...]) -> None:
    if sorted(got) != sorted(expected):
        raise SignatureMismatch(tensor=tensor, got=sorted(got), expected=f"{sorted(expected)}")


def _check_tensor(tensor: TensorInfo, dtype: str, sizes: tuple[int | None, ...]) -> None:
    axes = ("batch", *("fixed" if size is None else str(size) for size in sizes))
    wanted = f"{dtype} [{', '.join(axes)}]"
    shape = tensor.shape
    fits = (
        tensor.dtype == dtype
        and len(shape) == len(sizes) + 1
        and not isinstance(shape[0], int)
        and all(
            isinstance(got, int) and got > 0 and (size is None or got == size)
            for got, size in zip(shape[1:], sizes, strict=True)
        )
    )
    if not fits:
        raise SignatureMismatch(tensor=tensor.name, got=f"{tensor.dtype} {list(shape)}", expected=wanted)


def _names(kind: type[Any], *, optional: bool = True) -> list[str]:
    """Names of a type's fields; without `optional`, only of those that have no default value."""
    return [item.name for item in fields(kind) if optional or item.default is MISSING]


_BLOCKS = tuple(name for name in _names(ModelContract) if name not in _names(ModelContract, optional=False))
"""Optional keys of version 2."""


def _known_keys(
    field: str, data: object, required: Sequence[str], *, optional: Sequence[str] = ()
) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise ContractInvalid(field=field, got=data, expected="a JSON object")
    missing = sorted(set(required) - data.keys())
    unknown = sorted(data.keys() - {*required, *optional})
    if missing or unknown:
        raise ContractInvalid(
            field=[*unknown, *missing][0],
            got="an unknown key" if unknown else "a missing key",
            expected=f"the keys {sorted(required)}, optionally {sorted(optional)}",
        )
    return dict(data)


def _check_text(field: str, value: object) -> None:
    if class_name_problem(value):
        raise ContractInvalid(
            field=field, got=value, expected="a non-empty text of visible Unicode characters"
        )


def _check_sha256(field: str, value: object) -> None:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ContractInvalid(field=field, got=value, expected="64 hexadecimal digits")


def _check_integer(field: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ContractInvalid(field=field, got=value, expected=f"an integer in [{low}, {high}]")


def _check_number(field: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ContractInvalid(field=field, got=value, expected=f"a number in [{low:g}, {high:g}]")


def _check_choice(field: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ContractInvalid(field=field, got=value, expected=f"one of {list(choices)}")
