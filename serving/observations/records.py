"""What one answer leaves behind: numbers, never pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from serving.contract import Box

SwitchKind = Literal["live", "canary"]
"""`live`: the live model became another; `canary`: a canary began or ended beside it."""
SignatureState = Literal["trusted", "unchecked", "missing"]
"""See `serving.inference.model_slot.ModelSignature`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherFace:
    """The answer to a face beside the largest: as much as a correction needs, and no embedding."""

    predicted: str
    """The most probable class, also when its probability is low."""
    confidence: float
    """Probability of the predicted class."""
    box: Box
    """left, top, width, height in px of the upright picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One answer; of a picture with several faces, the largest face's."""

    id: str
    """The answer's id, at most 36 characters."""
    time: float
    """When it was answered, seconds since 1970 (UTC)."""
    model_version: str
    """In the registry."""
    model_sha256: str
    """Of the ONNX file, hexadecimal."""
    predicted: str
    """The most probable class, also when its probability is low."""
    probabilities: bytes
    """Little-endian float32 [classes], in the model's order."""
    confidence: float
    """Probability of the predicted class."""
    entropy: float
    """Shannon entropy of the probabilities, nats, as in the model's reference table."""
    embedding: bytes
    """Little-endian float16 [D], the head's penultimate features."""
    novelty: float | None = None
    """The larger, the less the input is like those of the training; None if the model does not say."""
    brightness: float
    """Of the network's input, as are contrast and sharpness; see `serving.contract.preprocessing`."""
    contrast: float
    sharpness: float
    width: int
    """Of the upright picture, px."""
    height: int
    faces: int
    """Found in the picture; 0 when the whole picture was looked at."""
    box: Box | None
    """left, top, width, height in px of the face that was looked at; None: the whole picture."""
    other_faces: tuple[OtherFace, ...] = ()
    """The faces of the answer from the second on; the first is `predicted` and `box`."""
    decode_ms: float
    faces_ms: float
    preprocess_ms: float
    inference_ms: float
    """Of the whole batch that the picture was part of, without the wait for a worker."""
    total_ms: float
    picture: str | None = None
    """Name of the kept picture inside its folder; set by the recorder."""


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """What is known of a model that answered, kept so that old rows can be read after it is gone."""

    name: str
    version: str
    sha256: str
    classes: tuple[str, ...]
    """In the order of `Observation.probabilities`."""
    lineage: Mapping[str, str | bool | None]
    """Where it comes from: run id, git commit, dataset, …; JSON values."""


@dataclass(frozen=True, kw_only=True)
class Switch:
    """The live model of one process became another, or a canary began or ended."""

    time: float
    """Seconds since 1970 (UTC)."""
    from_version: str | None
    """None when nothing was live."""
    from_sha256: str | None
    to_version: str | None
    """None when nothing is live any more."""
    to_sha256: str | None
    reason: str
    process: str
    """host:pid, since every worker switches for itself."""
    kind: SwitchKind
    promoted_by: str | None = None
    """User who promoted the version by command; None where that is unknown, as after a click in MLflow."""
    signature: SignatureState | None = None
    """Of the files of `to_version`; None where it is unknown, as in rows of earlier services."""
    signed_by: str | None = None
    """Fingerprint of the key that the signature names, 64 hexadecimal digits; None without one."""


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """The true emotion of a face of an earlier answer, sent by a client; of several, the last one counts."""

    observation_id: str
    face: int = 0
    """Index in the answer's faces; 0: the largest face, or the whole picture."""
    time: float
    """Seconds since 1970 (UTC)."""
    emotion: str


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """How far the shadow's answer to a picture is from the live model's."""

    observation_id: str
    distance: float
    """Total variation of the two, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class StoredObservation:
    """A stored observation with what came later."""

    observation: Observation
    true_emotions: Mapping[int, str] = field(default_factory=dict)
    """Index of a face → its true emotion by the last feedback; empty without feedback."""
    model: ModelRecord | None = field(default=None, repr=False)
    """The model that answered; None in windows, whose rows share one model."""

    @property
    def feedback(self) -> str | None:
        """The true emotion of the largest face, or of the whole picture; None without feedback."""
        return self.true_emotions.get(0)

    def probabilities(self) -> NDArray[np.float32]:
        """Float32 [classes], in the model's order."""
        return np.frombuffer(self.observation.probabilities, "<f4")

    def embedding(self) -> NDArray[np.float16]:
        """Float16 [D]."""
        return np.frombuffer(self.observation.embedding, "<f2")
