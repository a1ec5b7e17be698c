"""What the service and its shadow process say to each other: JSON, and the picture's bytes as they are.

service → shadow   Setup, once; then Question and, when it has a picture, the file's bytes
shadow → service   Reply, one for each question
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson

from serving.detection.image_reader import DetectorChoice, FacesMode
from serving.runtime.identity import ModelIdentity


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What the shadow process has to know; as the service's settings of the same names."""

    location: str
    cache: Path
    tracking_uri: str
    poll_s: float
    model_timeout_s: float
    face_detector: DetectorChoice
    face_model: Path | None
    face_margin: float
    max_faces: int
    max_pixels: int


@dataclass(frozen=True, kw_only=True)
class Reply:
    """How the shadow stands, and what it says of the picture, if there was one."""

    model: ModelIdentity | None
    """That looks at pictures."""
    reason: str
    """Why there is none."""
    probabilities: Mapping[str, float] | None = None
    """Of the first input, by emotion; None without an input or a picture, or when it failed."""
    cost_s: float = 0.0
    """As `serving.detection.routing.Turn.cost_s`."""
    error: str | None = None
    """Why it failed at the picture."""
    logs: tuple[tuple[str, int, str], ...] = ()
    """(logger, level, message) since the last reply: the service's log has one form."""


def send_setup(connection: Connection, setup: Setup) -> None:
    """Begin."""
    connection.send_bytes(orjson.dumps(asdict(setup), default=str))


def read_setup(connection: Connection) -> Setup:
    """The reverse."""
    values = orjson.loads(connection.recv_bytes())
    values["cache"] = Path(values["cache"])
    values["face_model"] = Path(values["face_model"]) if values["face_model"] else None
    return Setup(**values)


def ask(connection: Connection, *, data: bytes | None, faces: FacesMode) -> None:
    """Send a picture, or only ask how the shadow stands."""
    connection.send_bytes(orjson.dumps({"faces": faces, "picture": data is not None}))
    if data is not None:
        connection.send_bytes(data)


def read_question(connection: Connection) -> tuple[bytes | None, FacesMode]:
    """The reverse.

    Raises:
        EOFError: the service is gone.
    """
    question = orjson.loads(connection.recv_bytes())
    return (connection.recv_bytes() if question["picture"] else None), question["faces"]


def send_reply(connection: Connection, reply: Reply) -> None:
    """Answer a question."""
    connection.send_bytes(orjson.dumps(reply))


def read_reply(connection: Connection) -> Reply:
    """The reverse.

    Raises:
        EOFError: the shadow process is gone.
    """
    values: dict[str, Any] = orjson.loads(connection.recv_bytes())
    model = values.pop("model")
    values["logs"] = tuple(tuple(line) for line in values["logs"])
    return Reply(model=ModelIdentity.from_dict(model) if model else None, **values)
