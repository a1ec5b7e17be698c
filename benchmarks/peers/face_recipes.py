"""Peers that find faces: the bare handler with YuNet, and the libraries `fer` and `facex`."""

from __future__ import annotations

from benchmarks.peers.recipes import FORM, Launch, Recipe, Way, as_form


def face_recipes() -> tuple[Recipe, ...]:
    """All peers, the bare handler first; their servers answer a list with an item for each face."""
    return (
        _recipe("fastapi", "bare FastAPI handler with YuNet", complete=False),
        _recipe("fer", "`fer` behind FastAPI", complete=True),
        _recipe("facex", "`facex` behind FastAPI", complete=True),
    )


def _recipe(name: str, title: str, *, complete: bool) -> Recipe:
    way = Way(title=title, path="/faces", content_type=FORM, encode=as_form)
    return Recipe(name=name, complete=complete, command=_uvicorn, ways=(way,))


def _uvicorn(launch: Launch) -> list[str]:
    command = [str(launch.programs / "python"), "-m", "uvicorn", "serve:app", "--no-access-log"]
    # TensorFlow takes longer to import than the five seconds after which a worker is killed.
    command += ["--timeout-worker-healthcheck", "120"]
    return [*command, "--workers", str(launch.workers), "--port", str(launch.ports[0])]
