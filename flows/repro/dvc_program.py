"""DVC as a program for flows: run a stage, push to the DVC remote and pull from it.

    python -P flows/repro/dvc_program.py OPERATION '{"stage": "train@vgg", …}'

DVC finds files from the working directory, which threads share, so that each operation is a process in the
repository's root. It exits with 1 on an error, and with 75 (EX_TEMPFAIL) on one that may pass: a lock, a lost
connection, a busy server, a stage that itself ended with 75. It imports nothing of this repository, because
it runs in any commit.

`reproduce` is `dvc repro` with its output; DVC itself exits with 255 for every failure. A stage that was
killed gives 137 (128 + SIGKILL). The last line of the other operations is their result, `result: JSON`.

DVC's run cache skips stages with outputs that git keeps (`cache: false`), which most stages have. `dvc
commit` saves such a stage nevertheless, with those outputs as objects, and `dvc repro` restores it.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dvc.stage.run
import yaml
from dvc.cli import main as run_command_line
from dvc.config import Config
from dvc.dvcfile import LOCK_FILE, Lockfile
from dvc.exceptions import DvcException, OutputNotFoundError
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.stage.cache import RunCacheNotFoundError
from dvc.stage.exceptions import StageCmdFailedError

RESULT = "result: "
# Hash name of the run cache's files in a DVC 3 remote, see `dvc.stage.cache.StageCache.push`.
_RUNS_HASH = "md5-dos2unix"
# Of an OSError without a class of its own: no route, or a busy server (s3fs: EBUSY for 503 and SlowDown).
_TEMPORARY_ERRNOS = (errno.EBUSY, errno.EHOSTUNREACH, errno.ENETUNREACH)


KILLED = 128 + signal.SIGKILL
"""Exit status of a shell whose command was killed, and of this program when a stage was."""


class StageFailed(StageCmdFailedError):  # type: ignore[misc] # DVC has no types
    """DVC's error with the exit status of the stage as a field; DVC has it in the message only."""

    def __init__(self, command: str, status: int | None = None) -> None:
        super().__init__(command, status)
        self.status = status


class _LastError(logging.Handler):
    """Keeps the exception that DVC's command line logs before it exits."""

    error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.error = record.exc_info[1]


def reproduce(stage: str, *, force: bool) -> int:
    """Bring one stage up to date as `dvc repro` does; returns the exit status."""
    dvc.stage.run.StageCmdFailedError = StageFailed
    last = _LastError()
    logging.getLogger("dvc").addHandler(last)
    options = ["--force"] if force else []
    # Without `--wait-for-lock` DVC gives up after three seconds, even at the end of an hour of training.
    status: int = run_command_line(["--wait-for-lock", "repro", "--single-item", *options, stage])
    return status if status == 0 or last.error is None else failure_status(last.error)


def failure_status(error: BaseException) -> int:
    """Exit status for an error of `dvc repro`."""
    failed = next((cause for cause in causes(error) if isinstance(cause, StageFailed)), None)
    if failed is None:
        return os.EX_TEMPFAIL if is_temporary(error) else 1
    if failed.status in (KILLED, -signal.SIGKILL):
        return KILLED
    return os.EX_TEMPFAIL if failed.status == os.EX_TEMPFAIL else 1


def push_inputs(stage: str, *, force: bool) -> dict[str, object]:
    """Push what the stage reads, and return the paths to pull; nothing if it need not run on a node."""
    with _repo() as repo:
        with repo.lock:
            found = _stage(repo, stage)
            if not _is_movable(found) or (not force and _has_result(found)):
                return {"needs_node": False}
        paths, outputs = _inputs(repo, found)
        if outputs:
            repo.push(targets=sorted(outputs))
    return {"needs_node": True, "inputs": sorted(str(Path(path).relative_to(Path.cwd())) for path in paths)}


def pull_inputs(
    inputs: list[str], *, remote: str, settings: Mapping[str, object], cache: str
) -> dict[str, object]:
    """Configure the run's remote and the node's cache in a node's clone, and pull the stage's inputs."""
    with Config(dvc_dir=".dvc").edit("local") as mine:
        mine["core"] = {"remote": remote}
        mine["remote"] = {remote: dict(settings)}
        mine["cache"] = {"dir": cache, "type": "reflink,hardlink,copy"}
    if inputs:
        with _repo() as repo:
            repo.pull(targets=inputs)
    return {}


def push_results(stage: str) -> dict[str, object]:
    """Push the stage's outputs and its entry in the run cache; returns the entry's name."""
    with _repo() as repo:
        repo.commit(stage, force=True)
    with _repo() as repo:
        entry = _entry_of(stage, Path(repo.stage_cache.cache_dir))
        _, key, value = entry.split("/")
        for objects in repo.stage_cache.get_used_objs([(key, value)]).values():
            if repo.cloud.push(objects).failed:
                raise DvcException(f"some outputs of {stage} could not be pushed to the remote")
        repo.stage_cache.push(None)
    return {"entry": entry}


def pull_results(stage: str, *, entry: str) -> dict[str, object]:
    """Restore a node's results as `dvc repro` does; `inputs_match` is false if they have other inputs."""
    with _repo() as repo, repo.lock:
        _fetch_entry(repo, entry)
        # A stage that was forced has earlier results, which DVC would keep.
        Lockfile(repo, LOCK_FILE).remove_stage(_stage(repo, stage))
    with _repo() as repo, repo.lock:
        try:
            _restore(_stage(repo, stage))
        except RunCacheNotFoundError:
            return {"inputs_match": False}
    with _repo() as repo:
        repo.reproduce(stage, single_item=True)
    return {"inputs_match": True}


def _repo() -> Any:
    # The same as the option `--wait-for-lock`.
    return Repo(_wait_for_lock=True)


def _stage(repo: Any, name: str) -> Any:
    (found,) = repo.stage.collect(name)
    return found


def _is_movable(stage: Any) -> bool:
    """Whether the run cache can hold the stage's results."""
    lasting = stage.always_changed or stage.is_callback or any(out.persist for out in stage.outs)
    return bool(stage.cmd and stage.deps and stage.outs and not lasting)


def _has_result(stage: Any) -> bool:
    """Whether the stage is up to date, or run cache and remote have its result."""
    if not stage.changed():
        return True
    try:
        _restore(stage)
    except RunCacheNotFoundError:
        return False
    return True


def _restore(stage: Any) -> None:
    """Restore from run cache and remote, in place of existing outputs."""
    stage.save_deps()
    stage.remove_outs(ignore_remove=False, force=False)
    stage.repo.stage_cache.restore(stage, pull=True)


def _inputs(repo: Any, stage: Any) -> tuple[set[str], set[str]]:
    """Paths that the stage reads from DVC's cache, and the outputs of other stages that contain them."""
    paths, outputs = set(), set()
    for dependency in stage.deps:
        try:
            found = repo.find_outs_by_path(dependency.fs_path, recursive=True, strict=False)
        except OutputNotFoundError:
            continue  # a file in git, or parameters
        for out in found:
            if out.use_cache:
                outputs.add(out.fs_path)
                # A dependency may contain several outputs, or be a part of one.
                paths.add(max(out.fs_path, dependency.fs_path, key=len))
    return paths, outputs


def _entry_of(stage: str, runs: Path) -> str:
    wanted = yaml.safe_load(Path(LOCK_FILE).read_text(encoding="utf-8"))["stages"][stage]
    for path in runs.glob("*/*/*"):
        if yaml.safe_load(path.read_text(encoding="utf-8")) == wanted:
            return "/".join(path.parts[-3:])
    raise DvcException(f"DVC's run cache has no entry for {stage}")


def _fetch_entry(repo: Any, entry: str) -> None:
    odb = repo.cloud.get_remote_odb(None, "fetch --run-cache", hash_name=_RUNS_HASH)
    target = Path(repo.stage_cache.cache_dir, *entry.split("/"))
    # DVC takes the newest entry of a key, so that this must be the only one.
    shutil.rmtree(target.parent, ignore_errors=True)
    target.parent.mkdir(parents=True)
    part = target.parent.with_suffix(".part")
    odb.fs.get_file(odb.fs.join(odb.path, "runs", *entry.split("/")), str(part))
    part.rename(target)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, its cause, the cause of that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_temporary(error: BaseException | None) -> bool:
    """Whether a lock, a lost connection or a busy server is the error, or the cause of it."""
    for cause in causes(error):
        if isinstance(cause, LockError | ConnectionError | TimeoutError):
            return True
        if isinstance(cause, socket.gaierror):
            return cause.errno == socket.EAI_AGAIN
        if isinstance(cause, OSError) and cause.errno in _TEMPORARY_ERRNOS:
            return True
    return False


def main() -> int:
    """Run the operation that the command line names; returns the exit status."""
    operations: Mapping[str, Callable[..., dict[str, object]]] = {
        operation.__name__: operation for operation in (push_inputs, pull_inputs, push_results, pull_results)
    }
    name, arguments = sys.argv[1:]
    if name == reproduce.__name__:
        return reproduce(**json.loads(arguments))
    try:
        result = operations[name](**json.loads(arguments))
    # Also what the library of the remote raises; the caller's log has the line.
    except Exception as error:
        causes = [str(cause) for cause in (error.__cause__, error) if cause is not None and str(cause)]
        print(f"error: {': '.join(causes[::-1]) or type(error).__name__}", file=sys.stderr)
        return os.EX_TEMPFAIL if is_temporary(error) else 1
    print(RESULT + json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
