"""Frames to faces with probabilities, on all cores; one table for each chunk of frames.

The calling thread decodes, workers find faces and run the model. Only a few frames are in memory, however
long the clip is. The same clip gives the same tables on any number of cores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from serving.detection.image_reader import Picture
from serving.inference.onnx_classifier import Prediction
from serving.score.scorer import Scorer
from serving.score.video.clip import Frame

BOX = ("x", "y", "width", "height")
"""Columns of a face's box: left, top, width, height, px of the upright frame."""
EMBEDDING = "embedding"
# Frames of one worker's turn: their faces go through the network together. Fewer where frames are large.
_TURN, _TURN_BYTES = 4, 32 << 20

Rows = list[dict[str, Any]]


def probability_columns(classes: Iterable[str]) -> list[str]:
    """Columns of the probabilities that the model gave."""
    return [f"p_{name}" for name in classes]


def faces_schema(scorer: Scorer) -> pa.Schema:
    """Schema of the tables; the embedding is for tracking."""
    contract = scorer.live.contract
    fields = [
        pa.field("time_s", pa.float64(), nullable=False),
        pa.field("frame", pa.int64(), nullable=False),
        *(pa.field(side, pa.int32(), nullable=False) for side in BOX),
        pa.field("score", pa.float32(), nullable=False),
        *(pa.field(name, pa.float32(), nullable=False) for name in probability_columns(contract.classes)),
    ]
    if contract.novelty is not None:
        fields.append(pa.field("novelty", pa.float32(), nullable=False))
    fields.append(pa.field(EMBEDDING, pa.list_(pa.float32()), nullable=False))
    return pa.schema(fields)


def find_faces(scorer: Scorer, frames: Iterable[Frame], *, chunk: int) -> Iterator[pa.Table]:
    """Yield the faces of each chunk of frames, in order; the next ones are computed meanwhile.

    Args:
        scorer: scorer with the model.
        frames: frames of a clip, in order.
        chunk: number of frames in one table.

    Raises:
        VideoUnreadable: a frame is too large.
    """
    schema = faces_schema(scorer)
    pool = ThreadPoolExecutor(scorer.threads, thread_name_prefix="score")
    try:
        for _, turns in groupby(_results(pool, scorer, _turns(frames, chunk)), key=itemgetter(0)):
            yield pa.Table.from_pylist([row for _, rows in turns for row in rows], schema=schema)
    finally:
        pool.shutdown(cancel_futures=True)


def _turns(frames: Iterable[Frame], chunk: int) -> Iterator[tuple[int, list[Frame]]]:
    """Yield the frames of one worker's turn, with the number of their chunk."""
    turn: list[Frame] = []
    for index, frame in enumerate(frames):
        turn.append(frame)
        most = max(1, min(_TURN, _TURN_BYTES // frame.image.nbytes))
        if len(turn) >= most or (index + 1) % chunk == 0:
            yield index // chunk, turn
            turn = []
    if turn:
        yield index // chunk, turn


def _results(
    pool: ThreadPoolExecutor, scorer: Scorer, turns: Iterable[tuple[int, list[Frame]]]
) -> Iterator[tuple[int, Rows]]:
    """Yield the rows of each turn in order; one turn waits for each worker at most."""
    ahead: deque[tuple[int, Future[Rows]]] = deque()
    for number, turn in turns:
        ahead.append((number, pool.submit(_rows, scorer, turn)))
        while len(ahead) > 2 * scorer.threads:
            first, future = ahead.popleft()
            yield first, future.result()
    for number, future in ahead:
        yield number, future.result()


def _rows(scorer: Scorer, frames: list[Frame]) -> Rows:
    live = scorer.live
    pictures = [scorer.reader.examine(frame.image, live.contract.input, "all") for frame in frames]
    inputs = np.concatenate([picture.inputs for picture in pictures])
    prediction = live.classifier.predict(inputs) if len(inputs) else None
    rows: Rows = []
    for frame, picture in zip(frames, pictures, strict=True):
        if prediction is not None:
            rows += _rows_of(frame, picture, prediction, len(rows), live.contract.classes)
    return rows


def _rows_of(
    frame: Frame, picture: Picture, prediction: Prediction, start: int, classes: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    names = probability_columns(classes)
    for index, face in enumerate(picture.faces, start):
        row = {"time_s": frame.time_s, "frame": frame.number, "score": face.score}
        row |= zip(BOX, face.box, strict=True)
        row |= zip(names, prediction.probabilities[index].tolist(), strict=True)
        if prediction.novelty is not None:
            row["novelty"] = float(prediction.novelty[index])
        row[EMBEDDING] = prediction.embedding[index].tolist()
        yield row
