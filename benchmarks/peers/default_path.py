"""`python -m benchmarks.peers.default_path [--quick]`: a form, faces searched; 8 minutes.

A picture of 1,280 × 960 px with four faces, and a portrait of 300 px, posted as a form with no option set.
This service has everything on and finds faces with YuNet. Beside it: the smallest FastAPI handler with the
same detector and the same network, and the libraries `fer` (Haar's cascade at full size, mini-XCEPTION) and
`facex` behind the smallest handler, each with a worker for each core in an environment of its own. wrk asks
them in turn. The libraries run their own networks, so that speed is compared and not accuracy; the table says
how many faces each one finds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2

from benchmarks import machine
from benchmarks.faces import draw_face_scene
from benchmarks.load import Load
from benchmarks.models import exported
from benchmarks.peers.contender import PORTRAIT_PX, Contender, loaded, own, peer, portrait
from benchmarks.peers.environments import default_cache, environment
from benchmarks.peers.face_recipes import face_recipes
from benchmarks.peers.recipes import FORM, Way, as_form
from benchmarks.peers.results import median, spread
from benchmarks.peers.server import ask, serving
from benchmarks.service import registry_with, service
from pipelines.weights.face_model import FaceModelUnavailable, addresses, download_face_model, find_face_model
from serving.contract.faces import YUNET_FILE
from serving.cores import usable_cores

_ARCHITECTURE, _SIDE_PX = "mobilenet_v2", 96
_SEED = 15
_FACES, _SMALLEST_PX = 4, 80
"""Of the group: all can be seen, and the smallest has this height, brows to chin."""
_QUALITY = 90
_CONNECTIONS = (1, 8)
_OURS = "mien"


@dataclass(frozen=True, kw_only=True)
class FaceRow:
    """One server, one picture, one number of clients; sequences are by round."""

    title: str
    kind: str
    picture: str
    connections: int
    faces: int
    """Found in this picture."""
    per_s: Sequence[float]
    p50_ms: Sequence[float]
    p99_ms: Sequence[float]
    cpu_ms: Sequence[float]
    """Processor time of all its processes for one request."""
    lead: Sequence[float]
    """This service's requests per second over this row's."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The default request: a form, faces searched.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6, help="of each measurement; wrk takes whole seconds")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="folder of the environments")
    parser.add_argument("--json", type=Path, help="file for the figures of every round")
    parser.add_argument("--quick", action="store_true", help="one round, three seconds each")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is not there: apt-get install wrk")
    rounds, seconds = (1, 3) if arguments.quick else (arguments.rounds, arguments.seconds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    yunet = _yunet(parser)
    programs = {recipe.name: environment(recipe.name, arguments.cache) for recipe in face_recipes()}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        rows = _measured(stack, Path(folder), programs, yunet=yunet, rounds=rounds, seconds=seconds)
    print("\n".join(table(rows)), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": [asdict(row) for row in rows]}, indent=1), "utf-8")


def _yunet(parser: argparse.ArgumentParser) -> Path:
    found, _ = find_face_model(())
    if found is not None:
        return found
    try:
        return download_face_model(addresses(), timeout_s=10.0)
    except FaceModelUnavailable as error:
        parser.error(f"YuNet's file is not available ({error}); name it with MIEN_FACE_MODEL")


def group_picture() -> bytes:
    """The group, JPEG: the first scene of the seed in which four faces can be seen."""
    for index in range(1000):
        scene = draw_face_scene(_SEED, index)
        if len(scene.faces) == _FACES and min(height for *_, height in scene.faces) >= _SMALLEST_PX:
            picture = cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR)
            return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    raise RuntimeError(f"no scene of seed {_SEED} has {_FACES} faces of {_SMALLEST_PX} px")


def _measured(
    stack: ExitStack,
    folder: Path,
    programs: Mapping[str, Path],
    *,
    yunet: Path,
    rounds: int,
    seconds: float,
) -> list[FaceRow]:
    pictures = {
        f"group of {_FACES}, 1,280 × 960 px": group_picture(),
        f"portrait, {PORTRAIT_PX} px": portrait(),
    }
    servers = list(_servers(stack, folder, programs, yunet=yunet, picture=next(iter(pictures.values()))))
    faces = {
        (server.title, name): _faces(server, picture)
        for server in servers
        for name, picture in pictures.items()
    }
    print(
        f"`{_ARCHITECTURE}` at {_SIDE_PX} px; {usable_cores()} workers each; wrk on the same cores; "
        f"{rounds} × {seconds} s; load of the machine before: {machine.load():.1f}.\n",
        flush=True,
    )
    bodies = {}
    for number, (name, picture) in enumerate(pictures.items()):
        bodies[name] = folder / f"body-{number}"
        bodies[name].write_bytes(as_form(picture))
    for server in servers:
        loaded(server, bodies[next(iter(pictures))], connections=2, seconds=3)
    figures: dict[tuple[str, str, int], list[tuple[Load, float]]] = defaultdict(list)
    for number in range(rounds):
        first = number % len(servers)
        for name, body in bodies.items():
            for connections in _CONNECTIONS:
                for server in (*servers[first:], *servers[:first]):
                    load = loaded(server, body, connections=connections, seconds=seconds)
                    figures[server.title, name, connections].append(load)
    return [
        _row(
            server,
            name,
            connections,
            found=faces[server.title, name],
            loads=figures[server.title, name, connections],
            ours=figures[_OURS, name, connections],
        )
        for name in bodies
        for connections in _CONNECTIONS
        for server in servers
    ]


def _row(
    server: Contender,
    picture: str,
    connections: int,
    *,
    found: int,
    loads: Sequence[tuple[Load, float]],
    ours: Sequence[tuple[Load, float]],
) -> FaceRow:
    return FaceRow(
        title=server.title,
        kind=server.kind,
        picture=picture,
        connections=connections,
        faces=found,
        per_s=[load.per_s for load, _ in loads],
        p50_ms=[load.p50_ms for load, _ in loads],
        p99_ms=[load.p99_ms for load, _ in loads],
        cpu_ms=[cpu_ms for _, cpu_ms in loads],
        lead=[own.per_s / load.per_s for (own, _), (load, _) in zip(ours, loads, strict=True)],
    )


def _servers(
    stack: ExitStack, folder: Path, programs: Mapping[str, Path], *, yunet: Path, picture: bytes
) -> Iterator[Contender]:
    model, cores = exported(_ARCHITECTURE, side_px=_SIDE_PX), usable_cores()
    registry = registry_with(model, folder)
    # As `register` packages it: the service takes it from there.
    shutil.copyfile(yunet, folder / "registered" / YUNET_FILE)
    files = folder / _OURS
    files.mkdir()
    running = stack.enter_context(
        service(files, registry=registry, workers=cores, threads=1, own_session=True)
    )
    running.settle()
    way = Way(title=_OURS, path="/detect", content_type=FORM, encode=as_form)
    yield own(running, way)
    for recipe in face_recipes():
        server = stack.enter_context(
            serving(
                recipe,
                programs=programs[recipe.name],
                folder=folder / recipe.name,
                model=model,
                workers=cores,
                picture=picture,
                face_model=yunet,
            )
        )
        yield peer(server, recipe.ways[0], kind="library" if recipe.complete else "bare")


def _faces(server: Contender, picture: bytes) -> int:
    """Number of faces in the answer for a picture.

    Raises:
        RuntimeError: the answer is an error.
    """
    status, body = ask(server.port, server.way, picture)
    if status != 200:
        raise RuntimeError(f"{server.title} answers {status}, expected 200: {body[:300]!r}")
    answer = json.loads(body)
    return len(answer["faces"] if isinstance(answer, dict) else answer)


def table(rows: Sequence[FaceRow]) -> Iterator[str]:
    """Lines of Markdown: a table for each picture and number of clients."""
    for picture, connections in dict.fromkeys((row.picture, row.connections) for row in rows):
        yield f"**{picture}, {connections} {'client' if connections == 1 else 'clients'}**"
        yield ""
        yield "| | faces found | requests/s | mien ÷ it (least–most) | p50 ms | p99 ms | processor ms |"
        yield "|---|---|---|---|---|---|---|"
        for row in rows:
            if (row.picture, row.connections) == (picture, connections):
                lead = "1" if row.kind == "ours" else spread(row.lead)
                speed, p50, p99, cpu = map(median, (row.per_s, row.p50_ms, row.p99_ms, row.cpu_ms))
                figures = f"{speed:.1f} | {lead} | {p50:.1f} | {p99:.1f} | {cpu:.1f}"
                yield f"| {row.title} | {row.faces} | {figures} |"
        yield ""


if __name__ == "__main__":
    main()
