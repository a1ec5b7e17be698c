"""Serve the sample's recorded model without training: `python -m pipelines.demo`, or `make demo`.

The sample's DVC remote, which comes with the repository, holds the model that `make run` selected when its
results were recorded, in float32 and int8. This command prepares the sample, restores both, registers the
selected one exactly as `make run` would and the other one beside it, so that there is a version to promote,
and starts the service. A later `make run` finds the network already trained. If the registry has a version in
production, that version is served and nothing is registered.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.core import paths
from pipelines.core.cli import child_environment, run_stage
from pipelines.core.dataset import read_dataset
from pipelines.core.errors import DataError
from pipelines.core.model_results import read_training_record
from pipelines.core.params import load_params
from pipelines.core.results import read_comparison
from pipelines.core.sample_remote import REMOTE, has_sample_pointer
from pipelines.core.variants import architecture_of, variants_of
from pipelines.register.stage import register, register_variant
from pipelines.register.status import read_registry_status
from pipelines.tracking.registry import PRODUCTION
from pipelines.weights.stage import resolve_face_model

_INSTEAD = "run `make run`, which trains a model of your own data"


def restore(root: Path) -> str:
    """Restore the recorded model's files; prepare the pictures and find the face detector.

    Args:
        root: the checkout.

    Returns:
        Name of the restored variant.

    Raises:
        DataError: DVC failed, or `data/` is not what the recorded model was trained on.
    """
    if not has_sample_pointer(root):
        raise DataError(f"data.dvc does not name the sample, whose model is shown; {_INSTEAD}")
    selected = read_comparison(root).selected
    architecture = architecture_of(selected)
    _dvc(root, "repro", "--quiet", "prepare")
    prepared, recorded = (
        read_dataset(root / paths.DATASET).dataset,
        read_training_record(root / paths.training_record(architecture)).dataset,
    )
    if prepared != recorded:
        raise DataError(
            f"data/ is dataset {prepared[:12]}, the recorded {selected} was trained on {recorded[:12]}; "
            f"{_INSTEAD}"
        )
    files = [str(path) for path in recorded_files(selected) if not (root / path).exists()]
    if files:
        _dvc(root, "pull", "--quiet", "--remote", REMOTE.name, *files)
    # Of the stage `weights` only this: the networks' weights are not needed.
    resolve_face_model(load_params().weights, folder=root / paths.FACE_MODEL)
    return selected


def recorded_files(selected: str) -> tuple[Path, ...]:
    """Files of the selected architecture that git does not have and the sample's remote does."""
    architecture = architecture_of(selected)
    return paths.trained_weights(architecture), *map(paths.onnx_model, variants_of(architecture))


def _dvc(root: Path, *arguments: str) -> None:
    """Run DVC; its messages go to standard error."""
    done = subprocess.run(  # noqa: S603 - the command is this file's own
        [sys.executable, "-m", "dvc", *arguments], cwd=root, env=child_environment(), check=False
    )
    if done.returncode:
        raise DataError(f"`dvc {' '.join(arguments)}` failed, DVC's reason stands above; {_INSTEAD}")


def prepare_registry(root: Path) -> str:
    """Make sure that the registry has a version in production.

    Returns:
        What was done, a line for each version.
    """
    params = load_params()
    model = params.register_.model
    for version in read_registry_status(root, model).versions:
        if PRODUCTION in version.aliases:
            return f"{model} version {version.number} is in production already; nothing was registered"
    selected = restore(root)
    print(f"{selected}: restored from recorded results; nothing was trained", flush=True)
    done = register(root, params, all_runs=False)
    others = (name for name in variants_of(architecture_of(selected)) if name != selected)
    return "\n".join((done, *(register_variant(root, params, name) for name in others)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Register the recorded model if need be, then become the service."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--no-serve", action="store_true", help="only register, do not start the service")
    options = parser.parse_args(arguments)
    print(prepare_registry(Path()), flush=True)
    if not options.no_serve:
        # In this terminal a line for each request would hide what the service says.
        os.environ.setdefault("MIEN_ACCESS_LOG", "false")
        os.execv(sys.executable, [sys.executable, "-m", "serving"])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    run_stage(main)
