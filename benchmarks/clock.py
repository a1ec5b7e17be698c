"""`python -m benchmarks.clock FILE MODULE [ARGUMENT …]`: run one stage, write its times as JSON.

Time is assigned to the innermost known part: imports, reading the input, `fit`, `predict`, checkpoints,
MLflow. Everything else is `rest`: building and compiling the network, writing the outputs. The pipeline
has no code for it; functions are wrapped before the stage imports them.
"""

from __future__ import annotations

import builtins
import importlib
import json
import runpy
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import get_ident
from typing import Any

import psutil

PARTS = ("start", "import", "input", "fit", "predict", "checkpoint", "logging", "rest")
_WRAPPED = (
    ("pipelines.train.input", "read_split", "input"),
    ("pipelines.train.checkpoint", "CheckpointFile.save", "checkpoint"),
    ("pipelines.train.checkpoint", "CheckpointFile.load", "checkpoint"),
    ("pipelines.train.checkpoint", "CheckpointFile.remove", "checkpoint"),
    ("pipelines.train.runlog", "RunLog.__init__", "logging"),
    ("pipelines.train.runlog", "RunLog.epoch", "logging"),
    ("pipelines.train.runlog", "RunLog.finish", "logging"),
)
_KERAS = (("Model.fit", "fit"), ("Model.predict", "predict"))


class Clock:
    """Exclusive time by name: the time of inner parts is subtracted. One thread."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._open: list[str] = []
        self._since = now()
        self.seconds: dict[str, float] = defaultdict(float)
        """By name; without a name, `rest`."""
        self.calls: dict[str, list[float]] = defaultdict(list)
        """Duration of each call of a function."""

    def enter(self, name: str) -> None:
        """Assign the time from now on to `name`."""
        self._turn()
        self._open.append(name)

    def leave(self) -> None:
        """Return to the part before."""
        self._turn()
        self._open.pop()

    def running(self, name: str) -> bool:
        """Whether time is assigned to `name` now."""
        return bool(self._open) and self._open[-1] == name

    def _turn(self) -> None:
        now = self._now()
        self.seconds[self._open[-1] if self._open else "rest"] += now - self._since
        self._since = now

    def wrapped(self, function: Callable[..., Any], name: str, *, call: str = "") -> Callable[..., Any]:
        """Wrap a function to count its time, in the calling thread only.

        Args:
            function: any.
            name: that its time counts for.
            call: that each of its calls is kept under.
        """
        thread = get_ident()

        def timed(*arguments: Any, **named: Any) -> Any:
            # Recursion, as imports have it, needs no entry of its own.
            if get_ident() != thread or self.running(name):
                return function(*arguments, **named)
            self.enter(name)
            begun = self._now()
            try:
                return function(*arguments, **named)
            finally:
                self.leave()
                if call:
                    self.calls[call].append(self._now() - begun)

        return timed


def main() -> None:
    """Run the stage as `python -m MODULE …` does; its exit status is this one's."""
    begun = psutil.Process().create_time()
    target, module, *rest = sys.argv[1:]
    clock = Clock()
    clock.seconds["start"] = time.time() - begun
    _wrap(clock, names=_WRAPPED if module == "pipelines.train" else ())
    sys.argv = [module, *rest]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        clock.enter("rest")
        times = psutil.Process().cpu_times()
        parts = {part: clock.seconds[part] for part in PARTS} | {"cpu": sum(times[:4])}
        content = {"parts": parts, "calls": clock.calls}
        Path(target).write_text(json.dumps(content), encoding="utf-8")


def _wrap(clock: Clock, *, names: Sequence[tuple[str, str, str]]) -> None:
    plain = importlib.import_module
    builtins.__import__ = _with_keras(clock, clock.wrapped(builtins.__import__, "import"))
    importlib.import_module = clock.wrapped(plain, "import")
    for module, path, name in names:
        _replace(importlib.import_module(module), path, clock, name)


def _with_keras(clock: Clock, imports: Callable[..., Any]) -> Callable[..., Any]:
    """An `__import__` that wraps Keras' methods as soon as Keras is there."""
    wrapped = False

    def watching(*arguments: Any, **named: Any) -> Any:
        nonlocal wrapped
        module = imports(*arguments, **named)
        keras = sys.modules.get("keras")
        if not wrapped and not clock.running("import") and hasattr(keras, "Model"):
            wrapped = True
            for path, name in _KERAS:
                _replace(keras, path, clock, name)
        return module

    return watching


def _replace(module: Any, path: str, clock: Clock, name: str) -> None:
    *parents, attribute = path.split(".")
    place = module
    for parent in parents:
        place = getattr(place, parent)
    setattr(place, attribute, clock.wrapped(getattr(place, attribute), name, call=path))


if __name__ == "__main__":
    main()
