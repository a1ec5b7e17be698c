"""What the service answers, as frozen dataclasses named as in its OpenAPI document.

A test compares every field with the document. Lengths are in px of the upright picture, probabilities in
[0, 1]. A field with a default is absent from the answers of some models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mien_client.errors import Problem, Sent, refusal


@dataclass(frozen=True, kw_only=True)
class Area:
    """A rectangle; may reach beyond the picture."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Size:
    """Size of the upright picture."""

    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Milliseconds of one request's parts, in the service."""

    queue: float
    decode: float
    faces: float
    preprocess: float
    inference: float
    total: float


@dataclass(frozen=True, kw_only=True)
class ModelReference:
    """The model that answered."""

    name: str
    version: str
    sha256: str
    sample: bool
    """Trained on drawn faces, only for demonstration."""
    canary: bool | None = None
    """True if the canary's candidate answered."""


@dataclass(frozen=True, kw_only=True)
class Emotion:
    """The model's answer to a face, or to a whole picture."""

    emotion: str | None
    """None below `min_probability`, or without a face."""
    probability: float | None
    """Of the most probable emotion."""
    probabilities: Mapping[str, float] | None
    """Of every emotion, in the model's order; the sum is 1."""
    set: tuple[str, ...] | None = None
    """Emotions of which one is the true one with probability `coverage`, most probable first."""
    coverage: float | None = None
    novelty: float | None = None
    """Share of the validation pictures that are less unlike the training's."""
    unfamiliar: bool | None = None
    """Whether `novelty` is above the service's threshold."""


@dataclass(frozen=True, kw_only=True)
class Face(Emotion):
    """A face and its emotion."""

    box: Area
    score: float
    """The detector's; comparable only for one detector."""


@dataclass(frozen=True, kw_only=True)
class PossibleFace:
    """A place that looks somewhat like a face, where one may have been missed."""

    box: Area
    score: float
    """The detector's; comparable only for one detector."""


@dataclass(frozen=True, kw_only=True)
class ExplainedFace(Face):
    """A face, its emotion and its heatmap."""

    heatmap: tuple[tuple[float, ...], ...] | None
    """Rows from top to bottom: how much each part of `area` supported the emotion, in [0, 1]."""
    area: Area | None
    """What the network got and the heatmap covers."""


@dataclass(frozen=True, kw_only=True)
class Detection(Emotion):
    """The answer to one picture; the emotion is that of the largest face, or of the whole picture."""

    id: str
    """For `feedback`, `prediction` and `delete_prediction`."""
    whole_image: bool
    """The whole picture was classified: it has no face, one face fills it, or by request."""
    image: Size
    model: ModelReference
    timings_ms: Timings
    faces: tuple[Face, ...]
    """Largest first."""
    possible_faces: tuple[PossibleFace, ...]
    """Largest first, without an emotion; empty with Haar's cascade."""


@dataclass(frozen=True, kw_only=True)
class Explanation(Detection):
    """The answer to one picture, with heatmaps."""

    faces: tuple[ExplainedFace, ...]
    heatmap: tuple[tuple[float, ...], ...] | None
    """That of the largest face, or of the whole picture."""
    area: Area | None


@dataclass(frozen=True, kw_only=True)
class BatchEntry:
    """The result of one picture of a batch, or its problem."""

    file: str
    """The name that was sent for the picture."""
    result: Detection | None = None
    problem: Problem | None = None

    def detection(self) -> Detection:
        """Return the result.

        Raises:
            Refused: what `detect` would have raised for this picture.
        """
        if self.result is not None:
            return self.result
        problem = self.problem or Problem(type="about:blank", title="No result", status=500, detail="none")
        request_id = problem.request_id or ""
        raise refusal(
            problem, Sent(call=f"picture {self.file}", request_id=request_id, traceparent=None, attempts=1)
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One entry for each picture, in order; all by the same model."""

    results: tuple[BatchEntry, ...]


@dataclass(frozen=True, kw_only=True)
class FeedbackStored:
    """The stored feedback, and what was predicted."""

    id: str
    face: int
    """Index in the answer's `faces`; 0: the largest face, or the whole picture."""
    emotion: str
    predicted: str


@dataclass(frozen=True, kw_only=True)
class InputStatistics:
    """Statistics of the network's input, scaled to [0, 1]."""

    brightness: float
    contrast: float
    sharpness: float


@dataclass(frozen=True, kw_only=True)
class AnsweringModel:
    """The model that gave an earlier answer."""

    name: str | None
    version: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class OtherFace:
    """The answer to a face beside the largest."""

    face: int
    """Index in the answer's `faces`, from 1 on."""
    box: Area
    emotion: str
    probability: float
    feedback: str | None
    """The true emotion of the last feedback."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """An earlier answer and its lineage."""

    id: str
    time: datetime
    emotion: str
    probability: float
    probabilities: Mapping[str, float]
    entropy: float
    """Nats."""
    novelty: float | None
    faces: int
    box: Area | None
    whole_image: bool
    image: Size
    input: InputStatistics
    feedback: str | None
    """The true emotion of the last feedback on the largest face, or on the whole picture."""
    other_faces: tuple[OtherFace, ...]
    """The faces from the second on, largest first."""
    picture_kept: bool
    model: AnsweringModel
    lineage: Mapping[str, Any] | None
    """MLflow run, git commit, dataset hash and more."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A kept picture to label."""

    id: str
    """For `label`, `label_picture` and `withdraw_label`."""
    time: datetime
    classes: tuple[str, ...]
    """Labels besides `not-a-face` and `skip`: the classes of the model that answered."""


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """The pictures that a person should label next, the most useful first."""

    labeller: str
    """The name under which the person's labels are stored."""
    labelled: int
    """Number of pictures that this person has labelled, without those that were skipped."""
    tasks: tuple[Task, ...]


@dataclass(frozen=True, kw_only=True)
class LabelStored:
    """The stored label."""

    id: str
    label: str
    labeller: str
    """The name under which it is stored."""


@dataclass(frozen=True, kw_only=True)
class PicturesByStatus:
    """Number of pictures with labels."""

    open: int
    agreed: int
    disputed: int


@dataclass(frozen=True, kw_only=True)
class Disputed:
    """A picture on which people do not agree."""

    id: str
    labels: Mapping[str, int]
    """Label → number of people."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """All labels together, and how well people agree."""

    needed: int
    """Number of equal labels that decide about a picture."""
    pictures: PicturesByStatus
    agreed: Mapping[str, int]
    """Agreed label → number of pictures."""
    labels: int
    """Number of labels, without skips."""
    skips: int
    labellers: int
    alpha: float | None
    """Krippendorff's alpha, nominal: 1 is perfect agreement, 0 that of chance; None where it is undefined."""
    disputed: tuple[Disputed, ...]
    """The newest hundred."""


@dataclass(frozen=True, kw_only=True)
class LiveModelFacts:
    """The live model with its contract and lineage."""

    name: str
    version: str
    sha256: str
    architecture: str
    weights: str
    sample: bool
    signed_by: str | None
    notice: str | None
    since: datetime
    size_bytes: int
    face_detector: str | None
    contract: Mapping[str, Any]
    lineage: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class BatchLimitFacts:
    """How many pictures the network gets at once, and why."""

    max_images: int
    target_p99_ms: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class ModelName:
    """A model by its name, version and digest."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Canary:
    """State of the canary."""

    location: str
    share: float
    """Of the requests, in [0, 1]."""
    state: str
    reason: str
    model: ModelName | None


@dataclass(frozen=True, kw_only=True)
class Model:
    """The live model, or why none is live."""

    live: LiveModelFacts | None
    reason: str
    batches: BatchLimitFacts | None
    following: Mapping[str, Any]
    canary: Canary | None


@dataclass(frozen=True, kw_only=True)
class ModelSwitch:
    """One process changed its live model, or a canary began or ended."""

    time: datetime
    from_version: str | None
    from_sha256: str | None
    to_version: str | None
    to_sha256: str | None
    reason: str
    process: str
    kind: str
    """`live` or `canary`."""
    promoted_by: str | None
    signature: str | None = None
    """`trusted` (by a key that the service trusts, checked), `unchecked` or `missing`; None where unknown."""
    signed_by: str | None = None
    """Fingerprint of the key that the signature names; proven only where `signature` is `trusted`."""


@dataclass(frozen=True, kw_only=True)
class History:
    """Switches of the model, newest first."""

    switches: tuple[ModelSwitch, ...]


@dataclass(frozen=True, kw_only=True)
class ServiceAlive:
    """The process answers."""

    status: str


@dataclass(frozen=True, kw_only=True)
class ServiceReady:
    """A model is live."""

    status: str
    model: str
    """Name and version, `emotion/3`."""
