"""Score one architecture's models on the original pictures: `python -m pipelines.evaluate ARCHITECTURE`.

The float32 file and its int8 variant each answer through their own
contract, exactly as in the service; TensorFlow is not involved. Chance is 1 ÷ classes; on the sample data
LeNet reaches 0.55–0.85 accuracy.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines import metrics
from pipelines.architectures import Architecture, load_architecture
from pipelines.core import paths
from pipelines.core.attributes import Attributes, read_attributes
from pipelines.core.dataset import Dataset, read_dataset
from pipelines.core.errors import ModelFileError
from pipelines.core.io import replacing, write_json
from pipelines.core.manifest import read_manifest
from pipelines.core.model_results import read_training_record
from pipelines.core.params import load_params
from pipelines.core.records import write_record
from pipelines.core.results import Crops, Evaluation, NoveltyScores, Scores, SetScores
from pipelines.core.variants import display_name, variants_of
from pipelines.evaluate.crops import compare_crops
from pipelines.evaluate.non_faces import measure_novelty, non_faces
from pipelines.evaluate.sets import measure_sets
from pipelines.metrics import Answers
from pipelines.model.predict import open_model, predict_batches
from serving.cores import usable_cores
from serving.inference.onnx_classifier import OnnxClassifier

if TYPE_CHECKING:
    import pandas

SPLITS = ("val", "test")
# Enough for a smooth curve on a page, few enough for seven curves in one plot.
ROC_POINTS = 200
# Probabilities of two processors differ beyond; metrics and table start from the same rounded values.
PROBABILITY_DECIMALS = 6


def check_model(path: Path, classifier: OnnxClassifier, dataset: Dataset) -> None:
    """Refuse a model that was made from other data than it is to be judged on.

    Raises:
        ModelFileError: classes or dataset hash differ.
    """
    contract = classifier.contract
    if contract.classes != tuple(dataset.classes):
        reason = f"its classes are {list(contract.classes)}, those of the data {list(dataset.classes)}"
        raise ModelFileError(path=path, reason=reason)
    if contract.dataset != dataset.dataset:
        reason = f"trained on dataset {contract.dataset[:12]}, the prepared one is {dataset.dataset[:12]}"
        raise ModelFileError(path=path, reason=reason)


def predict_rows(
    classifier: OnnxClassifier, rows: pandas.DataFrame, root: Path, *, workers: int | None = None
) -> pandas.DataFrame:
    """Answers to rows of the manifest, in their order and with their index.

    Returns:
        path, split, label, predicted, confidence, `p_CLASS` for every class, and `novelty` if the model tells
        it; float64 with six decimals.
    """
    exact, novelty = [], []
    for batch in predict_batches(classifier, list(rows["source"]), root, workers=workers):
        exact.append(batch.probabilities)
        novelty += [] if batch.novelty is None else [batch.novelty]
    probabilities = np.round(np.concatenate(exact).astype(np.float64), PROBABILITY_DECIMALS)
    more = (
        {"novelty": np.round(np.concatenate(novelty).astype(np.float64), PROBABILITY_DECIMALS)}
        if novelty
        else {}
    )
    classes = np.array(classifier.contract.classes)
    return rows[["path", "split", "label"]].assign(
        predicted=classes[probabilities.argmax(1)],
        confidence=probabilities.max(1),
        **{f"p_{name}": probabilities[:, index] for index, name in enumerate(classes)},
        **more,
    )


def answers(predictions: pandas.DataFrame, split: str, classes: Sequence[str]) -> Answers:
    """The answers of one split."""
    part = predictions[predictions["split"] == split]
    return Answers.of(list(part["label"]), part[[f"p_{name}" for name in classes]].to_numpy(), classes)


def score(
    predictions: pandas.DataFrame,
    manifest: pandas.DataFrame,
    classes: Sequence[str],
    *,
    samples: int,
    seed: int,
    attributes: Attributes | None = None,
    min_group_images: int = 1,
) -> Scores:
    """All metrics of one variant.

    Args:
        predictions: from `predict_rows`.
        manifest: has the rows they were made from, by index.
        classes: in the order of the model's outputs.
        samples: bootstrap resamples.
        seed: of the bootstrap.
        attributes: of people or pictures, if the data bring some.
        min_group_images: values of an attribute with fewer test pictures are left out.
    """
    test, val = answers(predictions, "test", classes), answers(predictions, "val", classes)
    rows = manifest.loc[predictions.index[predictions["split"] == "test"]]
    slices = {name: metrics.tercile_slices(rows[name].to_numpy(np.float64)) for name in metrics.BY_TERCILE}
    slices["mode"] = metrics.color_slices(list(rows["mode"]))
    return Scores(
        test=metrics.overall(test, rows["group"].to_numpy(), samples=samples, seed=seed),
        val=metrics.brief(val.matrix),
        classes=metrics.by_class(test),
        slices={name: metrics.by_slice(test, masks) for name, masks in slices.items()},
        attributes=None
        if attributes is None
        else {
            column: metrics.by_attribute(
                test,
                rows["group"].to_numpy(),
                attributes.of(column, files=list(rows["source"]), groups=list(rows["group"])),
                min_images=min_group_images,
                samples=samples,
                seed=seed,
            )
            for column in attributes.columns
        },
    )


def plot_points(predictions: pandas.DataFrame, classes: Sequence[str]) -> dict[str, pandas.DataFrame]:
    """Points of the test split for `dvc plots`.

    Returns:
        confusion: actual, predicted, one row per picture (DVC's template counts them);
        roc: class, false_positive_rate, true_positive_rate;
        calibration: confidence, accuracy, images, one row per bin that is not empty.
    """
    import pandas

    test = answers(predictions, "test", classes)
    table = test.reliability
    calibration = pandas.DataFrame(
        {"confidence": table.confidence, "accuracy": table.accuracy, "images": table.count}
    )
    named = predictions.loc[predictions["split"] == "test", ["label", "predicted"]]
    return {
        "confusion": named.rename(columns={"label": "actual"}).sort_values(["actual", "predicted"]),
        "roc": pandas.concat([_roc_points(test, index) for index in range(len(classes))]),
        "calibration": calibration[calibration["images"] > 0],
    }


def summary(evaluation: Evaluation) -> dict[str, float | None]:
    """What `dvc metrics show` and `dvc metrics diff` show: the test split as a whole, and val accuracy."""
    whole = {score.name: score.value for score in evaluation.test.scores()}
    return whole | {"val_accuracy": evaluation.val.accuracy}


def write(evaluation: Evaluation, predictions: pandas.DataFrame, classes: Sequence[str]) -> None:
    """Write table, plots, summary and the full metrics; these come last, never alone."""
    name = evaluation.architecture
    with replacing(paths.evaluation_predictions(name)) as path:
        predictions.to_parquet(path, index=False)
    for plot, points in plot_points(predictions, classes).items():
        with replacing(paths.evaluation_plot(name, plot)) as path:
            points.round(metrics.DECIMALS).to_csv(path, index=False)
    write_json(paths.evaluation_summary(name), summary(evaluation))
    write_record(paths.evaluation_metrics(name), evaluation)


def open_variants(architecture: str, dataset: Dataset) -> dict[str, OnnxClassifier]:
    """Variant → its file, every one of one architecture.

    Raises:
        ModelFileError: one is absent or damaged, or was made from other data.
    """
    found = {}
    for name in variants_of(architecture):
        found[name] = open_model(paths.onnx_model(name), threads=usable_cores())
        check_model(paths.onnx_model(name), found[name], dataset)
    return found


def describe(
    name: str,
    architecture: Architecture,
    classifier: OnnxClassifier,
    *,
    scores: Scores,
    crops: Crops,
    novelty: NoveltyScores | None,
    sets: SetScores | None,
) -> Evaluation:
    """Add to the metrics of a variant what it is: title, origin of its weights, parameters, size."""
    return Evaluation(
        architecture=name,
        title=display_name(architecture.title, name, weights=classifier.contract.weights),
        weights=classifier.contract.weights,
        parameters=read_training_record(paths.training_record(architecture.name)).parameters,
        size_mb=round(classifier.size_bytes / 1e6, 6),
        crops=crops,
        novelty=novelty,
        sets=sets,
        **vars(scores),
    )


def main() -> None:
    """Read the models and the manifest, predict, score, write."""
    parser = argparse.ArgumentParser(description="Score one architecture's models on the original pictures.")
    parser.add_argument("architecture", help="a name in pipelines/architectures/")
    architecture = load_architecture(parser.parse_args().architecture)
    params = load_params()
    dataset = read_dataset(paths.DATASET)
    classifiers = open_variants(architecture.name, dataset)
    manifest = read_manifest(paths.MANIFEST)
    crops = compare_crops(
        list(classifiers.values()),
        manifest[manifest["split"] == "test"],
        Path(),
        detector=params.evaluate.face_detector,
        margin=params.evaluate.face_margin,
    )
    rows = manifest[manifest["split"].isin(SPLITS)]
    attributes = read_attributes(paths.ATTRIBUTES)
    samples = params.evaluate.bootstrap_samples
    others = non_faces()
    for (name, classifier), cropped in zip(classifiers.items(), crops, strict=True):
        predictions = predict_rows(classifier, rows, Path())
        scores = score(
            predictions,
            manifest,
            dataset.classes,
            samples=samples,
            seed=params.seed,
            attributes=attributes,
            min_group_images=params.evaluate.min_group_images,
        )
        seen = predictions[predictions["split"] == "test"].get("novelty")
        novelty = None if seen is None else measure_novelty(classifier, seen.to_numpy(np.float64), others)
        sets = measure_sets(answers(predictions, "test", dataset.classes), classifier.contract.conformal)
        evaluation = describe(
            name, architecture, classifier, scores=scores, crops=cropped, novelty=novelty, sets=sets
        )
        write(evaluation, predictions, dataset.classes)
        print(one_line(evaluation))


def one_line(evaluation: Evaluation) -> str:
    """Accuracy with its interval and macro-F1, for the terminal."""
    test = evaluation.test
    return (
        f"{evaluation.architecture}: accuracy {test.score('accuracy').text(' ({low:.3f}–{high:.3f})')}, "
        f"macro-F1 {test.score('macro_f1').text('')} on {test.images} test images of {test.groups} groups"
    )


def _roc_points(test: Answers, index: int) -> pandas.DataFrame:
    import pandas

    false, true = metrics.roc_curve(test.actual == index, test.probabilities[:, index], points=ROC_POINTS)
    return pandas.DataFrame(
        {"class": test.classes[index], "false_positive_rate": false, "true_positive_rate": true}
    )
