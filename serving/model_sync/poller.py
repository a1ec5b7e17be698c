"""Poll a model's source in a separate process, since a registry may hang.

    MIEN_TRACKING_URI=URI python -m serving.model_sync.poller LOCATION STATE_FOLDER --poll-s 5

It asks the source for the current version, downloads it into a temporary folder, compares its sha256, checks
its signature if there are trusted keys, and writes `target.json`, until it is killed. The service starts it
through `serving.processes`, so that it ends with the service.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from serving.errors import ModelRefused, SignatureInvalid
from serving.errors.operation import NothingRegistered, RegistryUnavailable
from serving.inference.model_slot import LINEAGE, ModelIdentity, write_identity
from serving.model_sync.location import MODEL_FILE, TRACKING_URI, OnDisk, parse_location
from serving.model_sync.registry_process import watched_source
from serving.model_sync.sources import DiskSource, FoundVersion, RegistrySource, Source
from serving.model_sync.state import MODELS, RefusedDownload, Target, read_good, read_target, write_target
from serving.signatures import SignatureCheck, signature_check

MAX_PAUSE_S = 30.0
"""Maximum pause between two polls of an unreachable registry, unless `MIEN_POLL_S` is longer."""
# A download of a large model over a slow line takes minutes; a poll that takes longer hangs.
_MAX_CHECK_S = 900
# By which the clocks of two machines may differ; Kerberos allows five minutes (RFC 4120, section 8.2).
_CLOCKS_S = 300
_KEPT_FOLDERS = 3
_UNFINISHED = ".fetch-"
# Sentence in the model card of a model that was trained on the procedural sample.
_SAMPLE_MARK = "Trained on drawings, not for real faces"
_CARD = "card.md"
_SAMPLE_TAG = "sample"
_UNKNOWN = "unknown"


class Poller:
    """Keeps the state file in step with a source."""

    def __init__(self, source: Source, folder: Path, *, signed: SignatureCheck | None = None) -> None:
        """Continue from the state that an earlier poller left in the folder.

        Args:
            source: of the model.
            folder: state folder.
            signed: checks that a trusted key signed a model's files; None: not checked.
        """
        self._source = source
        self._signed = signed
        self._folder = folder
        self._models = folder / MODELS
        self._models.mkdir(parents=True, exist_ok=True)
        self._refused_stamp: str | None = None
        target = read_target(folder)
        if (
            target is None
            or target.folder is None
            or not self._may_use(folder / target.folder, target.sha256)
        ):
            # Nothing was found yet, or its files are damaged or not signed: they are fetched again.
            target = Target(checked_at=0.0)
        self._target = replace(target, problem=None, warnings=(), refused=None)
        for path in self._models.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(path, ignore_errors=True)

    def check(self) -> bool:
        """Poll once and write the state file; False when the source is unreachable."""
        available = True
        try:
            found = self._source.find()
            self._target = replace(self._target, absent=False)
            self._update(found)
            self._note(problem=None, warnings=found.warnings)
        except ModelRefused as error:
            self._note(problem=str(error), warnings=found.warnings)
        except NothingRegistered as error:
            self._target = replace(self._target, absent=True)
            self._note(problem=str(error), warnings=())
        except (RegistryUnavailable, OSError) as error:
            available = False
            self._note(problem=str(error), warnings=self._target.warnings)
        return available

    def _note(self, *, problem: str | None, warnings: tuple[str, ...]) -> None:
        self._target = replace(self._target, problem=problem, warnings=warnings, checked_at=time.time())
        write_target(self._folder, self._target)

    def _update(self, found: FoundVersion) -> None:
        if found.stamp == self._target.stamp:
            self._refused_stamp = None
            self._target = replace(self._target, refused=None)
            return
        if found.stamp == self._refused_stamp and (refused := self._target.refused):
            raise ModelRefused(
                version=refused.version, sha256=refused.sha256, step=refused.step, reason=refused.reason
            )
        try:
            sha256, folder = self._fetched(found)
        except ModelRefused as error:
            self._refused_stamp = found.stamp
            refused = RefusedDownload(
                version=error.version,
                sha256=error.sha256,
                reason=error.reason,
                time=time.time(),
                step=error.step,
            )
            self._target = replace(self._target, refused=refused)
            raise
        contents = _contents(folder, sha256)
        same = (self._target.key, self._target.contents) == ((found.version, sha256), contents)
        self._refused_stamp = None
        self._target = replace(
            self._target,
            version=found.version,
            sha256=sha256,
            folder=folder.relative_to(self._folder).as_posix(),
            stamp=found.stamp,
            contents=contents,
            since=self._target.since if same else time.time(),
            promoted_by=self._target.promoted_by if same else _promoted_by(found, self._target.since),
            refused=None,
        )
        self._prune(folder)

    def _fetched(self, found: FoundVersion) -> tuple[str, Path]:
        """Return digest and folder of the version's files; they are downloaded unless the cache has them."""
        if found.sha256 is not None:
            folder = self._place(found.version, found.sha256)
            if self._may_use(folder, found.sha256):
                os.utime(folder)
                return found.sha256, folder
        temporary = Path(tempfile.mkdtemp(dir=self._models, prefix=_UNFINISHED))
        try:
            self._source.fetch(found, temporary)
            sha256 = _sha256_of(temporary / MODEL_FILE)
            if found.sha256 not in (None, sha256):
                raise ModelRefused(
                    version=found.version,
                    sha256=found.sha256 or "",
                    step="download",
                    reason=f"the downloaded file has sha256 {sha256[:12]}…, not the registered one",
                )
            self._check_signature(found, sha256, temporary)
            write_identity(temporary, _identity(found, sha256, temporary))
            temporary.chmod(0o755)
            folder = self._place(found.version, sha256)
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return sha256, folder

    def _check_signature(self, found: FoundVersion, sha256: str, folder: Path) -> None:
        if self._signed is None:
            return
        try:
            self._signed(folder)
        except SignatureInvalid as error:
            raise ModelRefused(
                version=found.version, sha256=sha256, step="signature", reason=error.reason
            ) from error

    def _may_use(self, folder: Path, sha256: str | None) -> bool:
        """Whether a cached folder has the model with this digest and, if asked for, a trusted signature."""
        if not _holds(folder, sha256):
            return False
        try:
            return self._signed is None or bool(self._signed(folder))
        except (SignatureInvalid, OSError):
            return False

    def _place(self, version: str, sha256: str) -> Path:
        return self._models / f"{version}-{sha256[:16]}"

    def _prune(self, current: Path) -> None:
        """Remove old versions, but never the last good one: a start without a registry needs it."""
        good = read_good(self._folder)
        kept = {current, good[0]} if good else {current}
        others = [path for path in self._models.iterdir() if path not in kept]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[_KEPT_FOLDERS:]:
            shutil.rmtree(path, ignore_errors=True)


def source_of(location: str, *, tracking_uri: str, polled: bool = False) -> Source:
    """Create the source of a location.

    Args:
        location: as MIEN_MODEL.
        tracking_uri: of the registry.
        polled: it is asked again and again, and takes little memory while nothing changes.

    Raises:
        LocationInvalid: it is not a model location.
    """
    parsed = parse_location(location)
    if isinstance(parsed, OnDisk):
        return DiskSource(parsed)
    if polled:
        return watched_source(parsed, tracking_uri=tracking_uri)
    return RegistrySource(parsed, tracking_uri=tracking_uri)


def pause_s(poll_s: float, failures: int) -> float:
    """Return the seconds until the next poll: doubled after each failure, with jitter to spread replicas.

    The jitter only shortens the pause, so two limits hold: a promotion is noticed within `poll_s`, and an
    unreachable source is polled again within the longer of `poll_s` and `MAX_PAUSE_S`.
    """
    longest = max(poll_s, MAX_PAUSE_S)
    wanted = min(poll_s * 2.0 ** min(failures, 10), longest)
    return wanted * random.uniform(0.7, 1.0)


def _identity(found: FoundVersion, sha256: str, folder: Path) -> ModelIdentity:
    tags = found.tags
    return ModelIdentity(
        name=found.name,
        version=found.version,
        sha256=sha256,
        source=found.source,
        run_id=found.run_id,
        git_commit=_known(tags.get("git_commit")),
        dirty={"true": True, "false": False}.get(tags.get("dirty", "")),
        dataset=tags.get("dataset", ""),
        data_dvc=_known(tags.get("data_dvc")),
        architecture=tags.get("architecture", ""),
        weights=tags.get("weights", ""),
        sample=_is_sample(tags, folder / _CARD),
    )


def _promoted_by(found: FoundVersion, since: float | None) -> str | None:
    """User who promoted a version that replaces one served since then, Unix time in seconds.

    An earlier promotion by command does not count: the version was replaced and has come back by a click.
    """
    promotion = found.promotion
    if promotion is None or (since is not None and promotion.at < since - _CLOCKS_S):
        return None
    return promotion.by


def _is_sample(tags: Mapping[str, str], card: Path) -> bool:
    """Whether the model was trained on the procedural sample: the version's tag decides.

    Versions that were registered before there was this tag, and folders, which have no tags, have only the
    sentence in their card.
    """
    if (tag := tags.get(_SAMPLE_TAG)) is not None:
        return tag == "true"
    return card.is_file() and _SAMPLE_MARK in card.read_text(encoding="utf-8", errors="replace")


def _known(value: str | None) -> str | None:
    return None if value == _UNKNOWN else value


def _holds(folder: Path, sha256: str | None) -> bool:
    """Whether a cached folder is complete and has the model with this digest."""
    try:
        return (folder / LINEAGE).is_file() and _sha256_of(folder / MODEL_FILE) == sha256
    except OSError:
        return False


def _contents(folder: Path, sha256: str) -> str:
    """Return a digest of the model, whose own digest is known, and of the other files in its folder."""
    digest = hashlib.sha256(sha256.encode())
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in (MODEL_FILE, LINEAGE):
            digest.update(f"{path.name}\n{_sha256_of(path)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    """Poll until killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("location", help="as MIEN_MODEL")
    parser.add_argument("folder", type=Path, help="state folder")
    parser.add_argument("--poll-s", type=float, default=5.0, help="seconds between two polls")
    parser.add_argument(
        "--trusted-key", action="append", default=[], type=Path, help="PEM file; may be given again"
    )
    arguments = parser.parse_args()
    source = source_of(arguments.location, tracking_uri=os.environ.get(TRACKING_URI, ""), polled=True)
    poller = Poller(source, arguments.folder, signed=signature_check(arguments.trusted_key))
    failures = 0
    while True:
        # A poll that hangs ends the process (SIGALRM's default); the supervisor starts another.
        signal.alarm(_MAX_CHECK_S)
        failures = 0 if poller.check() else failures + 1
        signal.alarm(0)
        time.sleep(pause_s(arguments.poll_s, failures))


if __name__ == "__main__":
    main()
