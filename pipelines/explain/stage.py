"""Explain the selected network's predictions: `python -m pipelines.explain`.

Grad-CAM by automatic differentiation on the Keras model (for a ViT attention rollout) beside the heatmap
of the ONNX file, on correct, wrong and most confidently wrong test pictures, and the heatmaps of all
architectures on the same faces. The two must agree to 1e-3; usually they agree to 1e-5. Where an int8 variant
is selected, the float32 model is compared instead, and the difference between the two is recorded. Insertion
and deletion tell whether the heatmaps mark what the prediction depends on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.core import paths
from pipelines.core.io import read_predictions, replacing_folder
from pipelines.core.manifest import read_manifest
from pipelines.core.model_results import read_training_record
from pipelines.core.params import load_params
from pipelines.core.records import write_record
from pipelines.core.results import read_comparison
from pipelines.core.variants import architecture_of, is_int8
from pipelines.explain.answers import TOLERANCE, Answers, answer, check_agreement
from pipelines.explain.faithfulness import measure
from pipelines.explain.gallery import architectures_panel, selected_panel
from pipelines.explain.heatmaps import Heatmaps, keras_heatmaps, method
from pipelines.explain.selection import (
    PANELS,
    Agreement,
    ComparedFace,
    Explanation,
    Faithfulness,
    Panels,
    Pick,
    QuantizedDifference,
    pick_faces,
    pick_measured,
    pick_panels,
)
from pipelines.export.pictures import read_pictures
from pipelines.model.predict import open_model
from pipelines.model.tensorflow_runtime import load_tensorflow
from pipelines.model.trained import trained_classifier
from serving.contract.arrays import Image
from serving.cores import usable_cores


def explain(selected: str, panels: Mapping[str, Sequence[Pick]], *, folder: Path, prepared: Path) -> Panels:
    """Draw the selected network's panels into `folder`.

    Args:
        selected: name of a variant.
        panels: test pictures by panel; an empty panel is not drawn.
        folder: where PNGs and tiles go.
        prepared: folder that the pictures' paths are relative to.

    Returns:
        For `explain.json`.

    Raises:
        ExplanationFailed: the heatmaps differ by more than `TOLERANCE`.
    """
    picks = [pick for name in PANELS for pick in panels[name]]
    pictures = read_pictures([prepared / pick.path for pick in picks])
    architecture = architecture_of(selected)
    float_answers = answer(paths.onnx_model(architecture), pictures)
    exported = answer(paths.onnx_model(selected), pictures) if is_int8(selected) else float_answers
    kind, keras = _from_keras(architecture, pictures, float_answers)
    apart = check_agreement(
        float_answers.heatmaps, keras, architecture=architecture, paths=[pick.path for pick in picks]
    )
    drawn, start = {}, 0
    for name in PANELS:
        part = slice(start, start + len(panels[name]))
        start = part.stop
        drawn[name] = selected_panel(
            folder,
            name,
            picks=panels[name],
            pictures=pictures[part],
            keras=keras[part],
            onnx=exported.heatmaps[part],
        )
    return Panels(
        method=kind,
        agreement=Agreement(
            pictures=len(picks),
            max_difference=_significant(apart.max(initial=0.0)),
            tolerance=TOLERANCE,
        ),
        quantized=_difference(exported, float_answers) if is_int8(selected) else None,
        panels=drawn,
    )


def explain_all(
    architectures: Sequence[str], faces: Sequence[Pick], *, folder: Path, prepared: Path
) -> tuple[ComparedFace, ...]:
    """Draw the heatmaps of every architecture's ONNX file on the same test pictures into `folder`.

    Returns:
        For `explain.json`: one entry per face, with each architecture's answer.
    """
    pictures = read_pictures([prepared / face.path for face in faces])
    answers = {name: answer(paths.onnx_model(name), pictures) for name in architectures}
    return architectures_panel(folder, faces=faces, pictures=pictures, answers=answers)


def measure_faithfulness(
    selected: str, picks: Sequence[Pick], *, manifest: Path, samples: int
) -> Faithfulness | None:
    """Measure the selected variant's heatmaps on these test pictures; None without any.

    Args:
        selected: name of a variant.
        picks: test pictures.
        manifest: beside the pictures; has the person of each.
        samples: bootstrap resamples.
    """
    if not picks:
        return None
    rows = read_manifest(manifest, columns=["path", "group"]).set_index("path")
    groups = rows.loc[[pick.path for pick in picks], "group"].to_numpy()
    pictures = read_pictures([manifest.parent / pick.path for pick in picks])
    classifier = open_model(paths.onnx_model(selected), threads=usable_cores())

    def predict(images: Image) -> NDArray[np.float32]:
        return classifier.predict(images).probabilities

    return measure(predict, pictures, classifier.predict(pictures).heatmap, groups, samples=samples)


def _from_keras(architecture: str, pictures: Image, exported: Answers) -> tuple[str, Heatmaps]:
    record = read_training_record(paths.training_record(architecture))
    classifier = trained_classifier(record, paths.trained_weights(architecture))
    # The class the ONNX file chose: where two tie, rounding could make Keras choose the other.
    heatmaps = keras_heatmaps(classifier, pictures, top=exported.top, flip_average=exported.flip_average)
    return method(classifier), heatmaps


def _difference(quantized: Answers, float_answers: Answers) -> QuantizedDifference:
    """Compare heatmaps of an int8 variant and the float32 model where both explain the same class."""
    same = quantized.top == float_answers.top
    differences = np.abs(quantized.heatmaps[same] - float_answers.heatmaps[same])
    return QuantizedDifference(
        pictures=len(same),
        same_answer=int(same.sum()),
        mean_difference=_significant(differences.mean() if same.any() else 0.0),
        max_difference=_significant(differences.max(initial=0.0)),
    )


def _significant(value: float) -> float:
    """Two significant digits: the rest depends on the processor's rounding."""
    return float(f"{np.float64(value):.1e}")


def main() -> None:
    """Explain the model that `compare` selected."""
    params = load_params()
    selected = read_comparison(Path()).selected
    stage = f"evaluate@{architecture_of(selected)}"
    predictions = read_predictions(paths.evaluation_predictions(selected), stage=stage)
    count = params.explain.per_panel
    panels = pick_panels(predictions, count=count)
    faces = pick_faces(predictions, count=count, but=[pick for own in panels.values() for pick in own])
    load_tensorflow(gpu=False)
    with replacing_folder(paths.EXPLANATIONS) as folder:
        drawn = explain(selected, panels, folder=folder, prepared=paths.PREPARED)
        record = Explanation(
            **vars(drawn),
            architecture=selected,
            architectures=tuple(params.architectures),
            faces=explain_all(params.architectures, faces, folder=folder, prepared=paths.PREPARED),
            faithfulness=measure_faithfulness(
                selected,
                pick_measured(predictions, count=params.explain.faithfulness_pictures),
                manifest=paths.MANIFEST,
                samples=params.evaluate.bootstrap_samples,
            ),
        )
        write_record(folder / "explain.json", record)
    print(
        f"{selected}: {record.method} on {record.agreement.pictures} test pictures, "
        f"Keras and ONNX differ by at most {record.agreement.max_difference:g}"
        f"{_gain(record.faithfulness)}"
    )


def _gain(found: Faithfulness | None) -> str:
    if found is None:
        return ""
    gain = found.gain
    return (
        f"; insertion less deletion {gain.value:.3f} ({gain.low:.3f}–{gain.high:.3f}) above shuffled heatmaps"
    )
