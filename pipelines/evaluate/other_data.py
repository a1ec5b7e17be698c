"""Judge a model on other pictures: `python -m pipelines.evaluate.other_data MODEL FOLDER --map joy=happy,…`.

    python -m pipelines.evaluate.other_data onnx/lenet/model.onnx ~/raf-db --map happiness=happy,anger=angry
    python -m pipelines.evaluate.other_data onnx/vgg/model.int8.onnx data --split test --out result.json

The model answers through its own contract, as in the service. The folder has one of the layouts of `data/`.
What only one side knows is counted and left out: pictures of a class that the model does not have, and the
probabilities of classes that the folder does not have; the rest is scaled to a sum of 1.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines import metrics
from pipelines.core.cli import run_stage
from pipelines.core.errors import DataError
from pipelines.core.io import sha256_of
from pipelines.core.records import write_record
from pipelines.core.source_images import Source
from pipelines.metrics import Answers, ClassScores
from pipelines.model.predict import InputReader, open_model
from pipelines.prepare.listing import find_sources
from serving.contract import Image
from serving.cores import usable_cores
from serving.inference.onnx_classifier import BATCH_SIZES, OnnxClassifier


@dataclass(frozen=True, kw_only=True)
class OtherDataResult:
    """Metrics of a model on the pictures of a folder."""

    model: str
    """Path of the file."""
    sha256: str
    """Of the file."""
    folder: str
    split: str | None
    """The split that was judged; None for all pictures."""
    mapping: Mapping[str, str]
    """Class of the folder → class of the model, of all that both have."""
    images: int
    """Judged pictures."""
    unreadable: int
    left_out: Mapping[str, int]
    """Pictures of classes that the model does not have."""
    model_only: Mapping[str, int]
    """Classes that the folder does not have → judged pictures for which they were the most probable one."""
    accuracy: float | None
    balanced_accuracy: float | None
    macro_f1: float | None
    ece: float | None
    """Expected calibration error, 0–1."""
    classes: Sequence[str]
    """Order of the confusion matrix."""
    confusion: Sequence[Sequence[int]]
    """Rows actual, columns predicted."""
    by_class: Mapping[str, ClassScores]


def judge(
    classifier: OnnxClassifier, sources: Sequence[Source], root: Path, mapping: Mapping[str, str]
) -> tuple[Answers, Counter[str], int]:
    """Answers to the pictures whose class the model has.

    Args:
        classifier: the model.
        sources: pictures; locators are relative to `root`.
        root: see `sources`.
        mapping: class of the folder → class of the model.

    Returns:
        Answers among the classes that both have, how often another class of the model was the most probable
        one, and the number of unreadable pictures.
    """
    classes = classifier.contract.classes
    shared = [name for name in classes if name in set(mapping.values())]
    columns = [classes.index(name) for name in shared]
    labels: list[str] = []
    probabilities = []
    others: Counter[str] = Counter()
    unreadable = 0
    for known, images in _batches(classifier, sources, root):
        unreadable += known.count(None)
        if not len(images):
            continue
        answer = classifier.predict(images).probabilities.astype(np.float64)
        labels += [mapping[label] for label in known if label is not None]
        others.update(classes[index] for index in answer.argmax(axis=1) if classes[index] not in shared)
        probabilities.append(_among(answer, columns))
    if not labels:
        raise DataError("not one picture could be read, expected some; look at the folder's files")
    return Answers.of(labels, np.concatenate(probabilities), shared), others, unreadable


def _among(probabilities: NDArray[np.float64], columns: Sequence[int]) -> NDArray[np.float64]:
    kept = probabilities[:, columns]
    total = kept.sum(axis=1, keepdims=True)
    # A model that is certain of a class the folder does not have says nothing about the others.
    return np.where(total > 0, kept / np.where(total > 0, total, 1), 1 / len(columns))


def _batches(
    classifier: OnnxClassifier, sources: Sequence[Source], root: Path
) -> Iterator[tuple[list[str | None], NDArray[np.uint8]]]:
    """Labels and network inputs; the label of an unreadable picture is None, and it has no input."""
    read, size = InputReader(root, classifier.contract.input), BATCH_SIZES[-1]

    def attempt(source: Source) -> Image | None:
        try:
            return read(source.locator)
        except DataError as error:
            print(f"passed over: {error}", flush=True)
            return None

    with ThreadPoolExecutor(usable_cores()) as pool:
        for start in range(0, len(sources), size):
            chosen = sources[start : start + size]
            images = list(pool.map(attempt, chosen))
            labels = [
                source.label if image is not None else None
                for source, image in zip(chosen, images, strict=True)
            ]
            yield labels, np.array([image for image in images if image is not None], np.uint8)


def resolve_mapping(folder: Sequence[str], model: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Class of the folder → class of the model, for all that both have.

    Args:
        folder: classes of the folder.
        model: classes of the model.
        given: by the user; an empty value leaves a class out. Equal names need no entry.

    Raises:
        DataError: an entry names a class that its side does not have, or fewer than two classes are shared.
    """
    for name, target in given.items():
        if name not in folder:
            raise DataError(f"--map: the folder has no class {name!r}, expected one of {', '.join(folder)}")
        if target and target not in model:
            raise DataError(f"--map: the model has no class {target!r}, expected one of {', '.join(model)}")
    mapping = {name: given.get(name, name) for name in folder}
    mapping = {name: target for name, target in mapping.items() if target in model}
    if len(set(mapping.values())) < 2:
        raise DataError(
            f"the folder's classes ({', '.join(folder)}) and the model's ({', '.join(model)}) share fewer "
            "than two; name the others with --map FOLDER_CLASS=MODEL_CLASS,…"
        )
    return mapping


def evaluate_elsewhere(
    path: Path, folder: Path, *, given: Mapping[str, str], split: str | None
) -> OtherDataResult:
    """Judge a model file on a folder.

    Raises:
        ModelFileError: the model cannot be loaded.
        DataError: the folder or the mapping is unusable.
    """
    classifier = open_model(path, threads=usable_cores())
    root = folder.resolve().parent
    found = find_sources(folder.resolve(), root=root).sources
    sources = [source for source in found if split is None or source.split == split]
    if not sources:
        splits = sorted({source.split for source in found if source.split}) or ["no splits"]
        raise DataError(f"{folder} has no pictures of split {split}, expected one of {', '.join(splits)}")
    mapping = resolve_mapping(
        sorted({source.label for source in sources}), classifier.contract.classes, given
    )
    left_out = Counter(source.label for source in sources if source.label not in mapping)
    judged = [source for source in sources if source.label in mapping]
    answers, others, unreadable = judge(classifier, judged, root, mapping)
    model_only = [name for name in classifier.contract.classes if name not in answers.classes]
    return OtherDataResult(
        model=str(path),
        sha256=sha256_of(path),
        folder=str(folder),
        split=split,
        mapping=mapping,
        images=len(answers.actual),
        unreadable=unreadable,
        left_out=dict(sorted(left_out.items())),
        model_only={name: others[name] for name in model_only},
        accuracy=metrics.METRICS["accuracy"].compute(answers),
        balanced_accuracy=metrics.METRICS["balanced_accuracy"].compute(answers),
        macro_f1=metrics.METRICS["macro_f1"].compute(answers),
        ece=metrics.METRICS["ece"].compute(answers),
        classes=answers.classes,
        confusion=answers.matrix.tolist(),
        by_class=metrics.by_class(answers),
    )


def as_table(result: OtherDataResult) -> str:
    """The result as text for a terminal."""
    lines = [
        f"{result.model} on {result.folder}" + (f", split {result.split}" if result.split else ""),
        f"{result.images:,} pictures, {result.unreadable} unreadable",
        *(f"left out: {count:,} pictures of {name}" for name, count in result.left_out.items()),
        *(
            f"left out: the model's class {name}, the most probable one of {count:,} pictures"
            for name, count in result.model_only.items()
        ),
        "",
        *(
            f"{title:18} {'undefined' if value is None else f'{value:.4f}'}"
            for title, value in (
                ("accuracy", result.accuracy),
                ("balanced accuracy", result.balanced_accuracy),
                ("macro-F1", result.macro_f1),
                ("ECE", result.ece),
            )
        ),
        "",
    ]
    width = max(9, *(len(name) for name in result.classes)) + 1
    lines.append("actual ↓" + " " * (width - 8) + "".join(f"{name:>{width}}" for name in result.classes))
    for name, row in zip(result.classes, result.confusion, strict=True):
        lines.append(f"{name:{width}}" + "".join(f"{count:{width},}" for count in row))
    return "\n".join(lines)


def main() -> None:
    """Judge, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.evaluate.other_data", description="Judge a model on other pictures."
    )
    parser.add_argument("model", type=Path, help="ONNX file of this project")
    parser.add_argument("folder", type=Path, help="pictures in one of the layouts of data/")
    parser.add_argument(
        "--map",
        default="",
        metavar="CLASS=CLASS,…",
        help="class of the folder = class of the model; an empty one leaves the class out",
    )
    parser.add_argument("--split", choices=("train", "val", "test"), help="only this split (all pictures)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the result as JSON")
    arguments = parser.parse_args()
    result = evaluate_elsewhere(
        arguments.model, arguments.folder, given=_parse_map(arguments.map), split=arguments.split
    )
    print(as_table(result))
    if arguments.out:
        write_record(arguments.out, result)


def _parse_map(text: str) -> dict[str, str]:
    pairs = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, equals, target = entry.partition("=")
        if not equals or not name.strip():
            raise DataError(f"--map: got {entry!r}, expected FOLDER_CLASS=MODEL_CLASS")
        pairs[name.strip()] = target.strip()
    return pairs


if __name__ == "__main__":
    run_stage(main)
