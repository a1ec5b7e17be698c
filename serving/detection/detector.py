"""A picture's bytes to its answer: prepared, run and recorded in one worker thread.

detector = Detector(batcher, reader, sink, timeout_s=5.0)
detection = await detector.detect(data, Options())
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.contract import Box, Image
from serving.detection.image_reader import FacesMode, Picture, PictureReader
from serving.detection.overlay import Mark, overlay_png, square_of
from serving.detection.recording import observation_of
from serving.detection.responses import (
    Detection,
    ExplainedInput,
    FaceAnswer,
    ModelReference,
    Timings,
    emotion_of,
    new_id,
)
from serving.detection.routing import Canary, LiveAnswer, Pin, Shadow, Turn, route_request
from serving.detection.routing import Sink as Sink
from serving.inference.batching import Batcher
from serving.inference.model_slot import LiveModel
from serving.inference.onnx_classifier import Prediction
from serving.inference.work import Timing
from serving.observations.records import Observation


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """Options of a request."""

    faces: FacesMode = "auto"
    min_probability: float = 0.0
    """Below it the emotion is None; in [0, 1]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """An answer, and where in the picture it comes from."""

    detection: Detection
    places: tuple[ExplainedInput, ...]
    """Of each input, the largest face's first; empty without an input."""
    overlay: bytes | None
    """The picture with heat, boxes and labels on it, a PNG file; None unless it was asked for."""


class _NullSink:
    """A sink that keeps nothing."""

    def record(self, observation: Observation, *, live: LiveModel, data: bytes | None) -> None:
        pass


_NULL_SINK: Sink = _NullSink()


@dataclass(frozen=True, kw_only=True, slots=True)
class _PictureAnswer:
    detection: Detection
    picture: Picture
    heatmaps: NDArray[np.float32]
    """[n, h, w] in [0, 1], of each input."""


class Detector:
    """Answers pictures; used by every endpoint that takes one."""

    def __init__(
        self,
        batcher: Batcher,
        reader: PictureReader,
        sink: Sink,
        *,
        timeout_s: float,
        shadow: Shadow | None = None,
        canary: Canary | None = None,
        novelty_threshold: float | None = None,
    ) -> None:
        """Create the detector.

        Args:
            batcher: of the live model.
            reader: of pictures.
            sink: receives each answer.
            timeout_s: what one picture may take.
            shadow: gets a sample of the live model's answers.
            canary: answers some of the requests with a subject.
            novelty_threshold: above it a face is called unfamiliar; None: that of the model's contract.
        """
        self._batcher = batcher
        self._reader = reader
        self._sink = sink
        self._timeout_s = timeout_s
        self._shadow = shadow
        self._canary = canary
        self._novelty_threshold = novelty_threshold

    async def detect(
        self,
        data: bytes,
        options: Options,
        *,
        live: LiveModel | None = None,
        record: bool = True,
        subject: str | None = None,
        pin: Pin | None = None,
    ) -> Detection:
        """Find the faces of a picture and classify their expressions.

        Args:
            data: the picture's file.
            options: what the client asked for.
            live: the model that is to answer; the current one without it.
            record: whether the answer is kept as an observation; of a stream's frames only some are.
            subject: client id for the canary's share; without it the live model answers.
            pin: of the stream that the picture is a frame of, so that one model answers all of it.

        Raises:
            ImageError: the bytes are not an accepted picture.
            Overloaded: no model is live, too many wait, or it took too long.
        """
        sink, shadow = (self._sink, self._shadow) if record else (_NULL_SINK, None)
        if self._canary is None or subject is None:
            work = _Detect(
                self._reader, Turn(sink=sink, shadow=shadow), data, options, self._novelty_threshold
            )
            return await self._batcher.run(work, deadline_s=self._timeout_s, live=live)
        # Not stored in a variable: the traceback of an error would keep the candidate alive.
        return await route_request(
            self._canary,
            pin.keep(self._canary.choose(subject)) if pin is not None else self._canary.choose(subject),
            lambda turn: _Detect(self._reader, turn, data, options, self._novelty_threshold),
            batcher=self._batcher,
            sink=sink,
            shadow=shadow,
            timeout_s=self._timeout_s,
            live=live,
        )

    async def explain(
        self, data: bytes, options: Options, *, draw: bool, subject: str | None = None
    ) -> Explanation:
        """As `detect`, and where the model looked; with `draw` on the picture.

        Raises:
            ImageError: the bytes are not an accepted picture.
            Overloaded: no model is live, too many wait, or it took too long.
        """
        if self._canary is None or subject is None:
            turn = Turn(sink=self._sink, shadow=self._shadow)
            work = _Explain(self._reader, turn, data, options, self._novelty_threshold, draw=draw)
            return await self._batcher.run(work, deadline_s=self._timeout_s)
        return await route_request(
            self._canary,
            self._canary.choose(subject),
            lambda turn: _Explain(self._reader, turn, data, options, self._novelty_threshold, draw=draw),
            batcher=self._batcher,
            sink=self._sink,
            shadow=self._shadow,
            timeout_s=self._timeout_s,
            live=None,
        )


class _Request:
    """One picture on its way; its methods are called one after the other, in a worker thread."""

    def __init__(
        self,
        reader: PictureReader,
        turn: Turn,
        data: bytes,
        options: Options,
        novelty_threshold: float | None,
    ) -> None:
        self._novelty_threshold = novelty_threshold
        self._reader = reader
        self._turn = turn
        self._data = data
        self._options = options
        self._picture: Picture | None = None

    def prepare(self, live: LiveModel) -> Image:
        self._picture = self._reader.read(self._data, live.contract.input, self._options.faces)
        return self._picture.inputs

    def _answer(self, live: LiveModel, prediction: Prediction, timing: Timing) -> _PictureAnswer:
        picture = self._picture
        if picture is None:
            raise RuntimeError("finish was called before prepare")
        classes, turn = live.contract.classes, self._turn
        if turn.canary and not np.isfinite(prediction.probabilities).all():
            raise ValueError("the probabilities hold NaN or infinity")
        answers = [
            emotion_of(
                prediction,
                row,
                live.contract,
                min_probability=self._options.min_probability,
                novelty_threshold=self._novelty_threshold,
            )
            for row in range(len(prediction.probabilities))
        ]
        detection = Detection(
            id=new_id(),
            answer=answers[0] if answers else None,
            faces=tuple(FaceAnswer(face=face, answer=answers[i]) for i, face in enumerate(picture.faces)),
            possible_faces=picture.possible_faces,
            whole=picture.whole,
            width=picture.image.shape[1],
            height=picture.image.shape[0],
            model=model_reference(live, canary=turn.canary),
            timings=self._timings(picture, timing),
        )
        if answers:
            turn.sink.record(
                observation_of(detection, picture, prediction, classes), live=live, data=self._data
            )
            turn.cost_s = _cost_s(picture, timing)
            if turn.shadow is not None and turn.shadow.wants():
                turn.shadow.offer(self._live_answer(detection.id, live, prediction, turn.cost_s))
        return _PictureAnswer(detection=detection, picture=picture, heatmaps=prediction.heatmap)

    def _live_answer(self, id: str, live: LiveModel, prediction: Prediction, cost_s: float) -> LiveAnswer:
        return LiveAnswer(
            id=id,
            data=self._data,
            faces=self._options.faces,
            model=live.identity,
            classes=live.contract.classes,
            # A copy: the row would keep the whole batch's answers.
            probabilities=prediction.probabilities[0].copy(),
            cost_s=cost_s,
        )

    def _timings(self, picture: Picture, timing: Timing) -> Timings:
        total = (time.perf_counter() - self._turn.begun) * 1e3
        return Timings(
            queue=timing.queued_s * 1e3,
            decode=picture.decode_ms,
            faces=picture.faces_ms,
            preprocess=picture.preprocess_ms,
            inference=timing.infer_s * 1e3,
            total=total,
        )


class _Detect(_Request):
    def finish(self, live: LiveModel, prediction: Prediction, timing: Timing) -> Detection:
        return self._answer(live, prediction, timing).detection


class _Explain(_Request):
    def __init__(
        self,
        reader: PictureReader,
        turn: Turn,
        data: bytes,
        options: Options,
        novelty_threshold: float | None,
        *,
        draw: bool,
    ) -> None:
        super().__init__(reader, turn, data, options, novelty_threshold)
        self._draw = draw

    def finish(self, live: LiveModel, prediction: Prediction, timing: Timing) -> Explanation:
        answered = self._answer(live, prediction, timing)
        picture, heatmaps = answered.picture, answered.heatmaps
        places = tuple(
            ExplainedInput(heatmap=heatmap, area=area)
            for heatmap, area in zip(heatmaps, _areas(picture), strict=True)
        )
        overlay = None
        if self._draw:
            overlay = overlay_png(picture.image, _marks(answered.detection, places), live.contract.classes)
        return Explanation(detection=answered.detection, places=places, overlay=overlay)


def _areas(picture: Picture) -> list[Box]:
    """What the network saw as each of its inputs, px of the upright picture."""
    if picture.whole:
        height, width = picture.image.shape[:2]
        return [(0, 0, width, height)]
    return [square_of(face.box, margin=picture.spec.margin) for face in picture.faces]


def _marks(detection: Detection, places: tuple[ExplainedInput, ...]) -> list[Mark]:
    """What is drawn of each input: a face, or the whole picture where there is none."""
    found = [(item.face.box, item.answer) for item in detection.faces]
    if not found and detection.answer is not None:
        found = [((0, 0, detection.width, detection.height), detection.answer)]
    return [
        Mark(
            box=box,
            area=place.area,
            heatmap=place.heatmap,
            emotion=answer.emotion,
            probability=answer.probability,
        )
        for (box, answer), place in zip(found, places, strict=True)
    ]


def model_reference(live: LiveModel, *, canary: bool = False) -> ModelReference:
    """The model as answers name it; `canary` when it answers as the candidate."""
    identity = live.identity
    return ModelReference(
        name=identity.name,
        version=identity.version,
        sha256=identity.sha256,
        sample=identity.sample,
        canary=canary,
    )


def _cost_s(picture: Picture, timing: Timing) -> float:
    """See `Turn.cost_s`."""
    own_ms = picture.faces_ms + picture.preprocess_ms / len(picture.inputs)
    return own_ms / 1e3 + timing.infer_s / timing.batch
