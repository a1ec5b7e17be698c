"""Turn one exported model into its int8 variant.

    python -m pipelines.quantize ARCHITECTURE

Reads `onnx/ARCHITECTURE/model.onnx` and validation pictures, writes `onnx/ARCHITECTURE-int8/`, the same bytes
every time. docs/benchmarks.md has its duration; TensorFlow is not involved.
The settings are in `quantization.ARCHITECTURE` of params.yaml, found once by `python -m
benchmarks.quantization`; `evaluate` and `compare` measure the loss of accuracy.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.core import paths
from pipelines.core.dataset import read_dataset
from pipelines.core.errors import DataError, ModelFileError
from pipelines.core.io import replacing_folder
from pipelines.core.model_results import Export, FloatModel
from pipelines.core.params import QuantizationParams, check_architecture, load_params
from pipelines.core.records import write_record
from pipelines.core.variants import int8_of
from pipelines.export.conformal import fit_sets
from pipelines.export.pictures import in_batches, read_pictures, read_split
from pipelines.model.predict import open_model
from pipelines.quantize.conversion import Agreement, agreement, converted, failed, fault, with_contract
from serving.contract.arrays import Image
from serving.contract.model import ConformalThreshold, ModelContract
from serving.cores import usable_cores
from serving.inference.onnx_classifier import OnnxClassifier

# Enough to find out whether both files predict alike; `evaluate` uses all pictures.
_COMPARED = 256


def main() -> None:
    """Quantise the architecture that the command line names."""
    parser = argparse.ArgumentParser(description="Turn one exported model into its int8 variant.")
    parser.add_argument("architecture", help="an architecture that `export` has finished")
    name = check_architecture(parser.parse_args().architecture)
    written = quantize_model(
        source=paths.onnx_model(name),
        manifest=paths.MANIFEST,
        dataset=paths.DATASET,
        folder=paths.onnx_model(int8_of(name)).parent,
        settings=load_params().quantization_of(name),
    )
    print(one_line(written))


def quantize_model(
    *, source: Path, manifest: Path, dataset: Path, folder: Path, settings: QuantizationParams
) -> Export:
    """Quantise one model file into `folder`: `model.onnx` and `export.json`, both or neither.

    Args:
        source: the float32 model.
        manifest: manifest in the folder of the prepared pictures; `val` is used for calibration, `test` to
            measure the coverage of prediction sets.
        dataset: `dataset.json`, which identifies the data set.
        folder: output folder, replaced as a whole.
        settings: settings of this architecture.

    Returns:
        The content of `export.json`.

    Raises:
        ModelFileError: the model is missing or damaged, or was trained on a different data set.
        DataError: the pictures cannot be read, or do not have the model's input size.
        QuantizationFailed: there is nothing to quantise, or the result is unusable.
        OutputError: the result cannot be written.
    """
    float_model = open_model(source, threads=usable_cores())
    if float_model.contract.dataset != (prepared := read_dataset(dataset).dataset):
        reason = (
            f"trained on dataset {float_model.contract.dataset[:12]}, the prepared one is {prepared[:12]}"
        )
        raise ModelFileError(path=source, reason=reason)
    seen = validation_pictures(manifest, float_model.contract, count=settings.pictures)
    compared = validation_pictures(manifest, float_model.contract, count=_COMPARED)
    contract = replace(float_model.contract, architecture=int8_of(float_model.contract.architecture))
    content = converted(source.read_bytes(), contract, seen, settings=settings)
    with replacing_folder(folder) as temporary:
        (temporary / "model.onnx").write_bytes(content)
        quantized = _checked(temporary / "model.onnx", float_model, contract, pictures=compared)
        if contract.conformal is not None:
            contract = replace(contract, conformal=_sets(quantized, contract.conformal.coverage, manifest))
            content = with_contract(content, contract)
            (temporary / "model.onnx").write_bytes(content)
            quantized = _checked(temporary / "model.onnx", float_model, contract, pictures=compared)
        found = agreement(float_model, quantized, compared)
        values = _record(float_model, quantized, content, found=found, settings=settings)
        write_record(temporary / "export.json", values)
    return values


def _sets(quantized: OnnxClassifier, coverage: float, manifest: Path) -> ConformalThreshold:
    """The variant's own threshold: its probabilities are not those of the float32 model."""

    def answered(split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        pictures = read_split(manifest, split, classes=quantized.contract.classes)
        found = [quantized.predict(batch).probabilities for batch in in_batches(pictures.paths)]
        return np.concatenate(found), pictures.labels

    return fit_sets(answered("val"), answered("test"), coverage=coverage)


def validation_pictures(manifest: Path, contract: ModelContract, *, count: int) -> Image:
    """Read at most `count` pictures, evenly distributed over the validation split, which is sorted by class.

    Returns:
        uint8 [n, H, W, 3], prepared with the contract's preprocessing.

    Raises:
        DataError: a picture is missing or damaged, or does not have the model's input size.
    """
    paths = read_split(manifest, "val", classes=contract.classes).paths
    chosen = [paths[index] for index in np.unique(np.linspace(0, len(paths) - 1, count).astype(int))]
    size = (contract.input.height, contract.input.width)
    pictures = []
    for path in chosen:
        pictures.append(read_pictures([path])[0])
        if (got := pictures[-1].shape[:2]) != size:
            raise DataError(
                f"{path}: got {got[0]}×{got[1]} px, expected {size[0]}×{size[1]} px as the model takes; "
                "run `dvc repro`"
            )
    return np.stack(pictures)


def one_line(record: Export) -> str:
    """Format the line that the stage prints."""
    size = f"{record.architecture}: {record.size_bytes / 1e6:.1f} MB"
    if (twin := record.twin) is None:
        return size
    return (
        f"{size}, {record.size_bytes / twin.size_bytes:.2f} of the float32 file; "
        f"same predicted class for {twin.same_answer:.1%} of {twin.pictures} validation pictures"
    )


def _checked(
    path: Path, float_model: OnnxClassifier, contract: ModelContract, *, pictures: Image
) -> OnnxClassifier:
    """Load the file as the service loads it, and make sure that it is usable."""
    try:
        quantized = open_model(path, threads=usable_cores())
    except ModelFileError as error:
        raise failed(contract.architecture, f"the file does not load: {error}") from error
    if (reason := fault(float_model, quantized, pictures)) is not None:
        raise failed(contract.architecture, reason)
    return quantized


def _record(
    float_model: OnnxClassifier,
    quantized: OnnxClassifier,
    content: bytes,
    *,
    found: Agreement,
    settings: QuantizationParams,
) -> Export:
    """Build the record: the keys of a float32 model's record, and the comparison with the float32 model."""
    answers = quantized.predict(np.zeros((1, *_sizes(quantized.contract), 3), np.uint8))
    return Export(
        architecture=quantized.contract.architecture,
        temperature=quantized.contract.temperature,
        # One digit; further digits depend on the processor.
        parity={name: float(f"{apart:.0e}") for name, apart in found.differences.items()},
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        opset=_opset(content),
        heatmap=answers.heatmap.shape[1:],
        embedding=int(answers.embedding.shape[1]),
        flip_average=quantized.contract.flip_average or None,
        sets=quantized.contract.conformal,
        twin=FloatModel(
            sha256=float_model.sha256,
            size_bytes=float_model.size_bytes,
            pictures=found.pictures,
            same_answer=round(found.same_answer, 4),
        ),
        settings=settings,
    )


def _sizes(contract: ModelContract) -> tuple[int, int]:
    return contract.input.height, contract.input.width


def _opset(content: bytes) -> int:
    import onnx

    return next(int(one.version) for one in onnx.load_from_string(content).opset_import if not one.domain)
