"""Peers that find faces: the bare handler with YuNet, and the libraries `fer` and `facex`."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.peers.recipes import FORM, Launch, Recipe, Way, as_form


@dataclass(frozen=True, kw_only=True)
class FaceRecipe:
    """One peer that finds faces; its server answers a list with an item for each."""

    recipe: Recipe
    library: bool
    """Whether it is something people install for this; a bare handler is not."""


def face_recipes() -> tuple[FaceRecipe, ...]:
    """All peers, the bare handler first."""
    return (
        FaceRecipe(recipe=_recipe("fastapi", "bare FastAPI handler with YuNet"), library=False),
        FaceRecipe(recipe=_recipe("fer", "`fer` behind FastAPI"), library=True),
        FaceRecipe(recipe=_recipe("facex", "`facex` behind FastAPI"), library=True),
    )


def _recipe(name: str, title: str) -> Recipe:
    way = Way(title=title, path="/faces", content_type=FORM, encode=as_form)
    return Recipe(name=name, complete=False, command=_uvicorn, ways=(way,))


def _uvicorn(launch: Launch) -> list[str]:
    command = [str(launch.programs / "python"), "-m", "uvicorn", "serve:app", "--no-access-log"]
    # TensorFlow takes longer to import than the five seconds after which a worker is killed.
    command += ["--timeout-worker-healthcheck", "120"]
    return [*command, "--workers", str(launch.workers), "--port", str(launch.ports[0])]
