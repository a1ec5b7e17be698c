"""Turn one trained network into an ONNX file that carries its contract.

    python -m pipelines.export ARCHITECTURE

Reads `models/ARCHITECTURE/` and the prepared pictures, writes `onnx/ARCHITECTURE/`.
docs/benchmarks.md has its duration; half of it is the start of TensorFlow. The printed difference between
ONNX Runtime and Keras is about 1e-6; above `export.tolerance` the stage fails.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.core import paths
from pipelines.core.errors import ExportFailed
from pipelines.core.io import replacing_folder
from pipelines.core.model_results import Export, TrainingRecord, read_training_record
from pipelines.core.params import ExportParams, check_architecture, load_params
from pipelines.core.records import write_record
from pipelines.export.comparison import compare
from pipelines.export.conformal import fit_sets
from pipelines.export.conversion import to_onnx
from pipelines.export.inference import (
    Calibration,
    Logits,
    fit_temperature,
    inference_function,
    keras_logits,
    probabilities_of,
)
from pipelines.export.novelty import (
    CALIBRATED,
    REFERENCE_PICTURES,
    NoveltyReference,
    fit_reference,
    with_novelty,
)
from pipelines.export.parity import tensors
from pipelines.export.pictures import BATCH, in_batches, read_pictures, read_split
from pipelines.model.keras_classifier import Classifier
from pipelines.model.tensorflow_runtime import load_tensorflow
from pipelines.model.trained import trained_classifier
from serving.contract.model import EMBEDDING, IMAGE, ModelContract, check_signature
from serving.cores import usable_cores
from serving.errors import ContractError
from serving.inference.sessions import open_session


def main() -> None:
    """Export the architecture that the command line names."""
    parser = argparse.ArgumentParser(description="Turn one trained network into an ONNX file.")
    parser.add_argument("architecture", help="one that `train` has finished")
    name = check_architecture(parser.parse_args().architecture)
    params = load_params().export
    load_tensorflow(gpu=False)
    written = export_model(
        record=paths.training_record(name),
        weights=paths.trained_weights(name),
        manifest=paths.MANIFEST,
        folder=paths.onnx_model(name).parent,
        params=params,
    )
    print(
        f"{name}: {written.size_bytes / 1e6:.1f} MB, temperature {written.temperature}, "
        f"differs from Keras by at most {max(written.parity.values()):.0e}"
    )


def export_model(
    *, record: Path, weights: Path, manifest: Path, folder: Path, params: ExportParams
) -> Export:
    """Export one trained network into `folder`: `model.onnx` and `export.json`, both or neither.

    Args:
        record: `training.json`.
        weights: `model.weights.h5`.
        manifest: beside the prepared pictures; `train` and `val` are what novelty is measured against, `val`
            calibrates, `test` is compared on.
        folder: replaced as a whole.
        params: operator set, tolerance, whether to average mirror images and to output novelty.

    Returns:
        What `export.json` holds.

    Raises:
        ResultCorrupt: the record or the weights are absent, truncated or of another network.
        ManifestCorrupt: the manifest is absent or of another shape.
        DataError: the pictures are not those that were trained on.
        ExportFailed: the graph is invalid, or answers differently from Keras.
        OutputError: the result cannot be written.
    """
    facts = read_training_record(record)
    classifier = trained_classifier(facts, weights)
    height, width, flip_average = facts.input.height, facts.input.width, params.flip_average
    logits = keras_logits(classifier, height=height, width=width, flip_average=flip_average)
    calibration, contract = _calibrated(logits, facts, manifest=manifest, params=params)
    function = inference_function(
        classifier,
        temperature=calibration.temperature,
        height=height,
        width=width,
        flip_average=flip_average,
    )
    model = converted(function, contract, opset=params.opset)
    reference = None
    if params.novelty:
        reference = _reference(model, manifest, classes=facts.classes)
        contract = replace(contract, novelty=CALIBRATED)
        model = extended(model, reference, contract)
    parity = compare(
        model,
        contract=contract,
        logits=logits,
        function=function,
        reference=reference,
        pictures=read_split(manifest, "test", classes=facts.classes).paths,
        tolerance=params.tolerance,
    )
    values = _record(classifier, calibration, contract, model=model, parity=parity, params=params)
    with replacing_folder(folder) as temporary:
        (temporary / "model.onnx").write_bytes(model)
        write_record(temporary / "export.json", values)
    return values


def _calibrated(
    logits: Logits, facts: TrainingRecord, *, manifest: Path, params: ExportParams
) -> tuple[Calibration, ModelContract]:
    """Temperature and contract, the latter with the threshold of prediction sets if there is to be one."""
    values, labels = _answered(logits, facts, manifest=manifest, split="val")
    calibration = fit_temperature(values, labels)
    contract = _contract(facts, calibration, flip_average=params.flip_average)
    if params.coverage is None:
        return calibration, contract
    others, other_labels = _answered(logits, facts, manifest=manifest, split="test")
    sets = fit_sets(
        (probabilities_of(values, temperature=calibration.temperature), labels),
        (probabilities_of(others, temperature=calibration.temperature), other_labels),
        coverage=params.coverage,
    )
    return calibration, replace(contract, conformal=sets)


def _answered(
    logits: Logits, facts: TrainingRecord, *, manifest: Path, split: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits [n, classes] and class indices [n] of a split."""
    pictures = read_split(manifest, split, classes=facts.classes)
    return np.concatenate([logits(batch) for batch in in_batches(pictures.paths)]), pictures.labels


def _reference(model: bytes, manifest: Path, *, classes: Sequence[str]) -> NoveltyReference:
    """What novelty is measured against, from a file that does not tell it yet."""
    training = read_split(manifest, "train", classes=classes).paths
    spread = np.unique(np.linspace(0, len(training) - 1, REFERENCE_PICTURES).astype(int))
    validation = read_split(manifest, "val", classes=classes).paths
    return fit_reference(
        _embeddings(model, [training[index] for index in spread]), _embeddings(model, validation)
    )


def _embeddings(model: bytes, pictures: Sequence[Path]) -> NDArray[np.float32]:
    """The output `embedding` [n, D]."""
    # With one thread in each run, sums do not depend on the number of cores; the batches run side by side.
    session = open_session(model, threads=1)
    starts = range(0, len(pictures), BATCH)

    def embedded(start: int) -> NDArray[np.float32]:
        batch = read_pictures(pictures[start : start + BATCH])
        return np.asarray(session.run([EMBEDDING], {IMAGE: batch})[0], np.float32)

    with ThreadPoolExecutor(usable_cores()) as pool:
        return np.concatenate(list(pool.map(embedded, starts)))


def _contract(facts: TrainingRecord, calibration: Calibration, *, flip_average: bool) -> ModelContract:
    return ModelContract(
        classes=facts.classes,
        input=facts.input,
        architecture=facts.architecture,
        weights=facts.weights,
        temperature=calibration.temperature,
        dataset=facts.dataset,
        flip_average=flip_average,
    )


def converted(function: Any, contract: ModelContract, *, opset: int) -> bytes:
    """Convert a traced function, and check the file against the ONNX standard and its contract.

    Returns:
        The ONNX file.

    Raises:
        ExportFailed: it cannot be converted, or is not what the contract says.
    """
    return _checked(lambda: to_onnx(function, contract, opset=opset), contract)


def extended(model: bytes, reference: NoveltyReference, contract: ModelContract) -> bytes:
    """Add the output `novelty` to a file, and check it as `converted` does.

    Raises:
        ExportFailed: the result is not what the contract says.
    """
    return _checked(lambda: with_novelty(model, reference, contract), contract)


def _checked(build: Callable[[], Any], contract: ModelContract) -> bytes:
    """The bytes of the onnx.ModelProto that `build` returns."""
    import onnx

    name = contract.architecture
    try:
        model = build()
        onnx.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString(deterministic=True)
        session = open_session(content, threads=1)
        inputs, outputs = tensors(session.get_inputs()), tensors(session.get_outputs())
        check_signature(contract, inputs=inputs, outputs=outputs)
    except ContractError as error:
        raise _not_convertible(name, f"the graph breaks its contract: {error.reason}") from error
    # TensorFlow, tf2onnx, ONNX and ONNX Runtime have no root of errors in common.
    except Exception as error:
        reason = f"no valid graph ({type(error).__name__}: {' '.join(str(error).split())[:300]})"
        raise _not_convertible(name, reason) from error
    return content


def _not_convertible(architecture: str, reason: str) -> ExportFailed:
    remedy = f"use operations that ONNX knows in pipelines/architectures/{architecture}.py"
    return ExportFailed(architecture=architecture, reason=reason, remedy=remedy)


def _record(
    classifier: Classifier,
    calibration: Calibration,
    contract: ModelContract,
    *,
    model: bytes,
    parity: Mapping[str, float],
    params: ExportParams,
) -> Export:
    return Export(
        architecture=classifier.architecture.name,
        temperature=calibration.temperature,
        val_nll_before=round(calibration.nll_before, 6),
        val_nll_after=round(calibration.nll_after, 6),
        # One digit: the next ones are the processor's.
        parity={name: float(f"{apart:.0e}") for name, apart in parity.items()},
        size_bytes=len(model),
        sha256=hashlib.sha256(model).hexdigest(),
        opset=params.opset,
        heatmap=tuple(classifier.grid),
        embedding=int(classifier.head[-1].kernel.shape[0]),
        flip_average=params.flip_average or None,
        sets=contract.conformal,
    )
