"""Compares the file in ONNX Runtime with its Keras network; see `parity` for the arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.errors import ExportFailed
from pipelines.export.flip_average import both
from pipelines.export.inference import Logits
from pipelines.export.novelty import NoveltyReference
from pipelines.export.parity import BATCHES, Answers, differences, least_difference, varied
from pipelines.export.pictures import read_pictures
from serving.contract.arrays import Image
from serving.contract.model import EMBEDDING, HEATMAP, PROBABILITIES, ModelContract
from serving.inference.sessions import open_session

# Pictures among which those for the comparison are chosen, spread evenly over the split.
_CANDIDATES = 64
# Predictions closer than this many tolerances could not be distinguished.
_APART = 10
_Runner = Callable[[Image], Answers]


def compare(
    model: bytes,
    *,
    contract: ModelContract,
    logits: Logits,
    function: Any,
    reference: NoveltyReference | None,
    pictures: Sequence[Path],
    tolerance: float,
) -> dict[str, float]:
    """Compare both on pictures to which the network gives different answers.

    Args:
        model: the ONNX file.
        contract: of the file.
        logits: the network itself, see `inference.keras_logits`.
        function: the exported function before its conversion.
        reference: of the output `novelty`; None if the file has none.
        pictures: prepared ones that it was not trained on, at least five.
        tolerance: largest difference allowed in any output.

    Returns:
        Output → largest difference, see `parity.differences`.

    Raises:
        ExportFailed: they differ by more, or the answers are too alike to prove anything.
    """
    architecture = contract.architecture
    if len(pictures) < max(BATCHES):
        raise ExportFailed(
            architecture=architecture,
            reason=f"got {len(pictures)} test pictures to compare on, expected at least {max(BATCHES)}",
            remedy="add some to data/ or raise prepare.test_fraction",
        )

    def run(images: Image) -> Answers:
        import tensorflow as tf

        batch = tf.constant(both(images) if contract.flip_average else images)
        return {name: np.asarray(values) for name, values in function(batch).items()}

    images = _chosen(run, pictures, margin=_APART * tolerance)
    expected = _answers(logits, run, images=images, temperature=contract.temperature)
    _check_varied(expected, architecture, least=_APART * tolerance)
    apart = differences(open_session(model, threads=1), images, expected, reference=reference)
    for output, difference in apart.items():
        if not difference <= tolerance:
            raise ExportFailed(
                architecture=architecture,
                reason=f"ONNX Runtime and Keras differ by {difference:.2g} in `{output}`, "
                f"expected at most {tolerance:g} (export.tolerance)",
                remedy="look for the layer that converts wrongly in "
                f"pipelines/architectures/{architecture}.py",
            )
    return apart


def _chosen(run: _Runner, pictures: Sequence[Path], *, margin: float) -> Image:
    """Pictures with answers far apart, uint8 [5, H, W, 3]."""
    spread = np.linspace(0, len(pictures) - 1, min(_CANDIDATES, len(pictures))).astype(int)
    candidates = read_pictures([pictures[index] for index in spread])
    answers = run(candidates)
    # Where two classes tie, two runtimes may explain different ones, neither being wrong; and a map without
    # any evidence is zero in both, even if the formula is wrong.
    first_two = np.sort(answers[PROBABILITIES], axis=1)[:, -2:]
    telling = (first_two[:, 1] - first_two[:, 0] >= margin) & (answers[HEATMAP].max(axis=(1, 2)) > 0)
    return candidates[varied(answers[PROBABILITIES], max(BATCHES), first=telling)]


def _answers(logits: Logits, run: _Runner, *, images: Image, temperature: float) -> Answers:
    """Probabilities from the network itself; heatmap and embedding, which it lacks, from the function."""
    from scipy.special import softmax

    return {**run(images), PROBABILITIES: softmax(logits(images) / temperature, axis=1)}


def _check_varied(expected: Answers, architecture: str, *, least: float) -> None:
    apart = max(least_difference(expected[name]) for name in (PROBABILITIES, EMBEDDING))
    if not apart > least:
        raise ExportFailed(
            architecture=architecture,
            reason=f"the network answers different pictures alike (within {apart:.2g}), "
            "so that comparing it with Keras would prove nothing",
            remedy=f"train it longer or with another rate (models.{architecture} in params.yaml)",
        )
