"""`python -m pipelines.weights`: find pretrained weights for every architecture of `params.yaml`.

The order of the sources is that of `weights.source`; weights pretrained on drawn faces come with the project.
Without any weights, networks train from scratch (`weights.offline`), with a warning. The output for one
architecture is `origin.json` and the weights, replaced only when they differ.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.architectures import Pretrained, load_architecture
from pipelines.core import paths
from pipelines.core.errors import ResultCorrupt, WeightsUnavailable
from pipelines.core.io import replacing_folder
from pipelines.core.model_results import Origin
from pipelines.core.params import Params, WeightsParams, load_params
from pipelines.core.records import read_record, write_record
from pipelines.weights.drawn import DRAWN, SHIPPED, problem_with_drawn
from pipelines.weights.face_model import (
    FaceModelUnavailable,
    addresses,
    download_face_model,
    find_face_model,
)
from pipelines.weights.local import (
    CHECKPOINT_FILES,
    FOLDER_VARIABLE,
    OPTIONAL_FILES,
    Found,
    description,
    find_local,
    problem_with,
    repository_of,
)
from pipelines.weights.pretrained import ORIGIN, SCRATCH, published_url
from pipelines.weights.remote import (
    KERAS_HOST,
    DownloadFailed,
    download,
    download_checkpoint,
    hub_address,
    reachable,
)
from serving.contract.faces import YUNET_FILE

NO_FACE_MODEL = "none"
"""`origin` of a face model that was not found or not wanted."""
_NO_YUNET_REMEDY = f"put {YUNET_FILE} into a folder and name that in {FOLDER_VARIABLE}"


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The initial weights of one architecture."""

    origin: str
    reason: str
    """The same for the same weights at every place, so that moving the files does not retrain."""
    found: Found | None = None


def resolved(pretrained: Pretrained, found: Found) -> Resolved:
    """Pretrained weights that were found."""
    return Resolved(origin=pretrained.origin, reason=description(found.path, found.name), found=found)


def settle(folder: Path, resolved: Resolved) -> None:
    """Write a folder unless it already holds just this."""
    found = resolved.found
    origin = Origin(origin=resolved.origin, reason=resolved.reason, file=found.name if found else None)
    if _holds(folder, origin, found):
        return
    with replacing_folder(folder) as temporary:
        if found is not None:
            _copy(found.path, temporary / found.name)
        write_record(temporary / ORIGIN, origin)


def _holds(folder: Path, origin: Origin, found: Found | None) -> bool:
    try:
        if read_record(folder / ORIGIN, Origin, stage="weights") != origin:
            return False
    except ResultCorrupt:
        return False
    expected = {ORIGIN} | ({found.name} if found else set())
    if {path.name for path in folder.iterdir()} != expected:
        return False
    return found is None or _same(found.path, folder / found.name)


def _same(source: Path, target: Path) -> bool:
    if source == target:
        return True
    if source.is_dir():
        return target.is_dir() and all(_same(file, target / file.name) for file in _files(source))
    return target.is_file() and filecmp.cmp(source, target, shallow=False)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
        for file in _files(source):
            shutil.copyfile(file, target / file.name)
    else:
        shutil.copyfile(source, target)


def _files(checkpoint: Path) -> Iterable[Path]:
    names = (*CHECKPOINT_FILES, *OPTIONAL_FILES)
    return (checkpoint / name for name in names if (checkpoint / name).is_file())


def main() -> None:
    """Resolve the weights of all architectures."""
    params = load_params()
    resolve_all(params)
    resolve_face_model(params.weights)


def resolve_all(params: Params, *, root: Path = paths.WEIGHTS) -> None:
    """Write `root/ARCHITECTURE/` as `pipelines.weights.pretrained` reads it, unless it is up to date.

    Folders of architectures that are not listed stay: they may be listed again when there is no network.

    Raises:
        WeightsUnavailable: weights are not available, but `weights` in params.yaml requires them.
        OutputError: a folder cannot be written.
    """
    _check_folder()
    wanted = {name: _wanted(name, params) for name in params.architectures}
    with tempfile.TemporaryDirectory() as folder:
        missing: dict[str, str] = {}
        for name, pretrained in wanted.items():
            if params.weights.source == "drawn" and _settle_drawn(name, params, root=root):
                continue
            if pretrained is None or params.weights.source == "scratch":
                if params.weights.source != "auto" or not _settle_drawn(name, params, root=root):
                    settle(root / name, _from_scratch(name, params.weights))
                continue
            found, complaints = find_local(name, pretrained, output=root / name)
            if found is None:
                missing[name] = "; ".join(complaints)
                continue
            _say(name, f"{pretrained.origin} weights, {found.where}: {found.path}", complaints)
            settle(root / name, resolved(pretrained, found))
        asked = {name: pretrained for name in missing if (pretrained := wanted[name]) is not None}
        lost = _fetch_all(asked, params.weights, root=root, folder=Path(folder))
    failed = {name: "; ".join(filter(None, (missing[name], reason))) for name, reason in lost.items()}
    if params.weights.source == "auto":
        failed = {
            name: why for name, why in failed.items() if not _settle_drawn(name, params, root=root, why=why)
        }
    _go_without(failed, wanted, params.weights, root=root)


def resolve_face_model(weights: WeightsParams, *, folder: Path = paths.FACE_MODEL) -> None:
    """Write YuNet's file into a folder, or why it is missing: nothing but the service's speed depends on it.

    Args:
        weights: parameters.
        folder: output; a file that is there already is kept.
    """
    if weights.face_detector == "none":
        settle(folder, Resolved(origin=NO_FACE_MODEL, reason="weights.face_detector is none"))
        return
    own = os.environ.get(FOLDER_VARIABLE)
    places = [folder / YUNET_FILE, *([Path(own).expanduser() / YUNET_FILE] if own else [])]
    path, complaints = find_face_model(places)
    if path is None:
        there = reachable(addresses(), timeout_s=weights.timeout_s)
        lost = [url for url in addresses() if url not in there]
        complaints += [f"{url} does not answer within {weights.timeout_s:g} s" for url in lost]
        try:
            path = download_face_model(sorted(there, key=addresses().index), timeout_s=weights.timeout_s)
        except FaceModelUnavailable as error:
            complaints += [str(error)] if there else []
    if path is None:
        _say(
            "face detector",
            f"WITHOUT YuNet: Haar's cascade finds the faces, fewer of them in photos; {_NO_YUNET_REMEDY}",
            complaints,
        )
        settle(folder, Resolved(origin=NO_FACE_MODEL, reason=f"{YUNET_FILE} was not available"))
        return
    _say("face detector", f"YuNet: {path}", complaints)
    found = Found(path=path, name=YUNET_FILE, where="face model")
    settle(folder, Resolved(origin="opencv_zoo", reason=description(path, YUNET_FILE), found=found))


def _settle_drawn(name: str, params: Params, *, root: Path, why: str = "") -> bool:
    """Take the weights that were pretrained on drawn faces, if there are some that fit.

    Args:
        name: of the architecture.
        params: with its options.
        root: of the stage's output.
        why: why better ones are not available, to print.
    """
    path = SHIPPED / f"{name}.safetensors"
    if not path.exists():
        return False
    problem = problem_with_drawn(path, name, params.model(name))
    if problem is not None:
        _say(name, "no drawn weights", [problem])
        return False
    _say(name, f"weights pretrained on drawn faces: {path.name}", [why] if why else ())
    found = Found(path=path, name=path.name, where=DRAWN)
    settle(root / name, Resolved(origin=DRAWN, reason=description(path, path.name), found=found))
    return True


def _check_folder() -> None:
    setting = os.environ.get(FOLDER_VARIABLE)
    if setting and not Path(setting).expanduser().is_dir():
        raise WeightsUnavailable(
            architecture="all architectures",
            wanted=FOLDER_VARIABLE,
            reason=f"{FOLDER_VARIABLE} is {setting!r}, which is not a folder",
        )


def _wanted(name: str, params: Params) -> Pretrained | None:
    return load_architecture(name).pretrained_weights(params.model(name).options)


def _from_scratch(name: str, weights: WeightsParams) -> Resolved:
    architecture = load_architecture(name)
    if architecture.pretrained is None:
        reason = "not pretrained"
    elif weights.source == "drawn":
        reason = "no drawn weights for these options"
    elif weights.source == "scratch":
        reason = "weights.source is scratch"
    else:
        reason = "no checkpoint configured"
    return Resolved(origin=SCRATCH, reason=reason)


def _fetch_all(
    wanted: Mapping[str, Pretrained], weights: WeightsParams, *, root: Path, folder: Path
) -> dict[str, str]:
    """Download the available weights; return by architecture why others are not available."""
    hosts = {name: _host(pretrained) for name, pretrained in wanted.items()}
    there = reachable(hosts.values(), timeout_s=weights.timeout_s)
    lost = {}
    for name, pretrained in wanted.items():
        if hosts[name] not in there:
            lost[name] = f"{hosts[name]} does not answer within {weights.timeout_s:g} s"
            continue
        try:
            found = _fetch(pretrained, folder=folder / name, timeout_s=weights.timeout_s)
        except DownloadFailed as error:
            lost[name] = str(error)
            continue
        _say(name, f"{pretrained.origin} weights downloaded: {found.name}", ())
        settle(root / name, resolved(pretrained, found))
    return lost


def _host(pretrained: Pretrained) -> str:
    return KERAS_HOST if pretrained.file else hub_address()


def _fetch(pretrained: Pretrained, *, folder: Path, timeout_s: float) -> Found:
    folder.mkdir()
    if pretrained.file is None:
        path = folder
        download_checkpoint(repository_of(pretrained), path, timeout_s=timeout_s)
        name = repository_of(pretrained).split("/")[-1]
    else:
        path, name = folder / pretrained.file, pretrained.file
        download(published_url(pretrained), path, timeout_s=timeout_s)
    problem = problem_with(path, md5=pretrained.md5)
    if problem is not None:
        raise DownloadFailed(problem)
    return Found(path=path, name=name, where="download")


def _go_without(
    failed: Mapping[str, str],
    wanted: Mapping[str, Pretrained | None],
    weights: WeightsParams,
    *,
    root: Path,
) -> None:
    if not failed:
        return
    if weights.source == "imagenet" or weights.offline == "fail":
        raise WeightsUnavailable(
            architecture=", ".join(failed),
            wanted=f"weights.source: {weights.source}, weights.offline: {weights.offline}",
            reason="; ".join(f"{name}: {reason}" for name, reason in failed.items()),
        )
    for name in failed:
        settle(root / name, Resolved(origin=SCRATCH, reason="pretrained weights were not available"))
    rule = "=" * 100
    lines = [f"  {name:<16} {_missing_name(wanted[name])}: {reason}" for name, reason in failed.items()]
    print(
        rule,
        f"WARNING: no pretrained weights for {', '.join(failed)}: training starts FROM SCRATCH there.",
        *lines,
        f"Expect lower accuracy. With a network, or with the files in {FOLDER_VARIABLE}, run `dvc repro`",
        "again; `weights.offline: fail` in params.yaml stops here instead.",
        rule,
        sep="\n",
        flush=True,
    )


def _missing_name(pretrained: Pretrained | None) -> str:
    return "" if pretrained is None else pretrained.file or pretrained.checkpoint or ""


def _say(name: str, text: str, complaints: Iterable[str]) -> None:
    for complaint in complaints:
        print(f"{name}  passed over: {complaint}")
    print(f"{name}  {text}", flush=True)
