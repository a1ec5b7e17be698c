"""The bare handler, really started, answers what the model answers; others need environments of their own."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from benchmarks.load import measure
from benchmarks.peers.check import WrongAnswer, check, expectations
from benchmarks.peers.recipes import Recipe, recipes
from benchmarks.peers.server import Server, ask, serving
from benchmarks.service import processes_of
from tests.support.onnx_models import write_model
from tests.support.pictures import encoded, textured
from tests.support.serving_models import LEVELS, flat

PICTURES = [encoded(pixels, "JPEG", quality=90) for pixels in (textured(1), flat(0)[0], flat(1)[0])]
BARE = next(recipe for recipe in recipes() if not recipe.complete)
PROGRAMS = Path(sys.executable).parent


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model.onnx", levels=LEVELS)


def start(recipe: Recipe, folder: Path, model: Path) -> AbstractContextManager[Server]:
    return serving(
        recipe, programs=PROGRAMS, folder=folder / "server", model=model, workers=2, picture=PICTURES[0]
    )


def runs(pid: int) -> bool:
    """Whether it still does something; a zombie only waits for its parent to notice."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_bare_handler_answers_as_the_model_and_is_measured(tmp_path: Path, model: Path) -> None:
    expected = expectations(model, PICTURES)
    with start(BARE, tmp_path, model) as server:
        for way in BARE.ways:
            check(way.title, partial(ask, server.port, way), way.probabilities, expected)
        body = tmp_path / "body"
        way = BARE.ways[1]
        body.write_bytes(way.encode(PICTURES[0]))
        url = f"http://127.0.0.1:{server.port}{way.path}"
        before_s = server.cpu_s()
        load = measure(url, body, connections=2, seconds=1, content_type=way.content_type)
        assert load.requests > 0
        assert load.failed == 0
        assert server.cpu_s() > before_s
        # Two workers beside the one that started them.
        assert len(processes_of(server.pid)) >= 3
        assert server.memory_mib() > 50
        pids = [process.pid for process in processes_of(server.pid)]
    assert not any(map(runs, pids))


def test_a_server_that_ends_says_why(tmp_path: Path, model: Path) -> None:
    broken = replace(BARE, command=lambda launch: [sys.executable, "-c", "raise SystemExit('no such port')"])
    with (
        pytest.raises(RuntimeError, match="fastapi ended; the end of its log:\nno such port"),
        start(broken, tmp_path, model),
    ):
        pass


def test_a_model_that_says_the_same_of_everything_proves_nothing(model: Path) -> None:
    with pytest.raises(WrongAnswer, match="answers the same for every picture"):
        expectations(model, [PICTURES[0], PICTURES[0]])
