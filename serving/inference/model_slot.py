"""The live model, its identity, and the slot in which it is replaced.

    with slot.lease() as live:
        images = [preprocess(picture, live.contract.input) for picture in pictures]
        prediction = await batcher.predict(np.stack(images), live=live, deadline_s=5.0)

A lease is a reference: the session lives as long as a request holds its `LiveModel` and is freed with the
last reference. There is no counter that could be wrong, and no request waits for another.

Every answer and every row carries the `ModelIdentity`.

`release_memory` returns freed memory to the system, which glibc does not do by itself. Loading a model
fragments the heap: without it, 56 switches of MobileNetV2 (10 MB) took a process from 132 to 216 MiB; with
it, the process stayed between 118 and 123.
"""

from __future__ import annotations

import ctypes
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Strict, TypeAdapter

from serving.contract import ModelContract
from serving.errors import ModelRefused
from serving.errors.requests import NotReady
from serving.inference.onnx_classifier import OnnxClassifier

LINEAGE = "lineage.json"
"""File with the model's identity in its cache folder, written when the model is fetched."""


def _encodable(text: str) -> str:
    text.encode()
    return text


Text = Annotated[str, AfterValidator(_encodable)]
"""A text that every answer can carry: JSON's writer refuses a lone surrogate."""


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """One version of one model."""

    name: Text
    """Of the registered model; for a file, its own name or its folder's."""
    version: Text
    """Number in the registry, or `local` for a file."""
    sha256: Text
    """Of the ONNX file, hexadecimal."""
    source: Text
    """URI or path that it was fetched from."""
    run_id: Text | None = None
    """MLflow run that it comes from."""
    git_commit: Text | None = None
    """Of the code that trained it."""
    dirty: Annotated[bool, Strict()] | None = None
    """Whether that code had uncommitted changes, so that the commit alone does not give the model; None when
    unknown."""
    dataset: Text = ""
    """Manifest hash of the data that it was trained on; empty when unknown."""
    data_dvc: Text | None = None
    """DVC's hash of the original data."""
    architecture: Text = ""
    weights: Text = ""
    """Where its training started."""
    sample: Annotated[bool, Strict()] = False
    """Trained on the procedural sample: a demonstration, not for real faces."""

    @property
    def key(self) -> tuple[str, str]:
        """(version, sha256): what tells two models apart."""
        return self.version, self.sha256


@cache
def _reader() -> TypeAdapter[ModelIdentity]:
    return TypeAdapter(ModelIdentity)


def read_identity(folder: Path) -> ModelIdentity:
    """Identity of the model in a cached folder; keys of a later release are passed over.

    Raises:
        ModelRefused: the file is absent or damaged.
    """
    try:
        # Not `validate_json`, whose error for a lone surrogate does not name the field.
        return _reader().validate_python(json.loads((folder / LINEAGE).read_bytes()))
    except (OSError, ValueError) as error:
        raise ModelRefused(
            version=folder.name, sha256="", step="lineage", reason=f"{LINEAGE} cannot be read ({error})"
        ) from error


def write_identity(folder: Path, identity: ModelIdentity) -> None:
    """Write the identity to the model's folder, before that folder is moved to its place in the cache."""
    text = json.dumps(asdict(identity), indent=2, sort_keys=True)
    (folder / LINEAGE).write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class ModelSignature:
    """Who signed the files of a model that was loaded, and whether that was checked."""

    state: Literal["trusted", "unchecked", "missing"]
    """`trusted`: a trusted key signed them, checked at the admission; `unchecked`: there is a signature, and
    this service trusts no keys that it could be checked with; `missing`: there is none."""
    signed_by: str | None
    """Fingerprint of the key that the signature names; None where it is missing or cannot be read."""


UNSIGNED_MODEL = ModelSignature(state="missing", signed_by=None)


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveModel:
    """A model that passed admission."""

    classifier: OnnxClassifier
    identity: ModelIdentity
    folder: Path
    """Where its files lie: the model, `card.md`, `reference.parquet`, …"""
    signature: ModelSignature = UNSIGNED_MODEL
    warnings: tuple[str, ...] = ()
    """What admission let pass but a person should know."""
    batch_s: Mapping[int, float] = field(default_factory=dict)
    """Batch size → seconds of one run at its admission, of every size up to the largest that is used."""
    since: float = field(default_factory=time.time)
    """Unix time of its admission, seconds."""

    @property
    def signed_by(self) -> str | None:
        """Fingerprint of the trusted key that signed its files; None where no signature is asked for."""
        return self.signature.signed_by if self.signature.state == "trusted" else None

    @property
    def contract(self) -> ModelContract:
        """What it expects and answers."""
        return self.classifier.contract


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A version that failed a check."""

    version: str
    sha256: str
    step: str
    """`download`, `signature`, `lineage`, `digest`, `contract`, `detector`, `warm-up`, `self-test`; of a live
    model, `run`."""
    reason: str
    time: float
    """Unix time, seconds."""

    @classmethod
    def of(cls, error: ModelRefused) -> Refusal:
        """Now, for this reason."""
        return cls(
            version=error.version,
            sha256=error.sha256,
            step=error.step,
            reason=error.reason,
            time=time.time(),
        )


class ModelSlot:
    """Holds the live model; read by every request, written by one watcher."""

    def __init__(self) -> None:
        self._current: LiveModel | None = None
        self._lock = threading.Lock()
        self.reason = "no model yet: the service is starting"
        """Why no model is live, or why the current one is."""
        self.refused: Refusal | None = None
        """The last version that failed, until another one is admitted."""
        self.switches = 0
        """Number of switches, including the first model."""
        self.refusals = 0
        """Number of refused versions."""

    @property
    def current(self) -> LiveModel | None:
        """The live model, if there is one."""
        return self._current

    def require(self) -> LiveModel:
        """The live model.

        Raises:
            NotReady: there is none; the message says why.
        """
        live = self._current
        if live is None:
            raise NotReady(reason=self.reason)
        return live

    @contextmanager
    def lease(self) -> Iterator[LiveModel]:
        """The live model, usable for as long as the block runs even when it is replaced meanwhile.

        Raises:
            NotReady: there is none.
        """
        yield self.require()

    def switch(self, new: LiveModel, reason: str) -> LiveModel | None:
        """Make `new` the live model for requests from now on; return the previous one."""
        with self._lock:
            previous, self._current = self._current, new
            self.reason = reason
            self.refused = None
            self.switches += 1
        return previous

    def withdraw(self, error: ModelRefused) -> None:
        """Withdraw the live model; no model is live until the next switch."""
        with self._lock:
            self._current = None
            self.reason = f"no model is live: {error}"
            self.refused = Refusal.of(error)
            self.refusals += 1

    def refuse(self, error: ModelRefused) -> None:
        """Record that a version was refused."""
        with self._lock:
            self.refused = Refusal.of(error)
            self.refusals += 1

    def waiting(self, reason: str) -> None:
        """Set the reason why no model is live; no effect when one is."""
        with self._lock:
            if self._current is None:
                self.reason = reason


def release_memory() -> None:
    """Return unused pages of the heap to the system; takes milliseconds. No effect without glibc."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL("libc.so.6").malloc_trim
    except (OSError, AttributeError):
        return None
