"""DVC in a clone: settings and cache of the checkout, and the files of the commit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from flows.errors import WorkspaceFailed
from flows.repro.workspace import Workspace
from pipelines.core.sample_remote import REMOTE

# A link needs no space; DVC uses the first kind that the file system supports.
_LINKS = "reflink,hardlink,copy"


def cache_folder(checkout: Path) -> Path:
    """DVC's cache of a checkout.

    Raises:
        WorkspaceFailed: DVC's settings are damaged.
    """
    from dvc.config import Config, ConfigError

    folder = checkout / ".dvc"
    try:
        return Path(Config(dvc_dir=str(folder)).get("cache", {}).get("dir") or folder / "cache")
    except ConfigError as error:
        raise WorkspaceFailed(what=str(folder), reason=str(error), remedy="correct DVC's settings") from error


def object_path(md5: str) -> str:
    """Path of an object inside DVC's cache, by its MD5; that of a folder's listing ends with `.dir`."""
    return f"files/md5/{md5[:2]}/{md5[2:]}"


def leave_sample_remote(pointer: Path) -> None:
    """Remove the sample's remote from a `.dvc` file, so that its data are pushed to the default one.

    That remote is in git, and the sample's pointer disables pushing. Other data keep their remote.
    """
    content = yaml.safe_load(pointer.read_text(encoding="utf-8"))
    for out in content["outs"]:
        if out.get("remote") == REMOTE.name:
            out.pop("remote")
            out.pop("push", None)
    pointer.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def configure(workspace: Workspace) -> None:
    """Copy the checkout's local DVC settings to the clone, and use its cache.

    Raises:
        WorkspaceFailed: the settings are damaged.
    """
    from dvc.config import Config, ConfigError, merge

    folder = workspace.checkout / ".dvc"
    try:
        source = Config(dvc_dir=str(folder))
        cache = cache_folder(workspace.checkout)
        with Config(dvc_dir=str(workspace.root / ".dvc")).edit("local") as target:
            # .dvc/config.local, with passwords and paths that are in no commit.
            merge(target, source.read("local"))
            target["cache"] = target.get("cache", {}) | {"dir": str(cache), "type": _LINKS}
    except (ConfigError, OSError) as error:
        raise WorkspaceFailed(what=str(folder), reason=str(error), remedy="correct DVC's settings") from error


def restore(workspace: Workspace) -> None:
    """Check out data and earlier results: from the cache or the default remote, data from any remote.

    Missing results are not an error, because DVC runs their stages again.

    Raises:
        WorkspaceFailed: data of the commit are in no cache and no remote.
    """
    default, remotes = _remotes(workspace)
    workspace.dvc("checkout", "--quiet", "--allow-missing")
    if default:
        workspace.dvc("pull", "--quiet", "--run-cache", "--allow-missing")
    for pointer in _missing(workspace):
        reasons = []
        for remote in remotes:
            pulled = workspace.dvc("pull", "--remote", remote, str(pointer))
            if pulled.status == 0:
                break
            reasons.append(f"{remote}: {pulled.reason}")
        else:
            raise WorkspaceFailed(
                what=f"the data of {pointer}",
                reason="; ".join(reasons) or "they are not in the cache and there is no remote",
                remedy=f"run `dvc pull {pointer}` or `dvc add` in {workspace.checkout}",
            )


def default_remote(workspace: Workspace) -> str | None:
    """DVC's default remote, to which new data are pushed."""
    return _remotes(workspace)[0]


def _remotes(workspace: Workspace) -> tuple[str | None, list[str]]:
    """The default remote, and all remotes, the default one first."""
    from dvc.config import Config

    settings: dict[str, Any] = Config(dvc_dir=str(workspace.root / ".dvc")).read()
    default = settings.get("core", {}).get("remote")
    return default, sorted(settings.get("remote", {}), key=lambda name: (name != default, name))


def _missing(workspace: Workspace) -> Iterator[Path]:
    """`.dvc` files of the commit whose data are missing."""
    for name in workspace.git("ls-files", "--", "*.dvc").output.splitlines():
        pointer = workspace.root / name
        outs = yaml.safe_load(pointer.read_text(encoding="utf-8"))["outs"]
        if not all((pointer.parent / out["path"]).exists() for out in outs):
            yield Path(name)
