"""Answers tensor requests: read, run, recorded and written in one worker thread, like pictures.

    answerer = TensorAnswerer(batcher, reader, sink, timeout_s=5.0)
    answered = await answerer.answer(exchange, live=live, images=1)

Shadow and canary take part as in `serving.detection.detector`, where the same numbers mean the same to both
models: `is_interchangeable`.

Each picture of a tensor leaves an observation: its statistics are of the network's input anyway. The
protocols' parameter `record` switches that off for jobs that are not live traffic.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from serving.contract import Image, InputSpec, image_statistics
from serving.detection.detector import model_reference
from serving.detection.image_reader import FacesMode, Picture, PictureReader
from serving.detection.responses import ModelReference, new_id, summarize_output
from serving.detection.routing import PICTURES, Canary, LiveAnswer, Shadow, Sink, Turn, route_request
from serving.inference.batching import Batcher, full_batch_size
from serving.inference.model_slot import LiveModel
from serving.inference.onnx_classifier import Prediction
from serving.inference.work import Timing
from serving.observations.records import Observation

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorRequest:
    """The content of a request."""

    pictures: Image | Sequence[Image | bytes]
    """uint8 [n, H, W, 3], or a list of uint8 [H, W, 3] and of pictures' files; n ≥ 1."""
    faces: FacesMode = "none"
    """For files; `all` is not allowed here, since it may give no input."""
    record: bool = True
    """Whether the answers become observations."""


class Exchange(Protocol[R_co]):
    """One request of one protocol; both methods are called in a worker thread, one after the other."""

    def read(self, spec: InputSpec) -> TensorRequest:
        """Read the request for a model with this input; its exceptions reach the caller."""

    def write(self, live: LiveModel, prediction: Prediction, ids: Sequence[str]) -> R_co:
        """The answer; `ids` are those of the observations, one for each picture or none at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorAnswer(Generic[R]):
    """An answer, and the facts that metrics count."""

    answer: R
    ids: tuple[str, ...]
    """Of the observations; empty when nothing was recorded."""
    predicted: tuple[str, ...]
    """The most probable class of each picture."""
    model: ModelReference
    """That answered."""
    timing: Timing
    novelty: tuple[float, ...] = ()
    """Of each picture; empty if the model does not say."""


def is_interchangeable(candidate: LiveModel, live: LiveModel) -> bool:
    """Whether a request for tensors of `live` means the same to the candidate, and its answer to the client.

    A tensor has no size, crop and colours that the service could adapt, and its answer has no names: the
    inputs must be prepared alike, the classes in one order, and no output may be missing.
    """
    ours, theirs = live.contract, candidate.contract
    return (
        ours.input == theirs.input
        and ours.classes == theirs.classes
        and set(ours.outputs) <= set(theirs.outputs)
    )


class TensorAnswerer:
    """Answers tensors; used by every endpoint of a standard protocol."""

    def __init__(
        self,
        batcher: Batcher,
        reader: PictureReader,
        sink: Sink,
        *,
        timeout_s: float,
        shadow: Shadow | None = None,
        canary: Canary | None = None,
    ) -> None:
        """Create the answerer.

        Args:
            batcher: of the live model.
            reader: of pictures' files.
            sink: receives each answer.
            timeout_s: maximum time of one request.
            shadow: gets a sample of the live model's answers.
            canary: answers some of the requests with a subject.
        """
        self._batcher = batcher
        self._reader = reader
        self._sink = sink
        self._timeout_s = timeout_s
        self._shadow = shadow
        self._canary = canary
        self._samples: WeakKeyDictionary[LiveModel, Prediction] = WeakKeyDictionary()

    async def answer(
        self, exchange: Exchange[R], *, live: LiveModel, images: int, subject: str | None = None
    ) -> TensorAnswer[R]:
        """Answer a request.

        Args:
            exchange: reads and writes it.
            live: the model to answer.
            images: pictures that it probably has, for the bound of the queue.
            subject: client id for the canary's share; without it `live` answers.

        Raises:
            RequestError: `exchange` refuses the request.
            ImageError: a file is not an accepted picture.
            Overloaded: too many wait, or it took too long.
        """
        if self._canary is None:
            work = _TensorWork(exchange, self._reader, Turn(sink=self._sink, shadow=self._shadow))
            return await self._batcher.run(work, deadline_s=self._timeout_s, live=live, images=images)
        # Not stored in a variable: the traceback of an error would keep the candidate alive.
        return await route_request(
            self._canary,
            _candidate(self._canary, subject, live),
            lambda turn: _TensorWork(exchange, self._reader, turn),
            batcher=self._batcher,
            sink=self._sink,
            shadow=self._shadow,
            timeout_s=self._timeout_s,
            live=live,
            images=images,
        )

    async def sample(self, live: LiveModel) -> Prediction:
        """An arbitrary prediction of the model, for the sizes of its outputs; run once for each model.

        Raises:
            Overloaded: too many wait, or it took too long.
        """
        known = self._samples.get(live)
        if known is None:
            spec = live.contract.input
            black = np.zeros((1, spec.height, spec.width, 3), np.uint8)
            known = await self._batcher.predict(black, live=live, deadline_s=self._timeout_s)
            self._samples[live] = known
        return known


def _candidate(canary: Canary, subject: str | None, live: LiveModel) -> LiveModel | None:
    candidate = None if subject is None else canary.choose(subject)
    return candidate if candidate is not None and is_interchangeable(candidate, live) else None


class _TensorWork(Generic[R]):
    """One request on its way through the batcher."""

    def __init__(self, exchange: Exchange[R], reader: PictureReader, turn: Turn) -> None:
        self._exchange = exchange
        self._reader = reader
        self._turn = turn
        self._faces: FacesMode = "none"
        self._record = False
        self._images: Image = np.empty((0, 0, 0, 3), np.uint8)
        self._files: dict[int, tuple[bytes, Picture]] = {}

    def prepare(self, live: LiveModel) -> Image:
        asked = self._exchange.read(live.contract.input)
        self._record, self._faces = asked.record, asked.faces
        if isinstance(asked.pictures, np.ndarray):
            self._images = asked.pictures
        else:
            inputs = [
                self._read(index, item, live.contract.input, asked.faces) if isinstance(item, bytes) else item
                for index, item in enumerate(asked.pictures)
            ]
            self._images = np.stack(inputs)
        return self._images

    def _read(self, index: int, data: bytes, spec: InputSpec, faces: FacesMode) -> Image:
        picture = self._reader.read(data, spec, faces)
        self._files[index] = data, picture
        first: Image = picture.inputs[0]
        return first

    def finish(self, live: LiveModel, prediction: Prediction, timing: Timing) -> TensorAnswer[R]:
        classes, turn = live.contract.classes, self._turn
        if turn.canary and not np.isfinite(prediction.probabilities).all():
            raise ValueError("the probabilities hold NaN or infinity")
        predicted = tuple(classes[index] for index in prediction.probabilities.argmax(axis=1).tolist())
        ids = tuple(new_id() for _ in predicted) if self._record else ()
        answer = self._exchange.write(live, prediction, ids)
        total_ms = (time.perf_counter() - turn.begun) * 1e3
        for index, id in enumerate(ids):
            self._keep(id, index, live, prediction, timing, predicted[index], total_ms)
        turn.cost_s, turn.workload = self._cost(timing)
        if turn.shadow is not None:
            for index, id in enumerate(ids):
                self._offer(turn.shadow, id, index, live, prediction, timing)
        novelty = prediction.novelty
        return TensorAnswer(
            answer=answer,
            ids=ids,
            predicted=predicted,
            model=model_reference(live, canary=turn.canary),
            timing=timing,
            novelty=() if novelty is None else tuple(novelty.tolist()),
        )

    def _keep(
        self,
        id: str,
        index: int,
        live: LiveModel,
        prediction: Prediction,
        timing: Timing,
        predicted: str,
        total_ms: float,
    ) -> None:
        image = self._images[index]
        data, picture = self._files.get(index, (None, None))
        outcome = summarize_output(prediction.probabilities[index], prediction.embedding[index])
        statistics = image_statistics(image)
        height, width = (picture.image if picture else image).shape[:2]
        observation = Observation(
            id=id,
            time=time.time(),
            model_version=live.identity.version,
            model_sha256=live.identity.sha256,
            predicted=predicted,
            probabilities=outcome.probabilities,
            confidence=outcome.confidence,
            entropy=outcome.entropy,
            embedding=outcome.embedding,
            novelty=None if prediction.novelty is None else float(prediction.novelty[index]),
            brightness=statistics.brightness,
            contrast=statistics.contrast,
            sharpness=statistics.sharpness,
            width=width,
            height=height,
            faces=len(picture.faces) if picture else 0,
            box=picture.box if picture else None,
            decode_ms=picture.decode_ms if picture else 0.0,
            faces_ms=picture.faces_ms if picture else 0.0,
            preprocess_ms=picture.preprocess_ms if picture else timing.prepare_s * 1e3,
            inference_ms=timing.infer_s * 1e3,
            total_ms=total_ms,
        )
        self._turn.sink.record(observation, live=live, data=data)

    def _offer(
        self,
        shadow: Shadow,
        id: str,
        index: int,
        live: LiveModel,
        prediction: Prediction,
        timing: Timing,
    ) -> None:
        data, picture = self._files.get(index, (None, None))
        spec = None if picture is not None else live.contract.input
        if not shadow.wants(spec):
            return
        shadow.offer(
            LiveAnswer(
                id=id,
                data=self._images[index].tobytes() if data is None else data,
                faces=self._faces,
                tensor=spec,
                model=live.identity,
                classes=live.contract.classes,
                probabilities=prediction.probabilities[index].copy(),
                cost_s=_own_s(picture) + timing.infer_s / timing.batch,
            )
        )

    def _cost(self, timing: Timing) -> tuple[float | None, str]:
        """See `Turn.cost_s` and `Turn.workload`; of a mixed request the cost is None."""
        infer_s = timing.infer_s / timing.batch
        if not self._files:
            return infer_s, f"tensors in batches of {full_batch_size(timing.batch)}"
        own_s = [_own_s(picture) for _, picture in self._files.values()]
        if len(own_s) < len(self._images):
            return None, PICTURES
        return sum(own_s) / len(own_s) + infer_s, PICTURES


def _own_s(picture: Picture | None) -> float:
    """Seconds that one input took before the network: finding faces, and its share of the preprocessing."""
    if picture is None:
        return 0.0
    return (picture.faces_ms + picture.preprocess_ms / len(picture.inputs)) / 1e3
