"""How each peer is started, asked and read, as its documentation recommends."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BOUNDARY = "mien-benchmark-boundary"
BINARY = "application/octet-stream"
FORM = f"multipart/form-data; boundary={_BOUNDARY}"
JSON = "application/json"
Encode = Callable[[bytes], bytes]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What a recipe needs to know."""

    programs: Path
    """`bin` of its environment."""
    folder: Path
    """One of its own, with what lies in the recipe's."""
    ports: tuple[int, int, int]
    """The first one is asked; the others are for what else it opens."""
    workers: int
    environment: Mapping[str, str]
    """With `PYTHONPATH` and the model's path."""


def plain(answer: Any) -> Mapping[str, float]:
    """The answer has them at its top."""
    probabilities: Mapping[str, float] = answer["probabilities"]
    return probabilities


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way of asking a server."""

    title: str
    path: str
    encode: Encode
    """From the picture's file to the body of the request."""
    content_type: str = JSON
    probabilities: Callable[[Any], Mapping[str, float]] = plain
    """From the parsed answer to each class's probability."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One peer."""

    name: str
    """Of its folder."""
    complete: bool
    """Whether people install it for this: a serving product or a library; a bare handler is not."""
    command: Callable[[Launch], list[str]]
    ways: tuple[Way, ...]


def as_is(picture: bytes) -> bytes:
    """The file is the body."""
    return picture


def as_form(picture: bytes) -> bytes:
    """The file in the field `file` of a form."""
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="face.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    return head.encode() + picture + f"\r\n--{_BOUNDARY}--\r\n".encode()


def recipes() -> tuple[Recipe, ...]:
    """All peers, the bare handler first."""
    return (_FASTAPI, _BENTOML, _LITSERVE, _MLSERVER, _MLFLOW)


def _base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def _litserve_body(picture: bytes) -> bytes:
    return json.dumps({"image_data": _base64(picture)}).encode()


def _mlflow_body(picture: bytes) -> bytes:
    return json.dumps({"inputs": [_base64(picture)]}).encode()


def _mlserver_body(picture: bytes) -> bytes:
    tensor = {
        "name": "picture",
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"content_type": "base64"},
        "data": [_base64(picture)],
    }
    return json.dumps({"inputs": [tensor]}).encode()


def _mlserver_probabilities(answer: Any) -> Mapping[str, float]:
    return plain(json.loads(answer["outputs"][0]["data"][0]))


def _fastapi(launch: Launch) -> list[str]:
    command = [str(launch.programs / "python"), "-m", "uvicorn", "serve:app", "--no-access-log"]
    # A worker that takes more than five seconds to import is killed otherwise.
    command += ["--timeout-worker-healthcheck", "60"]
    return [*command, "--workers", str(launch.workers), "--port", str(launch.ports[0])]


def _bentoml(launch: Launch) -> list[str]:
    command = [str(launch.programs / "bentoml"), "serve", "serve:Emotion", "--host", "127.0.0.1"]
    return [*command, "--port", str(launch.ports[0])]


def _litserve(launch: Launch) -> list[str]:
    return [str(launch.programs / "python"), "serve.py", str(launch.ports[0])]


def _mlserver(launch: Launch) -> list[str]:
    file = launch.folder / "settings.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings |= dict(zip(("http_port", "grpc_port", "metrics_port"), launch.ports, strict=True))
    file.write_text(json.dumps(settings | {"parallel_workers": launch.workers}), encoding="utf-8")
    return [str(launch.programs / "mlserver"), "start", str(launch.folder)]


def _mlflow(launch: Launch) -> list[str]:
    model = launch.folder / "model"
    subprocess.run(
        [str(launch.programs / "python"), "serve.py", str(model)],
        env=dict(launch.environment),
        cwd=launch.folder,
        check=True,
        capture_output=True,
    )
    command = [str(launch.programs / "mlflow"), "models", "serve", "--env-manager", "local"]
    command += ["--model-uri", str(model), "--workers", str(launch.workers)]
    return [*command, "--host", "127.0.0.1", "--port", str(launch.ports[0])]


_FASTAPI = Recipe(
    name="fastapi",
    complete=False,
    command=_fastapi,
    ways=(
        Way(
            title="bare FastAPI handler",
            path="/classify",
            content_type=BINARY,
            encode=as_is,
        ),
        Way(
            title="bare FastAPI handler, form",
            path="/form",
            content_type=FORM,
            encode=as_form,
        ),
    ),
)
_BENTOML = Recipe(
    name="bentoml",
    complete=True,
    command=_bentoml,
    ways=(
        Way(
            title="BentoML",
            path="/classify",
            content_type="image/jpeg",
            encode=as_is,
        ),
    ),
)
_LITSERVE = Recipe(
    name="litserve",
    complete=True,
    command=_litserve,
    ways=(
        Way(
            title="LitServe",
            path="/predict",
            encode=_litserve_body,
        ),
    ),
)
_MLSERVER = Recipe(
    name="mlserver",
    complete=True,
    command=_mlserver,
    ways=(
        Way(
            title="MLServer",
            path="/v2/models/emotion/infer",
            encode=_mlserver_body,
            probabilities=_mlserver_probabilities,
        ),
    ),
)
_MLFLOW = Recipe(
    name="mlflow",
    complete=True,
    command=_mlflow,
    ways=(
        Way(
            title="`mlflow models serve`",
            path="/invocations",
            encode=_mlflow_body,
            probabilities=lambda answer: plain(answer["predictions"][0]),
        ),
    ),
)
