"""The folder that is registered: the ONNX file byte for byte, and beside it all that explains it.

MLmodel, model.onnx, input_example.json, requirements.txt, …    MLflow's ONNX flavor
card.md             what the model is for and on what it was measured
reference.parquet   what it says of held-out pictures: what drift is measured against
selftest.npz        a few inputs with their answers: does a fetched copy answer alike?
metrics.json        every test metric
comparison.json     the table it was chosen from
"""

from __future__ import annotations

import logging
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.tracking.registry import MODEL_FILE
from serving.contract.arrays import Image
from serving.contract.model import EMBEDDING, HEATMAP, IMAGE, PROBABILITIES, ModelContract

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

CARD = "card.md"
REFERENCE = "reference.parquet"
SELF_TEST = "selftest.npz"
METRICS = "metrics.json"
COMPARISON = "comparison.json"

# Explicit: left alone, MLflow looks for a uv project and writes its whole lock into the model.
_REQUIREMENTS = ("mlflow", "numpy", "onnx", "onnxruntime")


def write_package(
    folder: Path,
    *,
    onnx: Path,
    contract: ModelContract,
    embedding: int,
    example: Image,
    extras: Path,
    logged: LoggedModel,
) -> None:
    """Write the folder of one model.

    Args:
        folder: to be made.
        onnx: the exported file.
        contract: the one inside it.
        embedding: its length.
        example: uint8 [1, H, W, 3].
        extras: folder whose files are laid beside the model.
        logged: MLflow's entry that the folder will be stored under.
    """
    import mlflow.onnx
    import onnx as onnx_format
    from mlflow.models import Model

    # In an environment made by uv there is no pip, which MLflow warns of; the requirements are given anyway.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    mlflow.onnx.save_model(
        onnx_format.load(str(onnx)),
        str(folder),
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            run_id=logged.source_run_id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
        ),
        signature=_signature(contract, embedding),
        input_example=example,
        pip_requirements=[f"{name}=={version(name)}" for name in _REQUIREMENTS],
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
    )
    # MLflow serialises the graph anew, which need not give the same bytes: the registered file is the
    # exported one, so that its sha256 tells which it is.
    shutil.copyfile(onnx, folder / MODEL_FILE)
    for path in sorted(extras.iterdir()):
        shutil.copyfile(path, folder / path.name)


def _signature(contract: ModelContract, embedding: int) -> ModelSignature:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    spec = contract.input

    def tensor(name: str, dtype: Any, *shape: int) -> TensorSpec:
        return TensorSpec(np.dtype(dtype), (-1, *shape), name)

    outputs: list[ColSpec | TensorSpec] = [
        tensor(PROBABILITIES, np.float32, len(contract.classes)),
        tensor(HEATMAP, np.float32, -1, -1),
        tensor(EMBEDDING, np.float32, embedding),
    ]
    inputs: list[ColSpec | TensorSpec] = [tensor(IMAGE, np.uint8, spec.height, spec.width, 3)]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))
