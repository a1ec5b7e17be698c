"""Running an exported model on original pictures, exactly as the service will: ONNX Runtime, no TensorFlow.

    classifier = OnnxClassifier.open(Path("onnx/lenet/model.onnx"), threads=2)
    prediction = predict_sources(classifier, ["data/happy/id001_0.jpg"], Path())

Preprocessing follows the contract inside the model file, so two models may want different sizes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import DataError, ModelFileError
from pipelines.sources import read_image
from serving.contract import (
    IMAGE,
    METADATA_KEY,
    OUTPUTS,
    ContractError,
    FaceDetectorError,
    Image,
    ImageError,
    InputSpec,
    ModelContract,
    TensorInfo,
    check_signature,
    preprocess,
)
from serving.contract.faces import FaceDetector, find_detector, largest_face

# ONNX Runtime keeps memory for every batch size it has seen and plans anew for each: a handful of sizes,
# the rest padded up to the next one.
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
FACE_MODEL_VARIABLE = "MIEN_FACE_MODEL"
"""Environment variable that names the model file of the `yunet` detector."""
_NUMPY_NAMES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model answers to n pictures."""

    probabilities: NDArray[np.float32]
    """[n, classes], rows sum to 1; calibrated."""
    heatmap: NDArray[np.float32]
    """[n, h, w] in [0, 1], for the most probable class."""
    embedding: NDArray[np.float32]
    """[n, D], the head's penultimate features."""


class OnnxClassifier:
    """An exported model whose contract and tensors were checked; safe to call from several threads."""

    def __init__(self, session: Any, contract: ModelContract, *, sha256: str, size_bytes: int) -> None:
        self._session = session
        self.contract = contract
        self.sha256 = sha256
        """Of the file, hexadecimal."""
        self.size_bytes = size_bytes
        """Of the file."""

    @classmethod
    def open(cls, path: Path, *, threads: int = 1) -> OnnxClassifier:
        """Load a model file.

        Args:
            path: of the ONNX file.
            threads: that one call may use; never left to ONNX Runtime, which counts the host's cores.

        Raises:
            ModelFileError: absent, truncated, not ONNX, or contract and tensors do not fit.
        """
        try:
            # Hash and session come from the same bytes: a file replaced in between cannot part them.
            data = path.read_bytes()
        except OSError as error:
            raise ModelFileError(path=path, reason=error.strerror or str(error)) from error
        session = _session(path, data, threads)
        try:
            contract = _checked_contract(path, session)
        except ContractError as error:
            reason = str(error).removesuffix("; export the model again")
            raise ModelFileError(path=path, reason=reason) from error
        return cls(session, contract, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))

    def predict(self, batch: Image) -> Prediction:
        """Answer to preprocessed pictures.

        Args:
            batch: uint8 [n, H, W, 3], RGB, of the contract's size; n may be 0 or large.
        """
        largest = BATCH_SIZES[-1]
        parts = [self._run(batch[start : start + largest]) for start in range(0, len(batch), largest)]
        return _joined(parts or [self._run(batch)])

    def _run(self, batch: Image) -> Prediction:
        count = len(batch)
        size = next(size for size in BATCH_SIZES if size >= count)
        if size > count:
            batch = np.concatenate([batch, np.zeros((size - count, *batch.shape[1:]), np.uint8)])
        outputs = self._session.run(OUTPUTS, {IMAGE: batch})
        return Prediction(**{name: array[:count] for name, array in zip(OUTPUTS, outputs, strict=True)})


def predict_sources(
    classifier: OnnxClassifier, locators: Sequence[str], root: Path, *, workers: int | None = None
) -> Prediction:
    """Read original pictures, preprocess them with the model's own contract and predict.

    Args:
        classifier: the model.
        locators: the manifest's `source` column.
        root: folder that the locators are relative to.
        workers: reading threads; without it one per usable core.

    Returns:
        Answers in the order of `locators`.

    Raises:
        DataError: an original is gone, or has changed so that it cannot be read.
    """
    return _joined(list(predict_batches(classifier, locators, root, workers=workers)))


def predict_batches(
    classifier: OnnxClassifier, locators: Sequence[str], root: Path, *, workers: int | None = None
) -> Iterator[Prediction]:
    """As `predict_sources`, batch by batch, at least one: for who does not keep every embedding.

    Pictures are read in threads, one batch ahead of the model, so memory does not grow with their number.
    """
    spec = classifier.contract.input
    if not locators:
        yield classifier.predict(np.empty((0, spec.height, spec.width, 3), np.uint8))
    else:
        batches = read_batches(locators, root, classifier.contract, workers=workers or usable_cores())
        yield from map(classifier.predict, batches)


def read_batches(
    locators: Sequence[str],
    root: Path,
    contract: ModelContract,
    *,
    workers: int,
    size: int = BATCH_SIZES[-1],
) -> Iterator[Image]:
    """Preprocessed pictures in order, uint8 [≤ size, H, W, 3] each; the next batch is read meanwhile."""
    read = InputReader(root, contract.input)
    with ThreadPoolExecutor(workers) as pool:

        def submit(start: int) -> list[Future[Image]]:
            return [pool.submit(read, locator) for locator in locators[start : start + size]]

        waiting = submit(0)
        for start in range(size, len(locators) + size, size):
            batch, waiting = waiting, submit(start)
            yield np.stack([future.result() for future in batch])


class InputReader:
    """Reads originals as one model wants them; may be called from several threads."""

    def __init__(self, root: Path, spec: InputSpec) -> None:
        """Locators are relative to `root`; `spec` is the model's.

        Raises:
            DataError: `spec` wants a face detector that is not to be had.
        """
        self._root = root
        self._spec = spec
        self._detector: FaceDetector | None = None
        if spec.crop == "face":
            model = os.environ.get(FACE_MODEL_VARIABLE)
            try:
                self._detector = find_detector(spec.detector or "", Path(model) if model else None)
            except FaceDetectorError as error:
                raise DataError(str(error)) from error

    def __call__(self, locator: str) -> Image:
        """One network input, uint8 [H, W, 3].

        Where the contract crops to the face and there is none, the whole picture is taken: `prepare` set such
        pictures aside, so this concerns only a model with another crop rule than the data's.

        Raises:
            DataError: the original is gone, or has changed so that it cannot be read.
        """
        try:
            image = read_image(locator, self._root)
        except (OSError, ImageError, IndexError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            raise DataError(
                f"{locator}: {reason}, expected the picture that `prepare` read; "
                "restore it with `dvc checkout data.dvc`, or run `dvc repro`"
            ) from error
        face = largest_face(self._detector, image) if self._detector else None
        return preprocess(image, self._spec, face=face)


def usable_cores() -> int:
    """Cores that this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _session(path: Path, data: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the cores from those that decode pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no other base
        reason = str(error).splitlines()[0].removeprefix("[ONNXRuntimeError] : ")
        raise ModelFileError(path=path, reason=f"not a readable ONNX file ({reason})") from error


def _checked_contract(path: Path, session: Any) -> ModelContract:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ModelFileError(path=path, reason=f"no contract in its metadata (key {METADATA_KEY!r})")
    contract = ModelContract.from_json(text)
    check_signature(
        contract,
        inputs=[_tensor(tensor) for tensor in session.get_inputs()],
        outputs=[_tensor(tensor) for tensor in session.get_outputs()],
    )
    return contract


def _tensor(tensor: Any) -> TensorInfo:
    return TensorInfo(
        name=tensor.name, dtype=_NUMPY_NAMES.get(tensor.type, tensor.type), shape=tuple(tensor.shape)
    )


def _joined(parts: Sequence[Prediction]) -> Prediction:
    if len(parts) == 1:
        return parts[0]
    return Prediction(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in OUTPUTS})
