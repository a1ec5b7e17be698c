"""Two models for the trials: one that confuses two emotions, one that fails, one that is slow."""

from __future__ import annotations

import shutil
from hashlib import blake2b
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.support.http_service import picture_of, until
from tests.support.onnx_models import CLASSES, make_contract
from tests.support.processes import command_of
from tests.support.serving_models import LEVELS, model_folder

# Imports take seconds, and the shadow's thread gives way to everything else on a busy machine.
SHADOW_S = 180.0
PATIENCE_S = 120.0
"""Until a canary runs or stops."""
BRIGHTEST = len(CLASSES) - 1
"""The class of the brightest picture: the one that a failing model fails at."""


def confused(folder: Path, **options: Any) -> Path:
    """A model that says the first emotion for the second and the second for the first."""
    swapped = (LEVELS[1], LEVELS[0], *LEVELS[2:])
    return model_folder(folder, levels=swapped, **options)


def failing(folder: Path) -> Path:
    """A model that passes admission, and fails at every picture of the last emotion."""
    return model_folder(folder, seed=7, fails_above=0.9)


def slow(folder: Path) -> Path:
    """A model that wants 4,096 times as many pixels."""
    return model_folder(folder, contract=make_contract(side=1024), self_test=False)


def put(model: Path, folder: Path) -> None:
    """Lay a made model where one is followed already: its file comes last, and whole.

    Args:
        model: folder of the made model.
        folder: that is followed.
    """
    folder.mkdir(exist_ok=True)
    for path in model.iterdir():
        if path.name != "model.onnx":
            shutil.copyfile(path, folder / path.name)
    shutil.copyfile(model / "model.onnx", folder / ".coming")
    (folder / ".coming").replace(folder / "model.onnx")


def ask(client: httpx.Client, index: int, **headers: str) -> httpx.Response:
    """The answer to a picture of class `index`."""
    return client.post("/detect", params={"faces": "none"}, content=picture_of(index), headers=headers)


def shadow_report(client: httpx.Client) -> dict[str, Any]:
    """What /model/shadow counted; empty before there is anything."""
    return dict(client.get("/model/shadow").json()["report"] or {})


def looking(client: httpx.Client) -> httpx.Client:
    """The client, once the shadow looks at pictures."""
    until(lambda: client.get("/model/shadow").json()["reason"] is None, SHADOW_S)
    return client


def compared(client: httpx.Client, count: int) -> dict[str, Any]:
    """The report, once `count` pictures are compared."""
    until(lambda: shadow_report(client).get("compared", 0) >= count, SHADOW_S)
    return shadow_report(client)


def shadow_processes() -> list[psutil.Process]:
    """Of services in this process."""
    return [
        child
        for child in psutil.Process().children()
        if "serving.experiments.shadow_worker" in " ".join(command_of(child))
    ]


def in_share(subject: str, share: float) -> bool:
    """As documented: the first 64 bits of a BLAKE2b digest, as a fraction."""
    digest = blake2b(subject.encode(), digest_size=8, person=b"mien-canary").digest()
    return int.from_bytes(digest, "big") / 2**64 < share


def standing(client: httpx.Client) -> dict[str, Any]:
    return dict(client.get("/model").json()["canary"])


def stands(client: httpx.Client, state: str) -> str:
    """Waits for a state; its reason."""
    until(lambda: standing(client)["state"] == state, PATIENCE_S)
    return str(standing(client)["reason"])


def outcomes(client: httpx.Client) -> dict[str, float]:
    rows = [
        line for line in client.get("/metrics").text.splitlines() if line.startswith("mien_canary_requests")
    ]
    return {row.split('"')[1]: float(row.split()[-1]) for row in rows}
