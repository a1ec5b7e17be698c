"""Write the folder that is registered: the unchanged ONNX file and its documentation.

MLmodel, model.onnx, input_example.json, requirements.txt, …    MLflow's ONNX flavor
card.md             model card: intended use and metrics
reference.parquet   predictions for held-out pictures: the reference for drift
selftest.npz        sample inputs and outputs, to verify a downloaded copy
metrics.json        every test metric
comparison.json     comparison table in which the model was selected
face_detection_…    YuNet's file and licence, if the stage `weights` found it, for the service
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
from serving.contract.model import EMBEDDING, HEATMAP, IMAGE, NOVELTY, PROBABILITIES, ModelContract

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.models import ModelSignature

CARD = "card.md"
REFERENCE = "reference.parquet"
SELF_TEST = "selftest.npz"
METRICS = "metrics.json"
COMPARISON = "comparison.json"

# Explicit, because otherwise MLflow looks for a uv project and writes its complete lock into the model.
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
        folder: folder to create.
        onnx: the exported file.
        contract: contract of the file.
        embedding: length of the embedding.
        example: uint8 [1, H, W, 3].
        extras: folder whose files are copied into `folder`.
        logged: MLflow's logged model that the folder will be stored for.
    """
    import mlflow.onnx
    import onnx as onnx_format
    from mlflow.models import Model

    # MLflow warns if pip is missing, as in environments made by uv; the requirements are given explicitly.
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
    # MLflow serialises the graph again, which may give different bytes. Register the exported file itself,
    # so that its sha256 identifies it.
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
    if contract.novelty is not None:
        outputs.append(tensor(NOVELTY, np.float32))
    inputs: list[ColSpec | TensorSpec] = [tensor(IMAGE, np.uint8, spec.height, spec.width, 3)]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))
