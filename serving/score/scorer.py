"""Files to rows: read, decode, find faces, preprocess, run, on all cores; the same code as `POST /detect`.

    scorer = Scorer.configured(settings, live, faces="auto")
    for table in scorer.tables(folder, chunks):
        …

A row is what the service would have answered, and recorded, for its file: of several faces the largest one's.

A folder of pictures to one Parquet file, chunk by chunk; `parts` says what a kill leaves behind.
"""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from serving.contract.arrays import Box, Image
from serving.contract.preprocessing import ImageStatistics
from serving.cores import usable_cores
from serving.detection.image_reader import Detectors, FacesMode, Picture, PictureReader
from serving.errors import PayloadTooLarge, ScoringRefused, ServingError
from serving.http.problems import INTERNAL, kind_of
from serving.inference.model_slot import LiveModel
from serving.inference.onnx_classifier import Prediction
from serving.observations.records import summarize_output
from serving.score.listing import files_in
from serving.score.shards import ScoringProgress, Shards, failed_rows
from serving.settings import Settings

_log = logging.getLogger(__name__)

UNREADABLE = "file-unreadable"
"""Beside the service's own problem types: the file is gone, or its rights or its disk forbid to read it."""
# As MIEN_BATCH_SIZE's default: more at once is no faster on a CPU. One worker's share, too.
BATCH = 16
# Of this process or machine and not of the file: the run ends, and goes on when there is room again.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
# Settings that decide how a picture is read.
_READING = {"face_detector", "face_model", "face_margin", "max_faces", "max_pixels"}
_BOX = pa.struct([pa.field(side, pa.int32()) for side in ("left", "top", "width", "height")])


@dataclass(frozen=True, slots=True)
class _PictureData:
    """What is kept of a picture."""

    input: Image | None
    """uint8 [H, W, 3]; None when there is nothing to look at."""
    faces: int
    box: Box | None
    statistics: ImageStatistics | None


class Scorer:
    """Scores files with one model."""

    def __init__(
        self,
        live: LiveModel,
        reader: PictureReader,
        *,
        faces: FacesMode = "auto",
        embedding: bool = False,
        max_bytes: int,
        threads: int | None = None,
    ) -> None:
        """Be ready; OpenCV's own threads are switched off in this process.

        Each picture has a thread already, and a cascade that is shared out finds its boxes in no fixed order.

        Args:
            live: the model.
            reader: of pictures, as the service makes it.
            faces: as `?faces=` of `/detect`.
            embedding: whether rows have the model's features.
            max_bytes: of a file; a larger one is not read.
            threads: pictures that are worked on at once; the usable cores without it.

        Raises:
            BadRequest: `faces` asks for faces while looking for them is switched off.
            FaceDetectorError: the model's detector cannot be used here.
        """
        reader.check(live.contract.input, faces)
        self.live = live
        self.reader = reader
        self._faces: FacesMode = faces
        self._embedding = embedding
        self._max_bytes = max_bytes
        self._threads = threads or usable_cores()
        self.plan: dict[str, Any] = {
            "model": live.identity.name,
            "version": live.identity.version,
            "sha256": live.identity.sha256,
            "faces": faces,
            "embedding": embedding,
            "max_bytes": max_bytes,
        }
        """Whatever decides what the rows say, as JSON values; `configured` adds the reader's settings."""
        self.schema = _schema(live, embedding=embedding)
        """Of the tables."""
        cv2.setNumThreads(1)

    @classmethod
    def configured(
        cls, settings: Settings, live: LiveModel, *, faces: FacesMode = "auto", embedding: bool = False
    ) -> Scorer:
        """One that reads pictures as the service does with these settings; see `__init__`."""
        detectors = Detectors(settings.face_detector, face_model=settings.face_model)
        reader = PictureReader(
            detectors,
            max_pixels=settings.max_pixels,
            max_faces=settings.max_faces,
            margin=settings.face_margin,
        )
        made = cls(live, reader, faces=faces, embedding=embedding, max_bytes=settings.max_bytes)
        made.plan |= settings.model_dump(mode="json", include=_READING)
        return made

    def tables(self, folder: Path, chunks: Iterable[Sequence[str]]) -> Iterator[pa.Table]:
        """One table for each chunk, in order; while one is in the caller's hands the next is being made.

        Args:
            folder: that the paths are relative to.
            chunks: paths of files. The same chunks give the same tables on any number of cores.

        Raises:
            OSError: this process may open no more files.
            MemoryError: there is not enough.
        """
        ahead: deque[list[Future[list[dict[str, Any]]]]] = deque()
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="score")
        try:
            for chunk in chunks:
                parts = (chunk[at : at + BATCH] for at in range(0, len(chunk), BATCH))
                ahead.append([pool.submit(self._score, folder, part) for part in parts])
                if len(ahead) > 1:
                    yield self._table(ahead.popleft())
            while ahead:
                yield self._table(ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _table(self, parts: list[Future[list[dict[str, Any]]]]) -> pa.Table:
        return pa.Table.from_pylist([row for part in parts for row in part.result()], schema=self.schema)

    def _score(self, folder: Path, names: Sequence[str]) -> list[dict[str, Any]]:
        """Rows of a few files, whose pictures go through the network together."""
        seen = [self._look(folder / name) for name in names]
        inputs = [one.input for one in seen if isinstance(one, _PictureData) and one.input is not None]
        prediction = self.live.classifier.predict(np.stack(inputs)) if inputs else None
        rows, index = [], 0
        for name, one in zip(names, seen, strict=True):
            row = self._row(name)
            if isinstance(one, str):
                row["error"] = one
            else:
                row |= {"faces": one.faces, "box": _box(one.box), "error": None}
                if one.input is not None and one.statistics is not None and prediction is not None:
                    row |= self._answer(prediction, index, one.statistics)
                    index += 1
            rows.append(row)
        return rows

    def _look(self, path: Path) -> _PictureData | str:
        """What the file shows, or the type of its problem."""
        try:
            return _seen(self.reader.read(self._read(path), self.live.contract.input, self._faces))
        except ServingError as error:
            return kind_of(error).slug
        except OSError as error:
            if error.errno in _OURS:
                raise
            return UNREADABLE
        except MemoryError:
            raise
        except Exception:
            # One picture that a library cannot cope with must not end a run of a million.
            _log.exception("%s cannot be scored", path)
            return INTERNAL.slug

    def _read(self, path: Path) -> bytes:
        with path.open("rb") as file:
            data = file.read(self._max_bytes + 1)
        if len(data) > self._max_bytes:
            raise PayloadTooLarge(limit=self._max_bytes)
        return data

    def _row(self, name: str) -> dict[str, Any]:
        identity = self.live.identity
        # A name that is no UTF-8 is shown with its bytes' numbers.
        path = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return {"path": path, "model_version": identity.version, "model_sha256": identity.sha256}

    def _answer(self, prediction: Prediction, index: int, statistics: ImageStatistics) -> dict[str, Any]:
        probabilities, embedding = prediction.probabilities[index], prediction.embedding[index]
        outcome = summarize_output(probabilities, embedding)
        classes = self.live.contract.classes
        answer = {
            "emotion": classes[int(probabilities.argmax())],
            "probability": outcome.confidence,
            **{f"p_{name}": value for name, value in zip(classes, probabilities.tolist(), strict=True)},
            "brightness": statistics.brightness,
            "contrast": statistics.contrast,
            "sharpness": statistics.sharpness,
            "entropy": outcome.entropy,
        }
        if self._embedding:
            answer["embedding"] = embedding.tolist()
        return answer


def _seen(picture: Picture) -> _PictureData:
    return _PictureData(
        # A copy: a part would keep the inputs of all faces.
        input=picture.inputs[0].copy() if len(picture.inputs) else None,
        faces=len(picture.faces),
        box=picture.box,
        statistics=picture.statistics,
    )


def _box(box: Box | None) -> dict[str, int] | None:
    return None if box is None else dict(zip(("left", "top", "width", "height"), box, strict=True))


def _schema(live: LiveModel, *, embedding: bool) -> pa.Schema:
    numbers = ("brightness", "contrast", "sharpness", "entropy")
    fields = [
        pa.field("path", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("emotion", pa.string()),
        pa.field("probability", pa.float32()),
        *(pa.field(f"p_{name}", pa.float32()) for name in live.contract.classes),
        pa.field("faces", pa.int32()),
        pa.field("box", _BOX),
        *(pa.field(name, pa.float64()) for name in numbers),
    ]
    if embedding:
        fields.append(pa.field("embedding", pa.list_(pa.float32())))
    fields.append(pa.field("model_version", pa.string(), nullable=False))
    fields.append(pa.field("model_sha256", pa.string(), nullable=False))
    return pa.schema(fields)


CHUNK = 1024
"""Files of one part: seconds of work on two cores, which is what a kill can cost."""


def score_folder(
    scorer: Scorer,
    folder: Path,
    out: Path,
    *,
    chunk: int = CHUNK,
    tell: Callable[[ScoringProgress], None] = lambda progress: None,
) -> ScoringProgress:
    """Score a folder into one Parquet file, or go on with it.

    Args:
        scorer: with the model.
        folder: of pictures, at any depth.
        out: written when all is done; its folder must exist.
        chunk: files of one part.
        tell: called after each part, and once before the first.

    Raises:
        ScoringRefused: there is nothing to score, the result cannot be written, another run writes it, or
            the file or the parts that are there are of another model or of other options.
    """
    plan = {**scorer.plan, "folder": str(folder.resolve()), "chunk": chunk, "columns": scorer.schema.names}
    parts = Shards(out, plan)
    try:
        with parts.alone():
            finished = parts.finished() or _go_on(scorer, folder, parts, chunk=chunk, tell=tell)
            parts.remove()
            return finished
    except OSError as error:
        raise ScoringRefused(
            f"{error.filename or out}: {error.strerror or error}; put it right and run the same command again"
        ) from error


def _go_on(
    scorer: Scorer, folder: Path, parts: Shards, *, chunk: int, tell: Callable[[ScoringProgress], None]
) -> ScoringProgress:
    listing = parts.begin(lambda: files_in(folder, without=parts.out), shown=folder)
    # Written in order, so there is no gap.
    number, failed = len(parts.files()), parts.failed()

    def progress() -> ScoringProgress:
        return ScoringProgress(files=listing.count, done=min(number * chunk, listing.count), failed=failed)

    tell(progress())
    for table in scorer.tables(folder, listing.chunks(chunk, skip=number)):
        parts.write(number, table)
        number += 1
        failed += failed_rows(table)
        tell(progress())
    parts.join(scorer.schema)
    return progress()
