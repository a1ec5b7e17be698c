"""Client of the shadow process, and the messages between them: JSON, and a picture's bytes unchanged.

service → shadow   `ShadowSetup`, once; then `ShadowQuestion`s, each followed by its picture's bytes
shadow → service   `ShadowReply`, one for each question
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path

import orjson
from pydantic import TypeAdapter

from serving.contract import InputSpec
from serving.detection.detectors import DetectorChoice
from serving.detection.image_reader import FacesMode
from serving.inference.model_slot import ModelIdentity
from serving.processes import Child


@dataclass(frozen=True, kw_only=True)
class ShadowSetup:
    """Configuration of the shadow process; the fields have the meaning of the settings with these names."""

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
    trusted_keys: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ShadowQuestion:
    """A picture for the shadow, or only a request for its status."""

    data: bytes | None = None
    """The picture, as in `serving.detection.routing.LiveAnswer`; None without one."""
    faces: FacesMode = "none"
    tensor: InputSpec | None = None
    """What `data` was prepared for by the client; None for a file."""


@dataclass(frozen=True, kw_only=True)
class ShadowReply:
    """Status of the shadow, and its answer if the question had a picture."""

    model: ModelIdentity | None
    """The shadow model; None while there is none."""
    reason: str
    """Why there is no model."""
    input: InputSpec | None = None
    """What the network takes; None without a model."""
    skipped: bool = False
    """Whether the picture was not looked at: it is a tensor for another input."""
    probabilities: Mapping[str, float] | None = None
    """Probability of each emotion for the first input; None without an input or after a failure."""
    cost_s: float = 0.0
    """As `serving.detection.routing.Turn.cost_s`."""
    error: str | None = None
    """Why the shadow could not answer the picture."""
    logs: tuple[tuple[str, int, str], ...] = ()
    """(logger, level, message) of each log line since the last reply; the service writes them to its log."""


def send_setup(connection: Connection, setup: ShadowSetup) -> None:
    """Send the configuration; the first message."""
    connection.send_bytes(orjson.dumps(asdict(setup), default=str))


def read_setup(connection: Connection) -> ShadowSetup:
    """Receive the configuration."""
    values = orjson.loads(connection.recv_bytes())
    values["cache"] = Path(values["cache"])
    values["face_model"] = Path(values["face_model"]) if values["face_model"] else None
    values["trusted_keys"] = tuple(map(Path, values["trusted_keys"]))
    return ShadowSetup(**values)


def ask(connection: Connection, question: ShadowQuestion) -> None:
    """Send a question."""
    has_picture = question.data is not None
    head = {"faces": question.faces, "tensor": question.tensor, "picture": has_picture}
    connection.send_bytes(orjson.dumps(head))
    if question.data is not None:
        connection.send_bytes(question.data)


def read_question(connection: Connection) -> ShadowQuestion:
    """Receive a question.

    Raises:
        EOFError: the service has ended.
    """
    head = orjson.loads(connection.recv_bytes())
    return ShadowQuestion(
        data=connection.recv_bytes() if head["picture"] else None,
        faces=head["faces"],
        tensor=InputSpec(**head["tensor"]) if head["tensor"] else None,
    )


def send_reply(connection: Connection, reply: ShadowReply) -> None:
    """Answer a question."""
    connection.send_bytes(orjson.dumps(reply))


def read_reply(connection: Connection) -> ShadowReply:
    """Receive the reply to a question.

    Raises:
        EOFError: the shadow process has ended.
    """
    return _reply_reader().validate_json(connection.recv_bytes())


@cache
def _reply_reader() -> TypeAdapter[ShadowReply]:
    return TypeAdapter(ShadowReply)


_LOOK_S = 0.2
# The process has the lowest priority: on a machine that is busy for minutes it waits for minutes.
_HUNG_S = 300.0
# The process ends its own poller first.
_END_S = 3.0


class ShadowChild:
    """One shadow process; used by one thread."""

    def __init__(self, setup: ShadowSetup) -> None:
        """Start the process.

        Raises:
            OSError: the process cannot be started.
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

    def ask(self, question: ShadowQuestion, *, ending: Callable[[], bool]) -> ShadowReply | None:
        """Send a question and wait for the reply; None when the service ends meanwhile.

        Raises:
            EOFError: the process ended before it replied.
            OSError: the process ended while the question was sent.
            TimeoutError: the process hangs.
        """
        ask(self._connection, question)
        deadline = time.monotonic() + _HUNG_S
        while not self._connection.poll(_LOOK_S):
            if ending():
                return None
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer within {_HUNG_S:g} s")
        return read_reply(self._connection)

    def kill(self) -> None:
        """Kill the process at once; may be called from another thread."""
        self._process.process.kill()

    def end(self, *, at_once: bool) -> int:
        """End the process and return its exit status."""
        self._connection.close()
        return self._process.end(grace_s=0.0 if at_once else _END_S)
