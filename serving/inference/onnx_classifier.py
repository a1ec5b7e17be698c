"""An exported model in ONNX Runtime, checked against its contract; used by the service and the pipeline.

    classifier = OnnxClassifier.open(Path("onnx/lenet/model.onnx"), threads=2)
    prediction = classifier.predict(batch)

The pipeline evaluates a model with the code that serves it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.contract import (
    IMAGE,
    METADATA_KEY,
    ContractError,
    Image,
    ModelContract,
    TensorInfo,
    check_signature,
)
from serving.errors import ModelFileError, ModelTimeout
from serving.inference.sessions import load_problem, open_session
from serving.inference.watchdog import WATCHDOG

# ONNX Runtime keeps memory for every batch size it has seen and a new plan for each. So batches have one
# of a few sizes and are padded to the next one.
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
_NUMPY_NAMES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Outputs of a model for n pictures."""

    probabilities: NDArray[np.float32]
    """[n, classes], rows sum to 1; calibrated."""
    heatmap: NDArray[np.float32]
    """[n, h, w] in [0, 1], for the most probable class."""
    embedding: NDArray[np.float32]
    """[n, D], the head's penultimate features."""
    novelty: NDArray[np.float32] | None = None
    """[n], the larger the less a picture is like those of the training; None if the model does not say."""

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The model's outputs by name, in the order of `ModelContract.outputs`."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: array for name, array in found.items() if array is not None}

    def part(self, rows: slice) -> Prediction:
        """Return the outputs for some of the pictures."""
        return Prediction(**{name: array[rows] for name, array in self.arrays().items()})


class OnnxClassifier:
    """An exported model whose contract and tensors were checked; safe to call from several threads."""

    def __init__(
        self,
        session: Any,
        contract: ModelContract,
        *,
        sha256: str,
        size_bytes: int,
        limit_s: float | None = None,
    ) -> None:
        self._session = session
        self._limit_s = limit_s
        self.contract = contract
        self._outputs = contract.outputs
        self.sha256 = sha256
        """Of the file, hexadecimal."""
        self.size_bytes = size_bytes
        """Of the file."""
        self.timed_out: ModelTimeout | None = None
        """Set when a run took too long; every later call raises this error."""

    @classmethod
    def open(cls, path: Path, *, threads: int = 1, limit_s: float | None = None) -> OnnxClassifier:
        """Load a model file.

        Args:
            path: path of the ONNX file.
            threads: number of threads of one run; ONNX Runtime's default is the number of the host's cores.
            limit_s: maximum time to load it, and of each run, seconds; None: unlimited.

        Raises:
            ModelFileError: absent, truncated, not ONNX, with external data, or contract and tensors differ.
            ModelTimeout: it was not loaded in time.
        """
        try:
            # Hash and session come from the same bytes: a file replaced in between cannot part them.
            data = path.read_bytes()
        except OSError as error:
            raise ModelFileError(path=path, reason=error.strerror or str(error)) from error
        try:
            session = open_session(data, threads=threads, limit_s=limit_s)
        except ModelTimeout:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no other base
            raise ModelFileError(path=path, reason=load_problem(error)) from error
        try:
            contract = _checked_contract(path, session)
        except ContractError as error:
            raise ModelFileError(path=path, reason=error.reason) from error
        digest = hashlib.sha256(data).hexdigest()
        return cls(session, contract, sha256=digest, size_bytes=len(data), limit_s=limit_s)

    def predict(self, batch: Image, *, limit_s: float | None = None) -> Prediction:
        """Run the model on preprocessed pictures.

        Args:
            batch: uint8 [n, H, W, 3], RGB, of the contract's size; n may be 0 or large.
            limit_s: maximum time of each run, seconds; None: as given to `open`.

        Raises:
            ModelTimeout: a run took longer, this one or an earlier one.
        """
        limit_s = limit_s or self._limit_s
        largest = BATCH_SIZES[-1]
        parts = [
            self._run(batch[start : start + largest], limit_s) for start in range(0, len(batch), largest)
        ]
        return join_predictions(parts or [self._run(batch, limit_s)])

    def _run(self, batch: Image, limit_s: float | None) -> Prediction:
        count = len(batch)
        size = next(size for size in BATCH_SIZES if size >= count)
        if size > count:
            batch = np.concatenate([batch, np.zeros((size - count, *batch.shape[1:]), np.uint8)])
        if limit_s is None:
            outputs = self._session.run(self._outputs, {IMAGE: batch})
        else:
            outputs = self._run_watched(batch, limit_s)
        return Prediction(**{name: array[:count] for name, array in zip(self._outputs, outputs, strict=True)})

    def _run_watched(self, batch: Image, limit_s: float) -> Any:
        from onnxruntime import RunOptions

        if self.timed_out is not None:
            raise ModelTimeout(what=self.timed_out.what, limit_s=self.timed_out.limit_s)
        options = RunOptions()
        watch = WATCHDOG.begin(limit_s=limit_s, cancel=partial(self._stop, options, len(batch), limit_s))
        try:
            return self._session.run(self._outputs, {IMAGE: batch}, options)
        except Exception as error:  # ONNX Runtime's exceptions share no other base
            if watch.expired and self.timed_out is not None:
                raise ModelTimeout(what=self.timed_out.what, limit_s=limit_s) from error
            raise
        finally:
            WATCHDOG.end(watch)

    def _stop(self, options: Any, pictures: int, limit_s: float) -> None:
        self.timed_out = ModelTimeout(
            what=f"it did not answer a batch of {pictures} pictures", limit_s=limit_s
        )
        options.terminate = True


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


def join_predictions(parts: Sequence[Prediction]) -> Prediction:
    """Concatenate the outputs of one or more batches."""
    if len(parts) == 1:
        return parts[0]
    names = parts[0].arrays()
    return Prediction(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
