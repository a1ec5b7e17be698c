"""One exported model in ONNX Runtime, held to its contract: what the service runs and the pipeline evaluates.

    classifier = OnnxClassifier.open(Path("onnx/lenet/model.onnx"), threads=2)
    prediction = classifier.predict(batch)

The pipeline imports this too, so that a model is judged by the very code that will serve it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.contract import (
    IMAGE,
    METADATA_KEY,
    OUTPUTS,
    ContractError,
    Image,
    ModelContract,
    TensorInfo,
    check_signature,
)
from serving.errors import ModelFileError

# ONNX Runtime keeps memory for every batch size it has seen and plans anew for each: a handful of sizes,
# the rest padded up to the next one.
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
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
        return joined(parts or [self._run(batch)])

    def _run(self, batch: Image) -> Prediction:
        count = len(batch)
        size = next(size for size in BATCH_SIZES if size >= count)
        if size > count:
            batch = np.concatenate([batch, np.zeros((size - count, *batch.shape[1:]), np.uint8)])
        outputs = self._session.run(OUTPUTS, {IMAGE: batch})
        return Prediction(**{name: array[:count] for name, array in zip(OUTPUTS, outputs, strict=True)})


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


def joined(parts: Sequence[Prediction]) -> Prediction:
    """Answers to several batches as answers to one, in order; at least one part."""
    if len(parts) == 1:
        return parts[0]
    return Prediction(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in OUTPUTS})
