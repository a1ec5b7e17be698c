"""Which face detector a model gets, and where YuNet's file is found.

A model that was trained on crops gets the detector that made them. Models trained on whole pictures get YuNet
where its file is found, Haar otherwise. The file comes from, in this order:

1. `MIEN_FACE_MODEL`;
2. the cache folder, into which it is copied from the first model version that brings it;
3. `share/mien` of the Python environment, where the image build puts it.

The service never downloads it.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

from serving.contract import FaceDetector, InputSpec, ModelContract, detector_file, find_detector
from serving.contract.faces import YUNET_FILE, YUNET_SHA256
from serving.errors import FaceDetectorError

_log = logging.getLogger(__name__)

DetectorChoice = Literal["auto", "haar", "yunet", "none"]

SHARED = Path(sys.prefix) / "share" / "mien" / YUNET_FILE
"""YuNet's file of this Python environment."""


class Detectors:
    """The face detector that fits a model: its own when it was trained on crops, else the configured one."""

    def __init__(
        self, choice: DetectorChoice, *, face_model: Path | None, cache_dir: Path | None = None
    ) -> None:
        """Create the detectors; files are read on first use.

        Args:
            choice: for models trained on whole pictures.
            face_model: YuNet's file. Models that were trained with it need the official file; for others
                another file works, with a warning by `check`.
            cache_dir: folder for the file that a model version brings; None: it is not kept.
        """
        self._choice = choice
        self._face_model = face_model
        self._cached = None if cache_dir is None else cache_dir / YUNET_FILE
        self.yunet_file = self._find_yunet()
        """The configured file, else the official one if it is in one of its places. Until it is there it is
        looked for whenever a model's detector is asked for: another worker, or another model's version, may
        bring it. Who keeps a detector asks again when this changes."""
        self._adopting = threading.Lock()
        # Each detector's file is read once.
        self._named: Callable[[str, Path | None, str | None], FaceDetector] = cache(_find)

    def of(self, spec: InputSpec) -> FaceDetector | None:
        """Detector for a model's pictures; None when looking for faces is switched off.

        Raises:
            FaceDetectorError: the detector's file is not configured, or cannot be used.
        """
        name = self.name(spec)
        if name is None:
            return None
        if name == "haar":
            return self._named(name, None, None)
        self.yunet_file = self.yunet_file or self._find_yunet()
        any_file = spec.detector is None and self._face_model is not None
        return self._named(name, self.yunet_file, None if any_file else YUNET_SHA256)

    def name(self, spec: InputSpec) -> str | None:
        """Name of the detector for a model's pictures; None when looking for faces is switched off."""
        if self._choice == "none":
            return None
        if spec.detector is not None:
            return spec.detector
        if self._choice == "auto":
            self.yunet_file = self.yunet_file or self._find_yunet()
            return "haar" if self.yunet_file is None else "yunet"
        return self._choice

    def _find_yunet(self) -> Path | None:
        if self._face_model is not None:
            return self._face_model
        return next((place for place in (self._cached, SHARED) if place and _is_official(place)), None)

    def check(self, contract: ModelContract, folder: Path | None = None) -> tuple[str, ...]:
        """Check whether faces can be found for a model; return warnings.

        Args:
            contract: of the model.
            folder: with the model's files; its YuNet file is copied to the cache folder if none is there.

        Raises:
            FaceDetectorError: the detector that the model was trained with cannot be used.
        """
        spec = contract.input
        if self._choice == "none" and spec.detector is not None:
            return (
                f"the model was trained on faces that {spec.detector} found, and looking for faces is "
                "switched off: it gets whole pictures; unset MIEN_FACE_DETECTOR",
            )
        notes = () if folder is None else self.adopt(folder)
        try:
            self.of(spec)
        except FaceDetectorError as error:
            if spec.detector is not None:
                raise
            return (*notes, f"{error}; until then only requests with faces=none are answered")
        self._log(spec)
        return (*notes, *self._foreign_file(), *self._other_boxes(contract))

    def _log(self, spec: InputSpec) -> None:
        name = self.name(spec)
        if name == "haar" and self._choice == "auto" and spec.detector is None:
            _log.info("Haar's cascade finds the faces, since %s is in none of its places", YUNET_FILE)
        elif name == "yunet":
            _log.info("YuNet finds the faces: %s", self.yunet_file)

    def adopt(self, folder: Path) -> tuple[str, ...]:
        """Copy the YuNet file of a model version to the cache folder, if none is there; return warnings."""
        file, kept = folder / YUNET_FILE, self._cached
        if kept is None or not file.is_file():
            return ()
        with self._adopting:
            self.yunet_file = self.yunet_file or self._find_yunet()
            if self.yunet_file is not None:
                return ()
            if not _is_official(file):
                return (
                    f"{YUNET_FILE} of the model is not the official file (sha256 differs); it is not used",
                )
            partial = kept.with_name(f".{YUNET_FILE}-{threading.get_ident()}")
            try:
                shutil.copyfile(file, partial)
                partial.replace(kept)
            except OSError as error:
                return (f"{YUNET_FILE} of the model cannot be copied to {kept}: {error}; Haar finds faces",)
            self.yunet_file = kept
        return ()

    def _other_boxes(self, contract: ModelContract) -> tuple[str, ...]:
        """A warning if the model's crops were calibrated with another file of its detector."""
        wanted, name = contract.face_detector, contract.input.detector
        if wanted is None or name is None:
            return ()
        file = detector_file(name, self.yunet_file)
        got = hashlib.sha256(file.read_bytes()).hexdigest()
        if got == wanted.sha256:
            return ()
        return (
            f"the model's crops were calibrated with {wanted.name} (sha256 {wanted.sha256[:12]}…), this "
            f"service finds faces with {file.name} (sha256 {got[:12]}…): crops may differ; install that file",
        )

    def _foreign_file(self) -> tuple[str, ...]:
        try:
            data = self._face_model.read_bytes() if self._face_model else b""
        except OSError:
            return ()
        got = hashlib.sha256(data).hexdigest()
        if not data or got == YUNET_SHA256:
            return ()
        return (
            f"MIEN_FACE_MODEL={self._face_model} has sha256 {got}, which is not that of the OpenCV Zoo's "
            f"{YUNET_FILE} ({YUNET_SHA256}); check where it comes from",
        )


def _find(name: str, file: Path | None, sha256: str | None) -> FaceDetector:
    return find_detector(name, file, sha256=sha256)


def _is_official(file: Path) -> bool:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() == YUNET_SHA256
    except OSError:
        return False
