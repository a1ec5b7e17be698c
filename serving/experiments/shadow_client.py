"""The shadow process, from the service's side: started, asked, and ended.

What the service and its shadow process say to each other: JSON, and the picture's bytes as they are.

service → shadow   Setup, once; then Question and, when it has a picture, the file's bytes
shadow → service   Reply, one for each question
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson

from serving.detection.image_reader import DetectorChoice, FacesMode
from serving.inference.model_slot import ModelIdentity
from serving.processes import Child


@dataclass(frozen=True, kw_only=True)
class ShadowSetup:
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
class ShadowReply:
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


def send_setup(connection: Connection, setup: ShadowSetup) -> None:
    """Begin."""
    connection.send_bytes(orjson.dumps(asdict(setup), default=str))


def read_setup(connection: Connection) -> ShadowSetup:
    """The reverse."""
    values = orjson.loads(connection.recv_bytes())
    values["cache"] = Path(values["cache"])
    values["face_model"] = Path(values["face_model"]) if values["face_model"] else None
    return ShadowSetup(**values)


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


def send_reply(connection: Connection, reply: ShadowReply) -> None:
    """Answer a question."""
    connection.send_bytes(orjson.dumps(reply))


def read_reply(connection: Connection) -> ShadowReply:
    """The reverse.

    Raises:
        EOFError: the shadow process is gone.
    """
    values: dict[str, Any] = orjson.loads(connection.recv_bytes())
    model = values.pop("model")
    values["logs"] = tuple(tuple(line) for line in values["logs"])
    return ShadowReply(model=ModelIdentity.from_dict(model) if model else None, **values)


_LOOK_S = 0.2
# Its priority is the lowest there is: on a machine that is busy for minutes, it waits for minutes.
_HUNG_S = 300.0
# It ends its follower first.
_END_S = 3.0


class ShadowChild:
    """One process; used by one thread."""

    def __init__(self, setup: ShadowSetup) -> None:
        """Start it.

        Raises:
            OSError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            try:
                self._process = Child("serving.experiments.shadow_worker", [str(number)], pass_fds=[number])
            except OSError:
                ours.close()
                raise
        self._connection = Connection(ours.detach())
        try:
            send_setup(self._connection, setup)
        except OSError:
            self.end(at_once=True)
            raise

    def ask(self, data: bytes | None, faces: FacesMode, *, ending: Callable[[], bool]) -> ShadowReply | None:
        """Have a picture looked at, or ask only how it stands; None when the service ends meanwhile.

        Raises:
            EOFError: the process ended.
            OSError: the same, while it was being asked.
            TimeoutError: it hangs.
        """
        ask(self._connection, data=data, faces=faces)
        deadline = time.monotonic() + _HUNG_S
        while not self._connection.poll(_LOOK_S):
            if ending():
                return None
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer within {_HUNG_S:g} s")
        return read_reply(self._connection)

    def kill(self) -> None:
        """End it at once; may be called from another thread."""
        self._process.process.kill()

    def end(self, *, at_once: bool) -> int:
        """Have it end; its exit status."""
        self._connection.close()
        return self._process.end(grace_s=0.0 if at_once else _END_S)
