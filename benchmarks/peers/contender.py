"""A running server that is measured, the load on it, and the portrait that it is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Load, measure
from benchmarks.peers.recipes import BINARY, FORM, Way, as_form, as_is
from benchmarks.peers.server import Server
from benchmarks.service import Service
from sample_faces.dataset import SampleSpec, draw_image, encode, plan_shots

PORTRAIT_PX = 300
"""Side of a portrait; a face of the sample drawn at this size is a JPEG of 16 kB."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way of asking one running server."""

    title: str
    kind: str
    """`ours`, `complete` (a serving product), `library` or `bare`."""
    port: int
    way: Way
    cpu_s: Callable[[], float]
    """Processor time of its server so far."""
    rest: Callable[[], None]
    """Waits for what the server does besides, such as drift over the answers so far."""

    @property
    def sent(self) -> str:
        """What it is compared by."""
        return "form" if self.way.content_type == FORM else "body"

    @property
    def url(self) -> str:
        """Address that pictures are sent to."""
        return f"http://127.0.0.1:{self.port}{self.way.path}"


def our_ways(title: str) -> tuple[Way, Way]:
    """How this service is asked when no faces are searched: the file as it is, and as a form."""
    path = "/detect?faces=none"
    return (
        Way(title=title, path=path, content_type=BINARY, encode=as_is),
        Way(title=f"{title}, form", path=path, content_type=FORM, encode=as_form),
    )


def own(running: Service, way: Way) -> Contender:
    """This service, asked in one way."""
    return Contender(
        title=way.title, kind="ours", port=running.port, way=way, cpu_s=running.cpu_s, rest=running.rest
    )


def peer(running: Server, way: Way, *, kind: str) -> Contender:
    """Another server, asked in one way."""
    return Contender(
        title=way.title, kind=kind, port=running.port, way=way, cpu_s=running.cpu_s, rest=lambda: None
    )


def loaded(contender: Contender, body: Path, *, connections: int, seconds: float) -> tuple[Load, float]:
    """Put load on a server.

    Returns:
        What the generator measured, and the processor time of one request, milliseconds.

    Raises:
        RuntimeError: a request failed, or none was answered.
    """
    before_s = contender.cpu_s()
    load = measure(
        contender.url,
        body,
        connections=connections,
        seconds=seconds,
        content_type=contender.way.content_type,
    )
    cpu_s = contender.cpu_s() - before_s
    # Not to burden the next one.
    contender.rest()
    if load.failed or not load.requests:
        raise RuntimeError(
            f"{contender.title}: {load.failed} of {load.requests} requests failed in {seconds} s"
        )
    return load, 1e3 * cpu_s / load.requests


def portrait(number: int = 0) -> bytes:
    """Draw a face, larger than the network's input as a user's picture is: JPEG, quality 90."""
    spec = SampleSpec(per_class=2, seed=20, size_px=PORTRAIT_PX)
    return encode(draw_image(spec, plan_shots(spec)[6 + number]))
