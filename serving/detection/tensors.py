"""Answers tensor requests: read, run, recorded and written in one worker thread, like pictures.

    answerer = TensorAnswerer(batcher, reader, sink, timeout_s=5.0)
    answered = await answerer.answer(exchange, live=live, images=1)

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
from serving.detection.image_reader import FacesMode, Picture, PictureReader
from serving.detection.responses import new_id
from serving.inference.batching import Batcher
from serving.inference.model_slot import LiveModel
from serving.inference.onnx_classifier import Prediction
from serving.inference.work import Timing
from serving.observations.records import Observation, summarize_output

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


class Sink(Protocol):
    """Receives every answer that is recorded."""

    def record(self, observation: Observation, *, live: LiveModel, data: bytes | None) -> None:
        """Keep one answer; never blocks, never raises. `data` is the picture's file, if it came as one."""


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
    version: str
    """Of the model."""
    timing: Timing
    novelty: tuple[float, ...] = ()
    """Of each picture; empty if the model does not say."""


class TensorAnswerer:
    """Answers tensors; used by every endpoint of a standard protocol."""

    def __init__(self, batcher: Batcher, reader: PictureReader, sink: Sink, *, timeout_s: float) -> None:
        """Create the answerer; `timeout_s` is the maximum time of one request."""
        self._batcher = batcher
        self._reader = reader
        self._sink = sink
        self._timeout_s = timeout_s
        self._samples: WeakKeyDictionary[LiveModel, Prediction] = WeakKeyDictionary()

    async def answer(self, exchange: Exchange[R], *, live: LiveModel, images: int) -> TensorAnswer[R]:
        """Answer a request.

        Args:
            exchange: reads and writes it.
            live: the model to answer.
            images: pictures that it probably has, for the bound of the queue.

        Raises:
            RequestError: `exchange` refuses the request.
            ImageError: a file is not an accepted picture.
            Overloaded: too many wait, or it took too long.
        """
        work = _TensorWork(exchange, self._reader, self._sink)
        return await self._batcher.run(work, deadline_s=self._timeout_s, live=live, images=images)

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


class _TensorWork(Generic[R]):
    """One request on its way through the batcher."""

    def __init__(self, exchange: Exchange[R], reader: PictureReader, sink: Sink) -> None:
        self._exchange = exchange
        self._reader = reader
        self._sink = sink
        self._begun = time.perf_counter()
        self._record = False
        self._images: Image = np.empty((0, 0, 0, 3), np.uint8)
        self._files: dict[int, tuple[bytes, Picture]] = {}

    def prepare(self, live: LiveModel) -> Image:
        asked = self._exchange.read(live.contract.input)
        self._record = asked.record
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
        classes = live.contract.classes
        predicted = tuple(classes[index] for index in prediction.probabilities.argmax(axis=1).tolist())
        ids = tuple(new_id() for _ in predicted) if self._record else ()
        answer = self._exchange.write(live, prediction, ids)
        total_ms = (time.perf_counter() - self._begun) * 1e3
        for index, id in enumerate(ids):
            self._keep(id, index, live, prediction, timing, predicted[index], total_ms)
        novelty = prediction.novelty
        return TensorAnswer(
            answer=answer,
            ids=ids,
            predicted=predicted,
            version=live.identity.version,
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
        self._sink.record(observation, live=live, data=data)
