"""Loads pretrained weights into a network, from `weights/ARCHITECTURE/`, the output of the `weights` stage.

origin.json   {"origin": "scratch" | "imagenet" | "hf:…" | "drawn", "reason": …, "file": name or null}
NAME          Keras' own weights file, the folder of a Hugging Face checkpoint, or a file of `drawn`
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.architectures import Pretrained, load_architecture
from pipelines.core.errors import ResultCorrupt, WeightsUnavailable
from pipelines.core.model_results import Origin
from pipelines.core.params import ModelParams
from pipelines.core.records import read_record
from pipelines.model.keras_classifier import Classifier
from pipelines.weights.drawn import DRAWN, load_drawn

SCRATCH = "scratch"
ORIGIN = "origin.json"


def read_origin(architecture: str, folder: Path) -> Origin:
    """Read `origin.json` of one architecture's weights folder.

    Raises:
        WeightsUnavailable: it is absent, truncated, or names a file that is not there.
    """
    try:
        origin = read_record(folder / ORIGIN, Origin, stage="weights")
    except ResultCorrupt as error:
        reason = f"{ORIGIN} cannot be read ({error})"
        raise WeightsUnavailable(architecture=architecture, wanted=ORIGIN, reason=reason) from error
    if origin.origin != SCRATCH and (origin.file is None or not (folder / origin.file).exists()):
        reason = f"{folder}/{origin.file} is missing though {ORIGIN} names it"
        raise WeightsUnavailable(architecture=architecture, wanted=origin.origin, reason=reason)
    return origin


def completed(name: str, params: ModelParams, folder: Path) -> ModelParams:
    """The settings of an architecture with the numbers its checkpoint prescribes, to build it with.

    Args:
        name: of the architecture.
        params: its block of `params.yaml`.
        folder: its weights folder.

    Raises:
        WeightsUnavailable: the checkpoint's configuration is one the network cannot take.
        ParamsError: an option is unknown or out of range.
    """
    architecture = load_architecture(name)
    origin = read_origin(name, folder)
    if architecture.complete is None or origin.file is None or origin.origin == DRAWN:
        return params
    options = architecture.parse_options(params.options)
    with _translated(name, origin=origin, folder=folder):
        options = architecture.complete(options, folder / origin.file)
    return params.model_copy(update={"options": options.model_dump(mode="json")})


def load_pretrained(classifier: Classifier, folder: Path) -> str:
    """Load the weights that lie in `folder` into the backbone; the head stays as it is.

    Args:
        classifier: built with the settings `completed` returned.
        folder: weights folder of its architecture.

    Returns:
        The origin as the contract names it: `scratch` (nothing was loaded), `imagenet`, `hf:…`, `drawn`.

    Raises:
        WeightsUnavailable: the file is missing, truncated, or of another network.
    """
    architecture = classifier.architecture
    origin = read_origin(architecture.name, folder)
    if origin.file is not None:
        with _translated(architecture.name, origin=origin, folder=folder):
            load = load_drawn if origin.origin == DRAWN else architecture.load or _load_weights
            load(classifier.backbone, folder / origin.file)
    return origin.origin


def published_url(pretrained: Pretrained) -> str:
    """Address of Keras' own file, asked of the installed Keras (imports it)."""
    module = importlib.import_module(f"keras.src.applications.{pretrained.keras_module}")
    # The modules spell the constant in two ways.
    base = getattr(module, "BASE_WEIGHTS_PATH", None) or module.BASE_WEIGHT_PATH
    return f"{base}{pretrained.file}"


def _load_weights(backbone: Any, path: Path) -> None:
    backbone.load_weights(path)


@contextmanager
def _translated(name: str, *, origin: Origin, folder: Path) -> Iterator[None]:
    """Translate errors of reading a weights file into one line that names the file."""
    try:
        # Keras only warns when it skips a part of the file and leaves those weights at random values.
        with warnings.catch_warnings(action="error", category=UserWarning):
            yield
    except (OSError, ValueError, KeyError, TypeError, UserWarning) as error:
        reason = f"{folder}/{origin.file} does not fit the network ({_one_line(error)})"
        raise WeightsUnavailable(architecture=name, wanted=origin.origin, reason=reason) from error


def _one_line(error: Exception) -> str:
    # Libraries break their messages into lines; a stage's error is one.
    return " ".join(str(error).split())[:300] or type(error).__name__
