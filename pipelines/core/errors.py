"""Errors of the `pipelines` package.

    PipelineError
    ├── SampleError              invalid option of the sample dataset generator
    ├── ParamsError              params.yaml: unknown key, wrong type, out of range
    ├── UnknownProfile           conf/ has no file with this name
    ├── UnknownArchitecture      pipelines/architectures/ has no file with this name
    ├── DataError                the images, or the manifest made from them
    │   ├── NoImages             nothing to prepare
    │   ├── SplitsUnclear        ambiguous names of splits
    │   ├── ClassNameInvalid     a class name that is not allowed
    │   ├── TooManyUnreadable    more broken files than allowed
    │   ├── ClassMissing         only one class, or a class without pictures in a split
    │   ├── PrivateData          private pictures are, or would be, published through git
    │   └── ManifestCorrupt      manifest.parquet is missing, truncated or has another schema
    ├── ValidationFailed         a critical expectation failed
    ├── StageRunning             another process runs the stage
    ├── WeightsUnavailable       pretrained weights are required but not available
    ├── TrainingFailed           loss diverged, or a checkpoint does not fit
    ├── ExportFailed             the ONNX file is invalid or differs from Keras
    ├── QuantizationFailed       the int8 file is invalid, or predicts the same for all pictures
    ├── ExplanationFailed        heatmaps of the ONNX file differ from those of Keras
    ├── ModelFileError           an ONNX file that is truncated, foreign or without a contract
    ├── ResultCorrupt            the result of another stage is missing, truncated or incomplete
    ├── SelectionError           no model is within the limits of `selection`
    ├── GateError                thresholds are missing, or inputs contradict each other
    ├── RegistryError            MLflow is unreachable, locked or misconfigured
    ├── SigningError             a version cannot be signed
    ├── NotReproducible          a registered version cannot be rebuilt, or the rebuilt one differs
    ├── GateRejected             the selected model did not pass the quality gate
    └── OutputError              a result cannot be written (disk full, no permission)

Every message is one line: the actual value, the expected value, the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serving.urls import mask_urls


class PipelineError(Exception):
    """Root of all expected errors of this package; stages print the message and exit with 1, or with 75."""


class SampleError(PipelineError):
    """An option of the sample dataset generator is invalid."""

    def __init__(self, *, option: str, got: str, expected: str) -> None:
        self.option = option
        self.got = got
        super().__init__(
            f"{option}: got {got}, expected {expected}; correct it (see `python -m sample_faces --help`)"
        )


class OptionError(PipelineError):
    """An option of a command is invalid."""

    def __init__(self, *, option: str, got: object, expected: str) -> None:
        self.option = option
        self.got = got
        super().__init__(f"{option}: got {got}, expected {expected}; correct it (see --help)")


class StageRunning(PipelineError):
    """Another process runs the same stage of the same project."""

    def __init__(self, *, stage: str, pid: str) -> None:
        self.stage = stage
        self.pid = pid
        super().__init__(
            f"{stage} is already running as process {pid} (killing `dvc repro` leaves its stage running); "
            f"wait for it or stop it (`kill {pid}`), then run `dvc repro` again"
        )


class ParamsError(PipelineError):
    """A value of `params.yaml` is unknown, of the wrong type or out of range."""

    def __init__(self, *, key: str, got: object, expected: str) -> None:
        self.key = key
        self.got = got
        self.expected = expected
        super().__init__(f"params.yaml: {key}: got {got!r}, expected {expected}; edit params.yaml")


class UnknownProfile(PipelineError):
    """`conf/` has no file with this name."""

    def __init__(self, *, name: str, known: Sequence[str]) -> None:
        self.name = name
        self.known = tuple(known)
        super().__init__(
            f"profile {name!r} is unknown, expected one of {', '.join(known)}; "
            f"use one of them or add conf/{name}.yaml"
        )


class UnknownArchitecture(PipelineError):
    """`pipelines/architectures/` has no file with this name."""

    def __init__(self, *, name: str, known: Sequence[str]) -> None:
        self.name = name
        self.known = tuple(known)
        super().__init__(
            f"architecture {name!r} is unknown, expected one of {', '.join(known)}; "
            "correct `architectures` in params.yaml or add pipelines/architectures/"
            f"{name}.py"
        )


class DataError(PipelineError):
    """The pictures, or the files made from them, cannot be used."""


class NoImages(DataError):
    """The data folder contains no pictures."""

    def __init__(self, *, folder: Path, expected: str) -> None:
        self.folder = folder
        super().__init__(
            f"{folder}: no images found, expected {expected}; put images there or run `dvc pull data.dvc`"
        )


class SplitsUnclear(DataError):
    """Folders or rows are named after splits, but the names are ambiguous."""

    def __init__(self, *, where: str, got: str, expected: str) -> None:
        self.where = where
        super().__init__(f"{where}: has {got}, expected {expected}; rename or move them")


class ClassNameInvalid(DataError):
    """A class has a name that models cannot store, or that is easily confused with another name."""

    def __init__(self, *, name: str, folder: str, reason: str) -> None:
        self.name = name
        super().__init__(f"{folder!r}: {name!r} is not a valid class name: {reason}; rename the folder")


class TooManyUnreadable(DataError):
    """More files are broken than `prepare.max_unreadable_fraction` allows."""

    def __init__(self, *, count: int, total: int, allowed: float, first: Sequence[str]) -> None:
        self.count = count
        self.total = total
        self.first = tuple(first)
        super().__init__(
            f"{count} of {total} files cannot be read, at most {allowed:.2%} are allowed "
            f"(prepare.max_unreadable_fraction); the first: {', '.join(first)}; "
            "expected JPEG, PNG, WebP or BMP files: convert or remove the others"
        )


class ClassMissing(DataError):
    """There is only one class, or a class has no picture in a split."""

    def __init__(self, *, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")


class PrivateData(DataError):
    """Pictures other than the sample's are stored, or would be pushed, where git publishes them."""

    def __init__(self, *, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")


class ManifestCorrupt(DataError):
    """The manifest is missing, truncated or has another schema."""

    def __init__(self, *, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(
            f"{path}: {reason}, expected the table that `prepare` writes; "
            "run `dvc repro --force --single-item prepare`"
        )


class ValidationFailed(PipelineError):
    """One or more critical expectations about the data failed."""

    def __init__(self, *, failures: Sequence[str], report: Path) -> None:
        self.failures = tuple(failures)
        super().__init__(
            f"{len(failures)} critical expectation(s) failed: {'; '.join(failures)} "
            f"(details: {report}); correct the data or the thresholds under `validate` in params.yaml"
        )


class WeightsUnavailable(PipelineError):
    """Pretrained weights are required but not available."""

    def __init__(self, *, architecture: str, wanted: str, reason: str) -> None:
        self.architecture = architecture
        super().__init__(
            f"pretrained weights for {architecture} ({wanted}) are not available: {reason}; "
            "put the file into MIEN_WEIGHTS_DIR, connect to a network, "
            "or set weights.offline to scratch"
        )


class TrainingFailed(PipelineError):
    """Training cannot continue."""

    def __init__(self, *, architecture: str, reason: str, remedy: str) -> None:
        self.architecture = architecture
        super().__init__(f"training {architecture}: {reason}; {remedy}")


class ExportFailed(PipelineError):
    """The exported graph is invalid, or its outputs differ from those of the Keras model."""

    def __init__(self, *, architecture: str, reason: str, remedy: str) -> None:
        self.architecture = architecture
        super().__init__(f"exporting {architecture}: {reason}; {remedy}")


class QuantizationFailed(PipelineError):
    """The int8 graph is invalid, or gives the same output for different pictures."""

    def __init__(self, *, architecture: str, reason: str, remedy: str) -> None:
        self.architecture = architecture
        super().__init__(f"quantising {architecture}: {reason}; {remedy}")


class ExplanationFailed(PipelineError):
    """The heatmaps of the ONNX file differ from those that Keras computes."""

    def __init__(self, *, architecture: str, got: str, expected: str) -> None:
        self.architecture = architecture
        super().__init__(
            f"explaining {architecture}: {got}, expected {expected}; export the model again with "
            f"`dvc repro --force --single-item export@{architecture}`"
        )


class ModelFileError(PipelineError):
    """An ONNX file that is truncated, foreign or without a valid contract."""

    def __init__(self, *, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(
            f"{path}: {reason}, expected an ONNX file made by this pipeline; "
            "run `dvc repro` to export it again"
        )


class ResultCorrupt(PipelineError):
    """A result of another stage is missing, truncated or incomplete."""

    def __init__(self, *, path: Path, reason: str, stage: str) -> None:
        self.path = path
        self.stage = stage
        super().__init__(
            f"{path}: {reason}, expected the output of `{stage}`; "
            f"run `dvc repro --force --single-item {stage}`"
        )


class SelectionError(PipelineError):
    """No model is within the limits of `selection`."""

    def __init__(self, *, limits: str, nearest: str, reason: str) -> None:
        self.nearest = nearest
        super().__init__(
            f"no architecture is within {limits}; the closest one is {nearest} ({reason}); "
            "raise `selection.max_latency_ms` or `selection.max_size_mb` in params.yaml"
        )


class GateError(PipelineError):
    """The gate cannot evaluate: thresholds are missing or its inputs contradict each other."""

    def __init__(self, *, reason: str, remedy: str) -> None:
        super().__init__(f"gate: {reason}; {remedy}")


class RegistryError(PipelineError):
    """MLflow is unreachable, locked or misconfigured."""

    def __init__(self, *, uri: str, reason: str, remedy: str) -> None:
        self.uri = uri
        super().__init__(mask_urls(f"MLflow at {uri}: {reason}; {remedy}"))


class SigningError(PipelineError):
    """A version cannot be signed: the private key or a package is missing, or it is signed by another key."""

    def __init__(self, *, reason: str, remedy: str) -> None:
        super().__init__(f"signing: {reason}; {remedy}")


class NotReproducible(PipelineError):
    """A registered version cannot be rebuilt from its commit, or the rebuilt one differs."""

    def __init__(self, *, version: int | None, reason: str, remedy: str) -> None:
        self.version = version
        what = "rebuilding" if version is None else f"version {version}"
        super().__init__(f"{what}: {reason}; {remedy}")


class GateRejected(PipelineError):
    """The selected model did not pass the quality gate."""

    def __init__(self, *, architecture: str, reasons: Sequence[str]) -> None:
        self.architecture = architecture
        self.reasons = tuple(reasons)
        super().__init__(
            f"{architecture} did not pass the quality gate and was not registered: {'; '.join(reasons)} "
            "(details: reports/gate.json)"
        )


class OutputError(PipelineError):
    """A result cannot be written."""

    def __init__(self, *, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(
            f"{path}: cannot be written ({reason}), the old file was kept; "
            "free space or correct the permissions, then run `dvc repro` again"
        )
