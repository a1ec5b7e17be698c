"""A world for the drift flow: a model in production with a reference, and what a service saw of people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.contract import image_statistics, preprocess
from serving.detection.responses import summarize_output
from serving.inference.onnx_classifier import OnnxClassifier
from serving.observations.records import Observation
from serving.observations.store import Batch, Store
from tests.support.drift import add_reference, picture
from tests.support.mlflow_store import new_store
from tests.support.observing import NOW, id_of, observation
from tests.support.serving_models import LEVELS, FilledRegistry, sha256_of

REFERENCE_PEOPLE = range(40)
ROWS = 140
"""Of a window: twenty people, each with every class."""
PEOPLE = ROWS // len(LEVELS)


@dataclass(frozen=True, kw_only=True)
class DriftWorld:
    """Registry and database of one service."""

    root: Path
    registry: FilledRegistry
    version: str
    run_id: str
    folder: Path
    """Of the registered model's files."""

    @property
    def environment(self) -> dict[str, str]:
        """The service's, with windows of `ROWS` observations."""
        return {
            "MIEN_TRACKING_URI": self.registry.uri,
            "MIEN_DATABASE_URL": f"sqlite:///{self.root}/observations.db",
            "MIEN_CACHE_DIR": str(self.root / "cache"),
            "MIEN_DRIFT_LAST_N": str(ROWS),
            "MIEN_DRIFT_MIN_ROWS": str(ROWS),
        }

    def see(self, people: Sequence[int], *, at: float, share: float = 1.0) -> None:
        """Answers to pictures of these people, a second apart, into the database."""
        store = Store(self.environment["MIEN_DATABASE_URL"])
        try:
            store.write(Batch(observations=self._answers(people, at=NOW + at, share=share)))
        finally:
            store.close()

    def _answers(self, people: Sequence[int], *, at: float, share: float) -> list[Observation]:
        classifier = OnnxClassifier.open(self.folder / "model.onnx")
        contract = classifier.contract
        shots = [(person, index) for person in people for index in range(len(contract.classes))]
        inputs = np.stack([preprocess(picture(*shot, share=share), contract.input) for shot in shots])
        answers = classifier.predict(inputs)
        found = []
        for row, image in enumerate(inputs):
            outcome = summarize_output(answers.probabilities[row], answers.embedding[row])
            statistics = image_statistics(image)
            found.append(
                observation(
                    row,
                    id=id_of(row, at=at),
                    time=at + row,
                    model_version=self.version,
                    model_sha256=sha256_of(self.folder),
                    predicted=contract.classes[int(answers.probabilities[row].argmax())],
                    probabilities=outcome.probabilities,
                    confidence=outcome.confidence,
                    entropy=outcome.entropy,
                    embedding=outcome.embedding,
                    brightness=statistics.brightness,
                    contrast=statistics.contrast,
                    sharpness=statistics.sharpness,
                )
            )
        return found


def drift_world(root: Path) -> DriftWorld:
    """A registry with one version in production, whose run is there, and an empty database."""
    registry = FilledRegistry(new_store(root), root / "registered")
    experiment = registry.client.create_experiment("test", artifact_location=(root / "artifacts").as_uri())
    run_id = registry.client.create_run(experiment).info.run_id
    version = registry.add(run_id=run_id)
    registry.promote(version)
    folder = add_reference(root / "registered" / "v0", people=REFERENCE_PEOPLE)
    return DriftWorld(root=root, registry=registry, version=version, run_id=run_id, folder=folder)
