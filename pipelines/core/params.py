"""`params.yaml` as frozen, checked values: one model per stage, unknown keys refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.core.errors import ParamsError, UnknownArchitecture
from pipelines.core.paths import PARAMS
from serving.contract.model import InputSpec

Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Tunable:
    """Range in which `pipelines.tune` looks for a better value, both ends included."""

    low: float
    high: float
    is_log: bool = False
    """Whether factors matter, not differences."""


LearningRate = Annotated[Rate, Tunable(1e-4, 1e-2, is_log=True)]
# Cross-validated against the registry only by name here, so that reading parameters needs no Keras.
_ARCHITECTURES = Path(__file__).parents[1] / "architectures"


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class PrepareParams(_Block):
    """How pictures become the network's input and how they are split."""

    image_size_px: Annotated[int, Field(ge=8, le=1024)]
    """Side of the square input of every architecture, px."""
    color: Literal["rgb", "gray"]
    """`gray` repeats the luminance three times, for sets like FER2013."""
    crop: Literal["none", "face"]
    """`face` crops to the largest face found; a picture without one is set aside."""
    detector: Literal["haar", "yunet"]
    """Which detector `crop: face` uses (`yunet` reads its file from MIEN_FACE_MODEL)."""
    margin: Fraction
    """Added on each side of a face box, as a fraction of its longer side."""
    resize: Literal["area", "linear", "cubic"]
    """Filter when shrinking."""
    val_fraction: Annotated[float, Field(gt=0, lt=0.5)]
    """Share of groups for validation, where the data brings no `val` folder."""
    test_fraction: Annotated[float, Field(gt=0, lt=0.5)]
    """Share of groups for the test, where the data brings no `test` folder."""
    group_pattern: str | None
    """Regular expression searched in the file name; its first group names the person."""
    max_unreadable_fraction: Fraction
    """More broken files than this fail the stage."""
    near_duplicate_bits: Annotated[int, Field(ge=0, le=16)]
    """Perceptual hashes (64 bit) at most this far apart are reported as near-duplicates."""

    @model_validator(mode="after")
    def _pattern_compiles(self) -> Self:
        if self.group_pattern is not None:
            try:
                groups = re.compile(self.group_pattern).groups
            except re.error as error:
                raise ValueError(f"group_pattern is not a regular expression ({error})") from error
            if groups < 1:
                raise ValueError("group_pattern needs one (group) that names the person")
        return self

    def input_spec(self) -> InputSpec:
        """The part of the model contract that `prepare` decides."""
        face = self.crop == "face"
        return InputSpec(
            height=self.image_size_px,
            width=self.image_size_px,
            color=self.color,
            crop=self.crop,
            detector=self.detector if face else None,
            margin=self.margin if face else 0.0,
            resize=self.resize,
        )


class ValidateParams(_Block):
    """Thresholds of the Great Expectations suite."""

    labels: list[str] | None
    """The allowed labels; null accepts those that `prepare` found."""
    min_per_class_and_split: Count
    """Fewest images of any class in any split (critical); `prepare` moves people to keep to it."""
    max_class_ratio: Annotated[float, Field(ge=1)]
    """Most frequent ÷ rarest class in the training split (warning)."""
    brightness: tuple[Fraction, Fraction]
    """Accepted mean luminance (warning)."""
    contrast: tuple[Fraction, Fraction]
    """Accepted standard deviation of luminance (warning)."""
    mostly: Fraction
    """Share of rows that must lie inside the brightness and contrast ranges."""
    min_source_px: Count
    """Smallest accepted side of an original (critical)."""
    max_near_duplicate_fraction: Fraction
    """Share of images with a near-duplicate in another split above which a warning is given."""
    max_share_difference: Fraction = 0.1
    """How far a class's share of a split may be from its share of train (warning)."""


class WeightsParams(_Block):
    """Where pretrained weights come from."""

    source: Literal["auto", "drawn", "imagenet", "scratch"]
    """`auto`: folder, cache, download, then `drawn`; `drawn`: pretrained on drawn faces; `imagenet`: folder,
    cache, download, or fail; `scratch`: none."""
    offline: Literal["scratch", "fail"]
    """What `auto` does if no pretrained weights are available."""
    timeout_s: Annotated[float, Field(gt=0, le=60)]
    """For the first connection."""
    face_detector: Literal["yunet", "none"] = "yunet"
    """Whose file is found or downloaded for the service; `none`: Haar's cascade finds its faces."""


class AugmentationParams(_Block):
    """Random changes to training images; never part of the exported graph."""

    flip: bool
    """Mirror left and right, half the time."""
    rotation: Annotated[float, Field(ge=0, le=0.5), Tunable(0, 0.1)]
    """Largest rotation either way, as a fraction of a full turn."""
    zoom: Annotated[float, Field(ge=0, le=0.5), Tunable(0, 0.25)]
    """Largest change of scale either way."""
    shift: Annotated[float, Field(ge=0, le=0.5), Tunable(0, 0.15)]
    """Largest shift either way, as a fraction of the side."""
    erasing: Annotated[float, Field(ge=0, le=1), Tunable(0, 0.5)] = 0.0
    """Share of images with a rectangle of random pixels (Zhong et al., 2020)."""
    mixup: Annotated[float, Field(ge=0, le=10), Tunable(0, 0.4)] = 0.0
    """Parameter of the beta distribution of mixing shares (Zhang et al., 2018); 0 mixes nothing."""
    cutmix: Annotated[float, Field(ge=0, le=10), Tunable(0, 1)] = 0.0
    """The same for pasted rectangles (Yun et al., 2019); with `mixup` each batch takes one of the two."""


class EarlyStopping(_Block):
    """When to stop before the last epoch."""

    monitor: Literal["val_macro_f1", "val_loss"]
    """What must improve."""
    patience: Count
    """Epochs without improvement after which training stops."""


class TrainingParams(_Block):
    """What all architectures share in training."""

    batch_size: Annotated[int, Field(ge=1, le=4096)]
    """Images per step, over all devices."""
    optimizer: Literal["adam", "adamw", "sgd"]
    """Kingma & Ba, 2015; Loshchilov & Hutter, 2019; SGD with Nesterov's momentum (Sutskever et al., 2013)."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of `sgd`."""
    weight_decay: Annotated[float, Field(ge=0, le=1), Tunable(1e-4, 0.1, is_log=True)]
    """Decoupled decay, used by `adamw` and `sgd`."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Per step, of the moving average of weights that is validated and kept; 0 keeps the weights."""
    schedule: Literal["constant", "cosine"]
    """Learning rate over the epochs of a phase."""
    warmup_epochs: Annotated[int, Field(ge=0)]
    """Linear rise from 0 before the schedule."""
    class_weights: bool
    """Weight the loss by inverse class frequency."""
    sampling: Literal["natural", "balanced"] = "natural"
    """`balanced`: every epoch has as many images of each class, those of rare ones repeatedly."""
    logit_adjustment: Annotated[float, Field(ge=0, le=4)] = 0.0
    """Factor of the log class frequencies that the loss adds to the logits (Menon et al., 2021: 1)."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1), Tunable(0, 0.2)]
    """Szegedy et al., 2016."""
    early_stopping: EarlyStopping
    """Best weights are kept either way."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"]
    """Mixed precision pays on GPUs, and bfloat16 on CPUs with AVX512-BF16."""
    cache_mib: Annotated[int, Field(ge=0)]
    """Decoded images up to this size stay in memory, beyond it they are cached on disk."""

    @model_validator(mode="after")
    def _one_correction_of_class_frequencies(self) -> Self:
        used = {
            "class_weights": self.class_weights,
            "sampling: balanced": self.sampling == "balanced",
            "logit_adjustment": self.logit_adjustment > 0,
        }
        if sum(used.values()) > 1:
            names = " and ".join(name for name, is_used in used.items() if is_used)
            raise ValueError(
                f"at most one of class_weights, sampling: balanced, logit_adjustment, not {names}"
            )
        return self


class HeadParams(_Block):
    """The classification head all architectures share."""

    hidden: list[Count]
    """Units of each Dense + ReLU layer; the last one is the embedding."""
    dropout: Annotated[float, Field(ge=0, lt=1), Tunable(0, 0.6)]
    """After each hidden layer."""


class ModelParams(_Block):
    """What one architecture is trained with; pretrained ones train in two phases."""

    epochs: Annotated[int, Field(ge=1, le=1000)]
    """Of the only phase, or of the second (fine-tuning) where weights are pretrained."""
    learning_rate: LearningRate
    """Of the only phase, or of the first (head) where weights are pretrained."""
    head_epochs: Annotated[int, Field(ge=0, le=1000)] = 0
    """First phase of a pretrained network: head only."""
    fine_tune_learning_rate: Rate | None = None
    """Second phase; null is a tenth of `learning_rate`."""
    unfreeze: Annotated[int, Field(ge=0)] = 0
    """Second phase: how many of the backbone's top layers learn too."""
    options: dict[str, Any] = {}
    """The architecture's own settings, checked by its file."""


class ExportParams(_Block):
    """From Keras to ONNX."""

    opset: Annotated[int, Field(ge=17, le=18)]
    """ONNX operator set; 18 is the newest that tf2onnx 1.17 writes."""
    tolerance: Annotated[float, Field(gt=0, le=1e-2)]
    """Largest difference between ONNX Runtime and Keras, any output."""
    flip_average: bool = False
    """Average every picture with its mirror image inside the graph, at twice the cost."""
    novelty: bool = True
    """Compute inside the graph how unlike the training's a picture is: the output `novelty`."""
    coverage: Annotated[float | None, Field(gt=0, lt=1)] = 0.9
    """Share of prediction sets that are to contain the true class; null computes no threshold for them."""


class QuantizationParams(_Block):
    """How one architecture becomes its int8 variant; found by `python -m benchmarks.quantization`."""

    scope: Literal["graph", "products"]
    """`graph`: activations stay in eight bits between layers; `products`: they are float between them."""
    keep_float: list[Literal["first", "stem", "last", "head", "heatmap", "swish", "squeeze"]]
    """What stays in float32 all the same, by the rules of `pipelines/quantize/mixed_precision.py`."""
    per_channel: bool
    """One scale for each output channel of a weight: more exact, slightly slower and larger."""
    ranges: Literal["minmax", "percentile", "entropy"]
    """Which activations int8 covers: all observed, 99.99 % of them, or those with the most information."""
    pictures: Annotated[int, Field(ge=1, le=4096)]
    """Validation pictures that activations are seen on."""

    @model_validator(mode="after")
    def _rules_once(self) -> Self:
        if len(set(self.keep_float)) != len(self.keep_float):
            raise ValueError("keep_float: a rule stands twice")
        return self


class EvaluateParams(_Block):
    """Metrics on the test split."""

    bootstrap_samples: Annotated[int, Field(ge=100)]
    """Resamples (of groups) behind the 95 % intervals."""
    face_detector: Literal["haar", "yunet"]
    """Who finds faces when a model trained on whole pictures is measured on crops."""
    face_margin: Annotated[float, Field(ge=0, le=1)]
    """Around those faces; the service's own default, `MIEN_FACE_MARGIN`."""
    min_group_images: Annotated[int, Field(ge=1)] = 30
    """Test pictures that a value of an attribute (`data/attributes.csv`) needs to be a group of its own."""


class LatencyParams(_Block):
    """One thread, all models in rotation."""

    rounds: Annotated[int, Field(ge=3)]
    """Timed runs of each model and batch size."""


class SelectionParams(_Block):
    """Which model goes to the gate."""

    metric: Literal["macro_f1", "accuracy", "balanced_accuracy"]
    """The highest wins."""
    max_latency_ms: Annotated[float, Field(gt=0)] | None
    """p50 at batch 1; slower ones are passed over."""
    max_size_mb: Annotated[float, Field(gt=0)] | None
    """File size in 10⁶ bytes; larger ones are passed over."""
    variants: Literal["float", "fastest"] = "float"
    """`float`: int8 variants are only compared; `fastest`: the fastest faithful one of the best."""
    max_accuracy_drop: Fraction = 0.005
    """How much test accuracy an int8 variant may lose compared with the float32 model."""
    max_class_drop: Fraction = 0.02
    """What it may lose of the recall of any class."""


class RobustnessParams(_Block):
    """Corrupted test pictures."""

    pictures: Count = 200
    """Test pictures that are corrupted, each in 24 ways; all of them if there are fewer."""


class ExplainParams(_Block):
    """How many faces the panels show."""

    per_panel: Annotated[int, Field(ge=1, le=24)]
    """Columns of each panel."""
    faithfulness_pictures: Annotated[int, Field(ge=0, le=1000)] = 40
    """Test pictures on which insertion and deletion are measured, each with 44 predictions; 0: none."""


class GateParams(_Block):
    """What a model must reach to be registered; at least one threshold is needed."""

    min_accuracy: Fraction | None
    min_macro_f1: Fraction | None
    min_class_recall: Fraction | None
    min_slice_accuracy: Fraction | None = None
    """In every slice of the test images by brightness, contrast, sharpness, colour and face size."""
    min_corrupted_accuracy: Fraction | None = None
    """Mean accuracy over all corruptions and severities of the stage `robustness`."""
    max_accuracy_drop: Fraction | None
    """Margin against production, on the same test images; the 95 % interval of the drop must be below it."""
    max_macro_f1_drop: Fraction | None
    """Margin against production."""
    max_class_recall_drop: Fraction | None
    """Margin against production, for every class."""
    max_slice_accuracy_drop: Fraction | None = None
    """Margin against production, for every slice."""
    max_corrupted_accuracy_drop: Fraction | None = None
    """Margin against production, on the same corrupted images."""
    max_attribute_gap: Fraction | None = None
    """Largest difference of accuracy between two groups of any column of `data/attributes.csv`."""
    max_ece: Fraction | None = None
    """Expected calibration error."""
    max_brier: Annotated[float, Field(ge=0, le=2)] | None = None
    """Brier score, summed over the classes."""
    max_latency_ms: Annotated[float, Field(gt=0)] | None
    """p50 at batch 1, one thread."""
    max_size_mb: Annotated[float, Field(gt=0)] | None
    """10⁶ bytes."""
    floors: Literal["point", "bound"] = "point"
    """What must keep to `min_…`, `max_attribute_gap`, `max_ece`, `max_brier`: the value, or the worse end of
    its 95 % interval."""
    on_unclear: Literal["pass", "fail", "hold"] = "hold"
    """What to do if the test images show neither that a drop is within its margin nor that it is larger;
    `hold`: register the model without an alias."""
    slice_images: Count = 50
    """Slices with fewer test images are not judged."""
    bootstrap_samples: Annotated[int, Field(ge=1000)] = 4000
    """Resamples (of groups) behind the gate's intervals; at least 40 for each compared metric, class and
    slice, since Holm's smallest level is 0.025 ÷ their number."""

    @property
    def thresholds(self) -> dict[str, float | None]:
        """Values of `min_…` and `max_…`, each of which is one kind of check."""
        return {name: value for name, value in self.model_dump().items() if name.startswith(("min_", "max_"))}


class RegisterParams(_Block):
    """Where the model goes."""

    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    """Name in the MLflow registry."""
    experiment: Annotated[str, Field(min_length=1)]
    """MLflow experiment of the runs."""


class Params(_Block):
    """All of `params.yaml`."""

    seed: Annotated[int, Field(ge=0, lt=2**31)]
    """Splits, initial weights, shuffling, augmentation and bootstrap start from it."""
    architectures: Annotated[list[str], Field(min_length=1)]
    """What is trained, evaluated and compared."""
    prepare: PrepareParams
    validate_: ValidateParams = Field(alias="validate")
    weights: WeightsParams
    augmentation: AugmentationParams
    training: TrainingParams
    head: HeadParams
    models: dict[str, ModelParams]
    export: ExportParams
    quantization: dict[str, QuantizationParams]
    evaluate: EvaluateParams
    latency: LatencyParams
    selection: SelectionParams
    robustness: RobustnessParams = RobustnessParams()
    explain: ExplainParams
    gate: GateParams
    register_: RegisterParams = Field(alias="register")

    @model_validator(mode="after")
    def _architectures_have_settings(self) -> Self:
        if len(set(self.architectures)) != len(self.architectures):
            raise ParamsError(key="architectures", got=self.architectures, expected="each name once")
        for name in self.architectures:
            check_architecture(name)
            for block, given in (("models", self.models), ("quantization", self.quantization)):
                if name not in given:
                    expected = "a block of settings, for `architectures` lists it"
                    raise ParamsError(key=f"{block}.{name}", got=None, expected=expected)
        return self

    def model(self, architecture: str) -> ModelParams:
        """Settings of one architecture.

        Raises:
            ParamsError: there are none.
        """
        try:
            return self.models[architecture]
        except KeyError:
            raise ParamsError(
                key=f"models.{architecture}", got=None, expected="a block of settings"
            ) from None

    def quantization_of(self, architecture: str) -> QuantizationParams:
        """How one architecture is quantised.

        Raises:
            ParamsError: it is not given.
        """
        try:
            return self.quantization[architecture]
        except KeyError:
            raise ParamsError(
                key=f"quantization.{architecture}", got=None, expected="a block of settings"
            ) from None


def known_architectures() -> tuple[str, ...]:
    """Names of the architectures there is a file for, sorted; imports none of them."""
    return tuple(sorted(path.stem for path in _ARCHITECTURES.glob("*.py") if not path.stem.startswith("_")))


def check_architecture(name: str) -> str:
    """Return `name` if there is a file for it.

    Raises:
        UnknownArchitecture: there is none.
    """
    if name not in known_architectures():
        raise UnknownArchitecture(name=name, known=known_architectures())
    return name


def load_params(path: Path = PARAMS) -> Params:
    """Read and check all parameters.

    Raises:
        ParamsError: unreadable, an unknown key, a wrong type or a value out of range.
        UnknownArchitecture: `architectures` names an architecture without a file.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise ParamsError(key="(file)", got=reason, expected="readable YAML") from error
    return parse_params(data)


def _expected(message: str) -> str:
    """Pydantic's sentence without what stands before what it wants."""
    for start in ("Value error, ", "Input should be "):
        message = message.removeprefix(start)
    return f"{message[0].lower()}{message[1:]}"


def parse_params(data: object) -> Params:
    """Check parameters that were already read; see `load_params`."""
    try:
        params = Params.model_validate(data, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        raise ParamsError(
            key=".".join(str(part) for part in first["loc"]) or "(all)",
            got=first["input"] if not isinstance(first["input"], dict) else "…",
            expected=_expected(first["msg"]),
        ) from error
    for name in (*params.models, *params.quantization):
        check_architecture(name)
    return params
