"""DVC's part of an errand, as a program: what goes to the remote and what comes from there.

    python -P flows/cluster/remote.py OPERATION '{"stage": "train@vgg", …}'

DVC finds files from the working directory, which threads share: every operation is a process of its own, in
the repository's root. Its last line is the result, `result: JSON`. It imports nothing of this repository: it
runs where any commit is checked out.

DVC's own run cache leaves out stages with outputs that git keeps (`cache: false`), which is most of them.
`dvc commit` saves such a stage all the same, with those outputs as objects; `dvc repro` restores from it.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from dvc.config import Config
from dvc.dvcfile import LOCK_FILE, Lockfile
from dvc.exceptions import DvcException, OutputNotFoundError
from dvc.repo import Repo
from dvc.stage.cache import RunCacheNotFoundError

RESULT = "result: "
# What the run cache's files are kept under in a DVC 3 remote, see `dvc.stage.cache.StageCache.push`.
_RUNS_HASH = "md5-dos2unix"


def pack(stage: str, *, force: bool) -> dict[str, object]:
    """Whether the stage has to run on a node; what it has to pull then is in the remote afterwards."""
    with _repo() as repo:
        with repo.lock:
            found = _stage(repo, stage)
            if not _can_travel(found) or (not force and _has_result(found)):
                return {"away": False}
        wanted, holding = _inputs(repo, found)
        if holding:
            repo.push(targets=sorted(holding))
    return {"away": True, "inputs": sorted(str(Path(path).relative_to(Path.cwd())) for path in wanted)}


def fetch(inputs: list[str], *, remote: str, settings: Mapping[str, object], cache: str) -> dict[str, object]:
    """Give a node's clone the run's remote and the node's cache, and pull what the stage reads."""
    with Config(dvc_dir=".dvc").edit("local") as mine:
        mine["core"] = {"remote": remote}
        mine["remote"] = {remote: dict(settings)}
        mine["cache"] = {"dir": cache, "type": "reflink,hardlink,copy"}
    if inputs:
        with _repo() as repo:
            repo.pull(targets=inputs)
    return {}


def deliver(stage: str) -> dict[str, object]:
    """Push what the stage has made, with its entry of the run cache; returns the entry's name."""
    with _repo() as repo:
        repo.commit(stage, force=True)
    with _repo() as repo:
        entry = _entry_of(stage, Path(repo.stage_cache.cache_dir))
        _, key, value = entry.split("/")
        for objects in repo.stage_cache.get_used_objs([(key, value)]).values():
            if repo.cloud.push(objects).failed:
                raise DvcException(f"not everything that {stage} has made reached the remote")
        repo.stage_cache.push(None)
    return {"entry": entry}


def bring(stage: str, *, entry: str) -> dict[str, object]:
    """Restore a node's result as `dvc repro` does; `fits` is false if it is of other inputs than lie here."""
    with _repo() as repo, repo.lock:
        _fetch_entry(repo, entry)
        # A stage that was forced has results already, which DVC would keep.
        Lockfile(repo, LOCK_FILE).remove_stage(_stage(repo, stage))
    with _repo() as repo, repo.lock:
        try:
            _restore(_stage(repo, stage))
        except RunCacheNotFoundError:
            return {"fits": False}
    with _repo() as repo:
        repo.reproduce(stage, single_item=True)
    return {"fits": True}


def _repo() -> Any:
    # As `--wait-for-lock` does.
    return Repo(_wait_for_lock=True)


def _stage(repo: Any, name: str) -> Any:
    (found,) = repo.stage.collect(name)
    return found


def _can_travel(stage: Any) -> bool:
    """Whether the run cache can bring its results home."""
    lasting = stage.always_changed or stage.is_callback or any(out.persist for out in stage.outs)
    return bool(stage.cmd and stage.deps and stage.outs and not lasting)


def _has_result(stage: Any) -> bool:
    """Whether it is up to date, or its result lies in run cache and remote."""
    if not stage.changed():
        return True
    try:
        _restore(stage)
    except RunCacheNotFoundError:
        return False
    return True


def _restore(stage: Any) -> None:
    """From the run cache, with what only the remote has; what lies there goes, as when DVC runs a stage."""
    stage.save_deps()
    stage.remove_outs(ignore_remove=False, force=False)
    stage.repo.stage_cache.restore(stage, pull=True)


def _inputs(repo: Any, stage: Any) -> tuple[set[str], set[str]]:
    """Paths that the stage reads and DVC keeps, and the outputs of other stages that hold them."""
    wanted, holding = set(), set()
    for dependency in stage.deps:
        try:
            found = repo.find_outs_by_path(dependency.fs_path, recursive=True, strict=False)
        except OutputNotFoundError:
            continue  # git's own file, or parameters
        for out in found:
            if out.use_cache:
                holding.add(out.fs_path)
                # A folder may hold several outputs; of an output that is a folder a part may be read.
                wanted.add(max(out.fs_path, dependency.fs_path, key=len))
    return wanted, holding


def _entry_of(stage: str, runs: Path) -> str:
    wanted = yaml.safe_load(Path(LOCK_FILE).read_text(encoding="utf-8"))["stages"][stage]
    for path in runs.glob("*/*/*"):
        if yaml.safe_load(path.read_text(encoding="utf-8")) == wanted:
            return "/".join(path.parts[-3:])
    raise DvcException(f"DVC has put no entry of {stage} into its run cache")


def _fetch_entry(repo: Any, entry: str) -> None:
    odb = repo.cloud.get_remote_odb(None, "fetch --run-cache", hash_name=_RUNS_HASH)
    target = Path(repo.stage_cache.cache_dir, *entry.split("/"))
    # DVC takes the newest entry of a key: there shall be this one only.
    shutil.rmtree(target.parent, ignore_errors=True)
    target.parent.mkdir(parents=True)
    part = target.parent.with_suffix(".part")
    odb.fs.get_file(odb.fs.join(odb.path, "runs", *entry.split("/")), str(part))
    part.rename(target)


def main() -> int:
    """Do what the command line says."""
    operations: Mapping[str, Callable[..., dict[str, object]]] = {
        "pack": pack, "fetch": fetch, "deliver": deliver, "bring": bring,
    }  # fmt: skip
    name, given = sys.argv[1:]
    try:
        result = operations[name](**json.loads(given))
    except Exception as error:
        # Of DVC, or of whatever library the remote needs; the caller's log has the line.
        causes = [str(one) for one in (error.__cause__, error) if one is not None and str(one)]
        print(f"error: {': '.join(causes[::-1]) or type(error).__name__}", file=sys.stderr)
        return 1
    print(RESULT + json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
