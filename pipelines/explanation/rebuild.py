"""A trained Keras network again, from what `train` left behind."""

from __future__ import annotations

from pathlib import Path

from pipelines.classifier import Classifier, build_classifier
from pipelines.errors import ExplanationFailed
from pipelines.params import HeadParams, ModelParams
from pipelines.records import read_record


def trained_classifier(*, record: Path, weights: Path) -> Classifier:
    """Build the network that `record` describes and load its trained weights.

    Args:
        record: `training.json`.
        weights: `model.weights.h5`.

    Raises:
        ResultCorrupt: the record is absent or damaged.
        ExplanationFailed: the weights are truncated or belong to another network.
    """
    facts = read_record(record, keys=("architecture", "classes", "input", "head", "options"), stage="train")
    classifier = build_classifier(
        facts["architecture"],
        # Only `options` shape the network; the rest of the block is about training.
        ModelParams(epochs=1, learning_rate=1.0, options=facts["options"]),
        head=HeadParams(**facts["head"]),
        height=facts["input"]["height"],
        width=facts["input"]["width"],
        classes=len(facts["classes"]),
    )
    try:
        classifier.model.load_weights(weights)
    except (OSError, ValueError, KeyError) as error:
        raise ExplanationFailed(
            architecture=facts["architecture"],
            got=f"{weights}: {str(error).splitlines()[0]}",
            expected=f"the trained weights of the network in {record}",
            stage="train",
        ) from error
    return classifier
