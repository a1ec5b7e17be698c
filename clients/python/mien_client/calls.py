"""The calls of the client: what each sends, and which answer it expects. `client` sends them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import BinaryIO, Generic, Literal, TypeAlias, TypeVar
from urllib.parse import quote

from mien_client import answers

T = TypeVar("T")
Picture: TypeAlias = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO
"""A JPEG, PNG, WebP or BMP file: its bytes, its path, or a file opened for reading bytes."""
Faces: TypeAlias = Literal["auto", "all", "none"]
"""What is classified: every face, else the whole picture; faces only; the whole picture as one face."""
File: TypeAlias = tuple[str, tuple[str, bytes, str]]
"""One field of a form: its name; name, bytes and media type of the file."""


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """One request, with everything that a repetition needs."""

    path: str
    """The path's template, as in the OpenAPI document."""
    answer: type[T]
    """A dataclass of `answers`; `bytes` or `NoneType` for an answer that is not JSON."""
    method: Literal["GET", "POST", "DELETE"] = "POST"
    id: str = ""
    """In place of the template's `{id}`."""
    query: Mapping[str, str | float] = field(default_factory=dict)
    accept: str = "application/json"
    picture: bytes | None = None
    files: Sequence[File] = ()
    json: Mapping[str, str | int] | None = None
    repeatable: bool = True
    """Whether it may be sent again when the service may already have done what it asks for."""
    probe: bool = False
    """Whether it asks for the state of this moment, and is sent once."""

    @property
    def target(self) -> str:
        """The path."""
        return self.path.format(id=quote(self.id, safe=""))


def detect(
    picture: Picture, *, faces: Faces = "auto", min_probability: float = 0.0
) -> Call[answers.Detection]:
    """Find the faces of one picture and classify their emotions.

    Args:
        picture: see `Picture`; a path or file is read when the method is called.
        faces: see `Faces`.
        min_probability: below it `emotion` is None, in [0, 1].

    Raises:
        PictureRefused: the picture cannot be used; `problem.detail` says why.
    """
    query = _options(faces, min_probability)
    return Call(path="/detect", answer=answers.Detection, query=query, picture=_read(picture, 1)[1])


def detect_batch(
    pictures: Iterable[Picture], *, faces: Faces = "auto", min_probability: float = 0.0
) -> Call[answers.Batch]:
    """Classify several pictures with the same model; one that cannot be used does not fail the others."""
    if isinstance(pictures, str | bytes):
        raise TypeError("pictures is one picture, expected several; call detect, or give a list")
    files = [
        ("file", (*_read(picture, number), "application/octet-stream"))
        for number, picture in enumerate(pictures, start=1)
    ]
    if not files:
        raise ValueError("pictures is empty, expected at least one")
    query = _options(faces, min_probability)
    return Call(path="/detect/batch", answer=answers.Batch, query=query, files=files)


def explain(
    picture: Picture, *, faces: Faces = "auto", min_probability: float = 0.0
) -> Call[answers.Explanation]:
    """Classify as `detect` does, with the heatmap of every face."""
    query = _options(faces, min_probability)
    return Call(path="/explain", answer=answers.Explanation, query=query, picture=_read(picture, 1)[1])


def explain_png(picture: Picture, *, faces: Faces = "auto", min_probability: float = 0.0) -> Call[bytes]:
    """Draw heatmaps, boxes and labels into the picture; returns a PNG file."""
    query = _options(faces, min_probability)
    return Call(path="/explain", answer=bytes, query=query, picture=_read(picture, 1)[1], accept="image/png")


def feedback(id: str, emotion: str, *, face: int = 0) -> Call[answers.FeedbackStored]:
    """Store the true emotion of a face of an earlier answer; the last one counts.

    Args:
        id: of the answer.
        emotion: one of the answer's emotions.
        face: index in the answer's `faces`; 0: the largest face, or the whole picture.
    """
    json: Mapping[str, str | int] = {"id": id, "emotion": emotion, "face": face}
    return Call(path="/feedback", answer=answers.FeedbackStored, json=json, repeatable=False)


def prediction(id: str) -> Call[answers.Prediction]:
    """Return an earlier answer with its lineage."""
    return Call(method="GET", path="/predictions/{id}", answer=answers.Prediction, id=id)


def delete_prediction(id: str) -> Call[None]:
    """Delete an earlier answer, its feedback and its picture; needs a key with scope `admin`."""
    return Call(method="DELETE", path="/predictions/{id}", answer=NoneType, id=id, repeatable=False)


def label_tasks(limit: int = 10, *, labeller: str | None = None) -> Call[answers.Tasks]:
    """Return the kept pictures that a person should label next; needs a key with scope `label`.

    Args:
        limit: maximum number of pictures, 1 to 20.
        labeller: the person's name if several people share one key: 1 to 32 letters, digits, `.`, `-`, `_`.
            Their labels are stored as `KEY/NAME`. None: the key's name.

    Raises:
        AccessRefused: the key does not have the scope `label`.
    """
    query: Mapping[str, str | float] = {"limit": limit, **_by(labeller)}
    return Call(method="GET", path="/labels/next", answer=answers.Tasks, query=query)


def label_picture(id: str) -> Call[bytes]:
    """Return a kept picture as the model got it: a JPEG file, at most 640 px wide and high.

    Args:
        id: of a task.

    Raises:
        NotFound: the picture is not kept, or not any more.
    """
    return Call(method="GET", path="/labels/{id}/picture", answer=bytes, id=id, accept="image/jpeg")


def label(id: str, label: str, *, labeller: str | None = None) -> Call[answers.LabelStored]:
    """Store a person's label of a kept picture; a second one by the same person replaces the first.

    Args:
        id: of a task.
        label: one of the task's classes, `not-a-face`, or `skip` if the person cannot tell.
        labeller: see `label_tasks`.

    Raises:
        RequestRefused: the label is not one of these.
        NotFound: the picture is not kept.
    """
    json: Mapping[str, str | int] = {"id": id, "label": label, **_by(labeller)}
    return Call(path="/labels", answer=answers.LabelStored, json=json)


def withdraw_label(id: str, *, labeller: str | None = None) -> Call[None]:
    """Withdraw a person's own label, so that the picture may be offered again; `NotFound` without one."""
    path = "/labels/{id}/mine"
    return Call(method="DELETE", path=path, answer=NoneType, id=id, query=_by(labeller), repeatable=False)


def labels() -> Call[answers.Labels]:
    """Return the counts of all labels, their agreement, and the disputed pictures."""
    return Call(method="GET", path="/labels", answer=answers.Labels)


def model() -> Call[answers.Model]:
    """Return the live model, its contract and lineage."""
    return Call(method="GET", path="/model", answer=answers.Model)


def model_history(limit: int = 100) -> Call[answers.History]:
    """Return the newest switches of the model, at most `limit` (1 to 1,000)."""
    return Call(method="GET", path="/model/history", answer=answers.History, query={"limit": limit})


def live() -> Call[answers.ServiceAlive]:
    """Ask once whether the process answers."""
    return Call(method="GET", path="/livez", answer=answers.ServiceAlive, probe=True)


def ready() -> Call[answers.ServiceReady]:
    """Ask once whether a model is live; raises `Unavailable` with the reason if none is."""
    return Call(method="GET", path="/readyz", answer=answers.ServiceReady, probe=True)


def _options(faces: Faces, min_probability: float) -> Mapping[str, str | float]:
    return {"faces": faces, "min_probability": min_probability}


def _by(labeller: str | None) -> Mapping[str, str]:
    return {} if labeller is None else {"labeller": labeller}


def _read(picture: Picture, number: int) -> tuple[str, bytes]:
    """Return the picture's name and its bytes, which are read once: a repetition needs them again."""
    if isinstance(picture, bytes | bytearray | memoryview):
        return f"picture {number}", bytes(picture)
    if isinstance(picture, str | os.PathLike):
        return Path(picture).name, Path(picture).read_bytes()
    data = picture.read()
    if not isinstance(data, bytes):
        raise TypeError(f"the file gives {type(data).__name__}, expected bytes; open it with mode 'rb'")
    name = getattr(picture, "name", None)
    return (Path(name).name if isinstance(name, str) else f"picture {number}"), data
