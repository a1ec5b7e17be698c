"""Scores files on all cores, with the code of `POST /detect`: read, decode, find faces, preprocess, run.

    scorer = Scorer.configured(settings, live, faces="auto")
    for table in scorer.tables(folder, chunks):
        …

A row is what the service would have answered and recorded for the file: of several faces, the largest face's.
`score_folder` writes the rows of a folder to one Parquet file, chunk by chunk; a run that was killed
continues from its shards (`serving.score.shards`).
"""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from serving.contract.arrays import Box, Image
from serving.contract.preprocessing import ImageStatistics
from serving.cores import usable_cores
from serving.detection.detectors import Detectors
from serving.detection.image_reader import FacesMode, Picture, PictureReader
from serving.detection.responses import prediction_set, summarize_output
from serving.errors import ServingError
from serving.errors.operation import ScoringRefused
from serving.errors.requests import PayloadTooLarge
from serving.http.problems import INTERNAL, kind_of
from serving.inference.admission import admit
from serving.inference.model_slot import LiveModel
from serving.inference.onnx_classifier import Prediction
from serving.model_sync.resolve import resolve_model
from serving.score.listing import files_in
from serving.score.shards import ScoringProgress, Shards, failed_rows
from serving.settings import Settings
from serving.signatures import signature_check

_log = logging.getLogger(__name__)

UNREADABLE = "file-unreadable"
"""Problem type that only scoring has: the file is missing, or it cannot be read."""
# The default of MIEN_BATCH_SIZE: more pictures at once are not faster on a CPU. One thread's share, too.
BATCH = 16
# Errors of this process or machine, not of the file: the run ends and can be continued later.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
# Settings that decide how a picture is read.
_READING = {"face_detector", "face_model", "face_margin", "max_faces", "max_pixels"}
_BOX = pa.struct([pa.field(side, pa.int32()) for side in ("left", "top", "width", "height")])


@dataclass(frozen=True, slots=True)
class _PictureData:
    """The data of a picture that its row needs."""

    input: Image | None
    """uint8 [H, W, 3]; None without a network input."""
    faces: int
    box: Box | None
    statistics: ImageStatistics | None


def configured_detectors(settings: Settings) -> Detectors:
    """The service's face detectors with these settings."""
    return Detectors(settings.face_detector, face_model=settings.face_model, cache_dir=settings.cache_dir)


@dataclass(frozen=True, kw_only=True)
class FetchedModel:
    """A model that was fetched and passed the service's checks."""

    live: LiveModel
    folder: Path
    """Its files; the folder exists until the block ends."""
    warnings: tuple[str, ...]


@contextmanager
def fetched_model(settings: Settings, location: str, *, cache: str) -> Iterator[FetchedModel]:
    """Fetch the model of a location in a child process and admit it as the service does.

    Args:
        settings: the service's.
        location: as MIEN_MODEL.
        cache: folder below the service's cache folder; not the service's own, whose poller removes files that
            it does not know.

    Raises:
        LocationInvalid: `location` is not a model location.
        RegistryUnavailable: the model is not registered or could not be fetched.
        ModelRefused: the model failed a check.
        FaceDetectorError: its face detector cannot be used here.
    """
    keys, uri = settings.trusted_keys, settings.tracking_uri.reveal()
    with resolve_model(
        location, cache=settings.cache_dir / cache, tracking_uri=uri, trusted_keys=keys
    ) as found:
        live = admit(
            found.folder,
            threads=1,
            max_batch=BATCH,
            limit_s=settings.model_timeout_s,
            signed=signature_check(keys),
        )
        notes = configured_detectors(settings).adopt(found.folder)
        yield FetchedModel(live=live, folder=found.folder, warnings=(*found.warnings, *live.warnings, *notes))


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
        """Create a scorer; this switches off OpenCV's own threads in this process.

        Each picture has a thread already, and a cascade with several threads finds boxes in random order.

        Args:
            live: the model.
            reader: reader of pictures, configured like the service's.
            faces: same values as `?faces=` of `/detect`.
            embedding: whether rows include the model's features.
            max_bytes: maximum size of a file; a larger one is not read.
            threads: number of pictures processed at once; None: the usable cores.

        Raises:
            BadRequest: `faces` asks for faces while face detection is switched off.
            FaceDetectorError: the model's detector cannot be used here.
        """
        reader.check(live.contract.input, faces)
        self.live = live
        self.reader = reader
        self._faces: FacesMode = faces
        self.embedding = embedding
        """Whether rows include the model's features."""
        self._max_bytes = max_bytes
        self.threads = threads or usable_cores()
        """Number of pictures processed at once."""
        self.plan: dict[str, Any] = {
            "model": live.identity.name,
            "version": live.identity.version,
            "sha256": live.identity.sha256,
            "faces": faces,
            "embedding": embedding,
            "max_bytes": max_bytes,
        }
        """Everything that determines the rows, as JSON values; `configured` adds the reader's settings."""
        self.schema = _schema(live, embedding=embedding)
        """Schema of the tables."""
        cv2.setNumThreads(1)

    @classmethod
    def configured(
        cls, settings: Settings, live: LiveModel, *, faces: FacesMode = "auto", embedding: bool = False
    ) -> Scorer:
        """Create a scorer that reads pictures as the service does with these settings; see `__init__`."""
        detectors = configured_detectors(settings)
        reader = PictureReader(
            detectors,
            max_pixels=settings.max_pixels,
            max_faces=settings.max_faces,
            margin=settings.face_margin,
        )
        made = cls(live, reader, faces=faces, embedding=embedding, max_bytes=settings.max_bytes)
        made.plan |= settings.model_dump(mode="json", include=_READING)
        made.plan["detector"] = detectors.name(live.contract.input)
        return made

    def tables(self, folder: Path, chunks: Iterable[Sequence[str]]) -> Iterator[pa.Table]:
        """Yield one table for each chunk, in order; the next one is computed while the caller handles one.

        Args:
            folder: folder that the paths are relative to.
            chunks: paths of files. The same chunks give the same tables on any number of cores.

        Raises:
            OSError: this process cannot open more files.
            MemoryError: the memory is not sufficient.
        """
        ahead: deque[list[Future[list[dict[str, Any]]]]] = deque()
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="score")
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
        """Return the rows of a few files, whose pictures go through the network together."""
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
        """Return the picture of a file, or the type of its problem."""
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
            # One picture that makes a library fail must not end a run of a million pictures.
            _log.exception("%s could not be scored", path)
            return INTERNAL.slug

    def _read(self, path: Path) -> bytes:
        with path.open("rb") as file:
            data = file.read(self._max_bytes + 1)
        if len(data) > self._max_bytes:
            raise PayloadTooLarge(limit=self._max_bytes)
        return data

    def _row(self, name: str) -> dict[str, Any]:
        identity = self.live.identity
        # Bytes of a name that are not UTF-8 are written as escapes.
        path = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        return {"path": path, "model_version": identity.version, "model_sha256": identity.sha256}

    def _answer(self, prediction: Prediction, index: int, statistics: ImageStatistics) -> dict[str, Any]:
        probabilities, embedding = prediction.probabilities[index], prediction.embedding[index]
        summary = summarize_output(probabilities, embedding)
        classes = self.live.contract.classes
        answer = {
            "emotion": classes[int(probabilities.argmax())],
            "probability": summary.confidence,
            **{f"p_{name}": value for name, value in zip(classes, probabilities.tolist(), strict=True)},
            "brightness": statistics.brightness,
            "contrast": statistics.contrast,
            "sharpness": statistics.sharpness,
            "entropy": summary.entropy,
        }
        if (conformal := self.live.contract.conformal) is not None:
            answer["set"] = prediction_set(probabilities, classes, conformal.threshold)
        if prediction.novelty is not None:
            answer["novelty"] = float(prediction.novelty[index])
        if self.embedding:
            answer["embedding"] = embedding.tolist()
        return answer


def _seen(picture: Picture) -> _PictureData:
    return _PictureData(
        # A copy: a slice would keep the inputs of all faces in memory.
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
    if live.contract.conformal is not None:
        fields.append(pa.field("set", pa.list_(pa.string())))
    if live.contract.novelty is not None:
        fields.append(pa.field("novelty", pa.float64()))
    if embedding:
        fields.append(pa.field("embedding", pa.list_(pa.float32())))
    fields.append(pa.field("model_version", pa.string(), nullable=False))
    fields.append(pa.field("model_sha256", pa.string(), nullable=False))
    return pa.schema(fields)


CHUNK = 1024
"""Files of one shard: seconds of work on two cores, the most that a kill can cost."""


def score_folder(
    scorer: Scorer,
    folder: Path,
    out: Path,
    *,
    chunk: int = CHUNK,
    notify: Callable[[ScoringProgress], None] = lambda progress: None,
) -> ScoringProgress:
    """Score a folder into one Parquet file, or continue an earlier run.

    Args:
        scorer: scorer with the model.
        folder: folder of pictures, at any depth.
        out: file that is written at the end; its folder must exist.
        chunk: number of files in one shard.
        notify: called once before the first shard and after each.

    Raises:
        ScoringRefused: there is nothing to score, the result cannot be written, another run writes it, or
            the existing file or shards belong to another model or other options.
    """
    plan = {**scorer.plan, "folder": str(folder.resolve()), "chunk": chunk, "columns": scorer.schema.names}
    parts = Shards(out, plan)
    try:
        with parts.alone():
            finished = parts.finished() or _go_on(scorer, folder, parts, chunk=chunk, notify=notify)
            parts.remove()
            return finished
    except OSError as error:
        raise ScoringRefused(
            f"{error.filename or out}: {error.strerror or error}; correct that and run the same command again"
        ) from error


def _go_on(
    scorer: Scorer, folder: Path, parts: Shards, *, chunk: int, notify: Callable[[ScoringProgress], None]
) -> ScoringProgress:
    listing = parts.begin(lambda: files_in(folder, without=parts.out), shown=folder)
    # Shards are written in order, so there are no gaps.
    number, failed = len(parts.files()), parts.failed()

    def progress() -> ScoringProgress:
        return ScoringProgress(files=listing.count, done=min(number * chunk, listing.count), failed=failed)

    notify(progress())
    for table in scorer.tables(folder, listing.chunks(chunk, skip=number)):
        parts.write(number, table)
        number += 1
        failed += failed_rows(table)
        notify(progress())
    parts.join(scorer.schema)
    return progress()
