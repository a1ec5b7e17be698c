"""What a new version must pass first: signature, digest, contract, detector, warm-up, self-test.

Runs in the process that will serve it, beside the model that is live. Every failure is raised as
`ModelRefused`, and the live model is not affected.
"""

from __future__ import annotations

import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.contract import HEATMAP, IMAGE, PROBABILITIES, ModelContract
from serving.errors import ModelFileError, ModelRefused, ModelTimeout, SignatureInvalid
from serving.errors.requests import NotReady
from serving.inference.model_slot import (
    UNSIGNED_MODEL,
    LiveModel,
    ModelIdentity,
    ModelSignature,
    read_identity,
)
from serving.inference.onnx_classifier import BATCH_SIZES, OnnxClassifier, Prediction
from serving.inference.watchdog import WATCHDOG, call_when_lost
from serving.signatures import SIGNATURE, SignatureCheck, SignedFiles, signer_of

MODEL_FILE = "model.onnx"
SELF_TEST = "selftest.npz"
"""File with the model: `image`, and the outputs that the model gave where it was registered."""

# Another CPU's kernels round differently (1e-5 between instruction sets); another model, another
# scaling or a broken file is off by far more. Probabilities and heatmap lie in [0, 1].
_TOLERANCE = 5e-3
# Relative to the largest value, for outputs without a scale of their own: embedding and novelty.
_RELATIVE_TOLERANCE = 1e-2
_SUM_TOLERANCE = 1e-3
LIMIT_S = 30.0
"""As MIEN_MODEL_TIMEOUT_S's default."""
# Interval in which `ending` is called.
_LOOK_S = 0.1
# ONNX Runtime ends a cancelled run between two operators; the process may end without the rest.
_END_S = 1.0

InputCheck = Callable[[ModelContract, Path], tuple[str, ...]]
"""Checks whether pictures can be prepared for a model with the files in a folder; returns warnings, raises an
error if not."""


def admit(
    folder: Path,
    *,
    threads: int,
    max_batch: int,
    usable: InputCheck | None = None,
    limit_s: float = LIMIT_S,
    ending: Callable[[], bool] = lambda: False,
    signed: SignatureCheck | None = None,
) -> LiveModel:
    """Check the model in a cached folder and make it ready to answer.

    Args:
        folder: contains `model.onnx`, `lineage.json` and, if there is one, `selftest.npz`.
        threads: number of threads of one run.
        max_batch: maximum number of pictures in one run.
        usable: checks whether this service can prepare the model's pictures; None: not checked.
        limit_s: maximum time to load the model, and of each of its later runs, seconds.
        ending: called repeatedly; the admission stops once it returns True.
        signed: checks that a trusted key signed the files; None: not checked.

    Raises:
        ModelRefused: a check failed.
        NotReady: `ending` returned True.
    """
    return _Admission(
        folder,
        read_identity(folder),
        threads=threads,
        max_batch=max_batch,
        usable=usable,
        limit_s=limit_s,
        signed=signed,
    ).outcome(ending)


class _Admission:
    """One admission, in a thread of its own: native code that never returns blocks only that thread."""

    def __init__(
        self,
        folder: Path,
        identity: ModelIdentity,
        *,
        threads: int,
        max_batch: int,
        usable: InputCheck | None,
        limit_s: float,
        signed: SignatureCheck | None,
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._threads = threads
        self._max_batch = max_batch
        self._usable = usable
        self._limit_s = limit_s
        self._signed = signed
        self._step = "contract"
        self._admitted: LiveModel | None = None
        self._error: BaseException | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="admission", daemon=True)

    def outcome(self, ending: Callable[[], bool]) -> LiveModel:
        """Start the thread, wait for its end and return the model."""
        self._thread.start()
        while not self._done.wait(_LOOK_S):
            if ending():
                WATCHDOG.cancel_thread(self._thread.ident)
                self._done.wait(_END_S)
                raise NotReady(reason="the service is going down")
        # Nothing here may hold what the error's traceback holds, or the session would live on in a circle.
        error, self._error = self._error, None
        admitted, self._admitted = self._admitted, None
        try:
            if error is not None:
                raise error
        finally:
            del error
        if admitted is None:
            timeout = ModelTimeout(what="it did not come back, and cannot be ended,", limit_s=self._limit_s)
            raise _refused(self._identity, self._step, timeout.reason) from timeout
        return admitted

    def _run(self) -> None:
        call_when_lost(self._done.set)
        try:
            self._admitted = self._admit()
        except BaseException as error:
            self._error = error
        self._done.set()

    def _admit(self) -> LiveModel:
        identity, folder = self._identity, self._folder
        with self._refusing("signature"):
            # First of all: a file without a trusted signature is not even parsed.
            signed = self._signed(folder) if self._signed is not None else None
        with self._refusing("contract"):
            classifier = OnnxClassifier.open(
                folder / MODEL_FILE, threads=self._threads, limit_s=self._limit_s
            )
        if classifier.sha256 != identity.sha256:
            raise _refused(
                identity,
                "digest",
                f"the file has sha256 {classifier.sha256[:12]}…, it was registered with another",
            )
        if signed is not None and signed.sha256 != classifier.sha256:
            raise _refused(
                identity, "signature", f"{MODEL_FILE} was replaced after its signature was checked"
            )
        contract = classifier.contract
        with self._refusing("detector"):
            notes = self._usable(contract, folder) if self._usable is not None else ()
        with self._refusing("warm-up"):
            batch_s = _warm_up(classifier, self._max_batch)
        with self._refusing("self-test"):
            warnings = (*notes, *_self_test(classifier, folder / SELF_TEST))
        # The file says it of itself; a registry may be wrong or silent.
        identity = replace(
            identity,
            dataset=contract.dataset,
            architecture=contract.architecture,
            weights=contract.weights,
        )
        return LiveModel(
            classifier=classifier,
            identity=identity,
            folder=folder,
            signature=_signature(folder, signed),
            warnings=warnings,
            batch_s=batch_s,
        )

    @contextmanager
    def _refusing(self, step: str) -> Iterator[None]:
        self._step = step
        identity = self._identity
        try:
            yield
        except (ModelFileError, ModelTimeout, SignatureInvalid) as error:
            raise _refused(identity, step, error.reason) from error
        except MemoryError as error:
            raise _refused(identity, step, "there is not enough memory for it") from error
        except Exception as error:  # ONNX Runtime's exceptions share no other base
            reason = str(error).splitlines()[0] if str(error) else repr(error)
            raise _refused(identity, step, reason) from error


def _signature(folder: Path, signed: SignedFiles | None) -> ModelSignature:
    """The signature of an admitted model: as it was checked, else as the file itself says."""
    if signed is not None:
        return ModelSignature(state="trusted", signed_by=signed.signed_by)
    file = folder / SIGNATURE
    if not file.is_file():
        return UNSIGNED_MODEL
    try:
        return ModelSignature(state="unchecked", signed_by=signer_of(file))
    except SignatureInvalid:
        return ModelSignature(state="unchecked", signed_by=None)


def _warm_up(classifier: OnnxClassifier, max_batch: int) -> dict[int, float]:
    """Run every batch size: memory is laid out and planned before the first request, not during it.

    Returns:
        Batch size → seconds of its first run, which takes longer than later ones: a limit that starts from
        them is small at first. A second run would add the memory that ONNX Runtime plans for a known size.
    """
    spec = classifier.contract.input
    batch_s: dict[int, float] = {}
    last = next((size for size in BATCH_SIZES if size >= max_batch), BATCH_SIZES[-1])
    for size in BATCH_SIZES[: BATCH_SIZES.index(last) + 1]:
        # Grey noise: an all-black picture may hide what divides by a picture's own brightness.
        images = np.random.default_rng(size).integers(0, 256, (size, spec.height, spec.width, 3), np.uint8)
        begun = time.perf_counter()
        prediction = classifier.predict(images)
        batch_s[size] = time.perf_counter() - begun
        _check_sane(prediction, size)
    return batch_s


def _check_sane(prediction: Prediction, size: int) -> None:
    for name, array in prediction.arrays().items():
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity")
    # ONNX Runtime does not hold a graph to the shape that it declares.
    if prediction.novelty is not None and prediction.novelty.shape != (size,):
        raise ValueError(f"novelty of {size} pictures is {list(prediction.novelty.shape)}, expected [{size}]")
    sums = prediction.probabilities.sum(axis=1)
    if np.abs(sums - 1).max() > _SUM_TOLERANCE:
        raise ValueError(f"probabilities add up to {sums[np.abs(sums - 1).argmax()]:.4f}, expected 1")


def _self_test(classifier: OnnxClassifier, path: Path) -> tuple[str, ...]:
    if not path.exists():
        return (f"the model came without {SELF_TEST}: whether it answers as where it was made is not known",)
    stored = _read(path, classifier.contract.outputs)
    spec = classifier.contract.input
    images = stored[IMAGE]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (spec.height, spec.width, 3):
        raise ValueError(f"its pictures are {images.dtype} {list(images.shape)}, the model takes others")
    if not len(images):
        raise ValueError("it holds no picture")
    for name, answers in classifier.predict(images).arrays().items():
        tolerance = _TOLERANCE
        if name not in (PROBABILITIES, HEATMAP):
            tolerance = _RELATIVE_TOLERANCE * max(float(np.abs(answers).max()), 1e-6)
        _compare(name, answers, stored, tolerance)
    return ()


def _read(path: Path, outputs: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    try:
        # Opened here: a file that NumPy opens itself stays open if it is not an archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            return {name: data[name] for name in (IMAGE, *outputs)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path.name} cannot be read ({error})") from error


def _compare(name: str, got: NDArray[Any], stored: Mapping[str, NDArray[Any]], tolerance: float) -> None:
    expected = stored[name]
    if got.shape != expected.shape:
        raise ValueError(f"{name} is {list(got.shape)}, {list(expected.shape)} was stored")
    difference = float(np.abs(got.astype(np.float64) - expected.astype(np.float64)).max())
    # Written this way round, NaN in the stored answer fails too.
    if not difference <= tolerance:
        raise ValueError(
            f"{name} differs by {difference:.3g} from the stored answer, at most {tolerance:.3g} is let pass"
        )


def _refused(identity: ModelIdentity, step: str, reason: str) -> ModelRefused:
    return ModelRefused(version=identity.version, sha256=identity.sha256, step=step, reason=reason)
