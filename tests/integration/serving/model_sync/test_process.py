"""The follower as the process that it is: started, killed, orphaned, shared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from serving.errors.operation import StartRefused
from serving.inference.model_slot import ModelSlot
from serving.model_sync.service import ModelSync
from tests.support.mlflow_store import new_store
from tests.support.serving_models import FilledRegistry, copied, model_folder, sha256_of
from tests.support.switches import RecordedSwitches

REPOSITORY = Path(__file__).parents[4]
# The child imports MLflow, which takes seconds, and the machine may be busy.
PATIENCE_S = 60.0


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


@contextmanager
def followed(
    location: str | Path, cache: Path, *, uri: str = "", history: RecordedSwitches | None = None
) -> Iterator[tuple[ModelSync, ModelSlot]]:
    slot = ModelSlot()
    following = ModelSync(
        str(location), slot, cache=cache, tracking_uri=uri, poll_s=0.2, max_batch=2, history=history
    )
    following.start()
    try:
        yield following, slot
    finally:
        following.stop()


def version(slot: ModelSlot) -> str | None:
    return slot.current.identity.version if slot.current else None


def test_promotions_arrive_and_the_cache_serves_while_the_registry_is_away(tmp_path: Path) -> None:
    registry = FilledRegistry(new_store(tmp_path), tmp_path / "artifacts")
    for seed in (1, 2):
        registry.add(seed=seed)
    history = RecordedSwitches()
    where, cache = "models:/emotion@production", tmp_path / "cache"
    with followed(where, cache, uri=registry.uri, history=history) as (following, slot):
        until(lambda: "no alias 'production'" in slot.reason)
        assert following.status().problem is not None
        registry.promote("1")
        until(lambda: version(slot) == "1")
        registry.promote("2")
        until(lambda: version(slot) == "2")
        # MLflow is in the child, whose parent is this process; `psutil` tells them apart.
        pid = following.status().follower_pid
        assert pid is not None
        assert psutil.Process(pid).ppid() == os.getpid()
    assert not psutil.pid_exists(pid)

    database = Path(registry.uri.removeprefix("sqlite:///"))
    moved = database.rename(tmp_path / "moved.db")
    with followed(where, cache, uri=registry.uri, history=history) as (following, slot):
        start = time.monotonic()
        until(lambda: version(slot) == "2")
        assert time.monotonic() - start < 20
        until(lambda: "there is no registry at" in (following.status().problem or ""))
        moved.replace(database)
        registry.promote("1")
        until(lambda: version(slot) == "1")
        assert following.status().problem is None
    # The start from the cache is not a switch: the model was live before.
    assert [switch[:2] for switch in history.switches] == [(None, "1"), ("1", "2"), ("2", "1")]


def test_killed_follower_is_replaced_and_nothing_else_notices(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine", seed=1)
    with followed(folder, tmp_path / "cache") as (following, slot):
        until(lambda: slot.current)
        first = following.status().follower_pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        copied(model_folder(tmp_path / "other", seed=2), folder)
        until(lambda: slot.require().identity.sha256 == sha256_of(tmp_path / "other"))
        assert following.status().follower_restarts == 1
        assert following.status().follower_pid not in (None, first)


def test_two_workers_share_one_follower_and_one_takes_over(tmp_path: Path) -> None:
    folder, cache = model_folder(tmp_path / "mine", seed=1), tmp_path / "cache"
    history = RecordedSwitches()
    with followed(folder, cache, history=history) as (second, second_slot):
        with followed(folder, cache, history=history) as (first, first_slot):
            until(lambda: first_slot.current and second_slot.current)
            pids = {first.status().follower_pid, second.status().follower_pid}
            assert len(pids - {None}) == 1
            until(lambda: history.switches)
            holder = second if second.status().follower_pid else first
            if holder is second:
                second.stop()
                until(lambda: first.status().follower_pid)
        if holder is first:
            until(lambda: second.status().follower_pid)
    # Both switched, one wrote it down.
    assert [switch[:2] for switch in history.switches] == [(None, "local")]


_WORKER = """
import sys, time
from pathlib import Path
from serving.model_sync.service import ModelSync
from serving.inference.model_slot import ModelSlot
slot = ModelSlot()
following = ModelSync(sys.argv[1], slot, cache=Path(sys.argv[2]), tracking_uri="", poll_s=0.2)
following.start()
while slot.current is None:
    time.sleep(0.01)
print(following.status().follower_pid, "mlflow" in sys.modules, flush=True)
time.sleep(600)
"""


def test_follower_ends_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER, str(folder), str(tmp_path / "cache")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    try:
        assert worker.stdout is not None
        pid, mlflow_is_loaded = worker.stdout.readline().split()
        assert psutil.pid_exists(int(pid))
        # The process that answers never carries MLflow.
        assert mlflow_is_loaded == "False"
        # Ctrl-C in a terminal reaches both; the follower leaves it to its parent.
        os.kill(int(pid), signal.SIGINT)
        time.sleep(0.3)
        assert psutil.pid_exists(int(pid))
    finally:
        worker.kill()
        worker.communicate()
    until(lambda: not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == "zombie")


def test_new_file_that_is_not_a_model_is_refused_and_the_old_one_answers(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    good = sha256_of(folder)
    with followed(folder, tmp_path / "cache") as (following, slot):
        until(lambda: slot.current)
        (folder / "model.onnx").write_bytes(b"not a model")
        until(lambda: following.status().refused)
        refused = following.status().refused
        assert refused is not None
        assert (refused.step, refused.version) == ("contract", "local")
        assert slot.require().identity.sha256 == good
        time.sleep(1)
        assert slot.refusals == 1


def test_cache_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    following = ModelSync(str(tmp_path), ModelSlot(), cache=tmp_path / "cache", tracking_uri="")
    with pytest.raises(StartRefused, match=r"^MIEN_CACHE_DIR="):
        following.start()
