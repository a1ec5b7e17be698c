"""`python -m benchmarks.refusals`: the gate against models of spoiled training sets; about 12 minutes.

LeNet is trained on the sample and goes into production. Then it is trained on the same people with spoiled
training pictures, by the same `mien run` as a user's, and the gate compares it with the first one on the same
untouched test pictures. Printed, as Markdown: the outcome of each, and what it was refused for. The exit
status is 1 unless the first one passes and each of the others is refused for the reasons that its fault
must have.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import yaml

from pipelines.core import paths
from pipelines.explain.faithfulness import blurred
from pipelines.gate.record import GateVerdict, read_verdict

_ARCHITECTURE = "lenet"
_COLLAPSED, _INTO = "sad", "neutral"
_KEPT = 10
"""Pictures of the collapsed class that keep their label: `validate` refuses a class with fewer."""
_SEED = 0

Labels = Sequence[str]
Spoil = Callable[[Labels, np.random.Generator], Labels]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is done to the training pictures."""

    shown: str
    refused_for: frozenset[str]
    """Checks that must fail; others may."""
    relabel: Spoil = lambda labels, random: labels
    """Given label of each training picture → label that it is trained with."""
    blur: bool = False


def permuted(labels: Labels, random: np.random.Generator) -> Labels:
    """The labels in another order: as many of each class, none of them meaningful."""
    return [str(label) for label in random.permutation(np.asarray(labels))]


def collapsed(labels: Labels, random: np.random.Generator) -> Labels:
    """The labels with nearly all of one class called another."""
    of_class = np.flatnonzero(np.asarray(labels) == _COLLAPSED)
    renamed = set(random.permutation(of_class)[_KEPT:].tolist())
    return [_INTO if index in renamed else label for index, label in enumerate(labels)]


FAULTS = (
    Fault(shown="as it is", refused_for=frozenset()),
    Fault(
        shown="labels permuted",
        refused_for=frozenset({"min_accuracy", "min_macro_f1", "max_accuracy_drop", "max_macro_f1_drop"}),
        relabel=permuted,
    ),
    Fault(
        shown=f"`{_COLLAPSED}` labelled `{_INTO}`",
        refused_for=frozenset({f"min_class_recall.{_COLLAPSED}", f"max_class_recall_drop.{_COLLAPSED}"}),
        relabel=collapsed,
    ),
    Fault(shown="blurred", refused_for=frozenset({"min_accuracy", "max_accuracy_drop"}), blur=True),
)


def main() -> None:
    """Train, judge and print."""
    argparse.ArgumentParser(description="The gate against models of spoiled training sets.").parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / "copy"
        originals, manifest = _copied(Path.cwd(), copy)
        verdicts = {}
        for fault in FAULTS:
            write_data(fault, manifest, originals, copy / "data")
            verdicts[fault] = _trained(copy)
            print(f"{fault.shown}: {verdicts[fault].outcome}", file=sys.stderr)
    print("\n".join(table(verdicts)))
    problems = [problem for fault, verdict in verdicts.items() for problem in contradictions(fault, verdict)]
    if problems:
        raise SystemExit("error: " + "; ".join(problems))


def write_data(fault: Fault, manifest: pd.DataFrame, originals: Path, data: Path) -> None:
    """Write a dataset with spoiled training pictures; validation and test pictures stay as they are.

    Args:
        fault: what is done.
        manifest: one row for each picture, with `split`, `label` and `source`.
        originals: folder that `source` is relative to.
        data: folder that is replaced.
    """
    shutil.rmtree(data, ignore_errors=True)
    rows = manifest.sort_values("source")
    splits, labels, sources = (rows[name].astype(str).tolist() for name in ("split", "label", "source"))
    training = [index for index, split in enumerate(splits) if split == "train"]
    relabelled = fault.relabel([labels[index] for index in training], np.random.default_rng(_SEED))
    for index, label in zip(training, relabelled, strict=True):
        labels[index] = label
    for split, label, source in zip(splits, labels, sources, strict=True):
        target = data / split / label / Path(source).name
        target.parent.mkdir(parents=True, exist_ok=True)
        if fault.blur and split == "train":
            picture = np.asarray(cv2.imread(str(originals / source)), np.uint8)
            cv2.imwrite(str(target.with_suffix(".png")), blurred(picture))
        else:
            shutil.copyfile(originals / source, target)


def contradictions(fault: Fault, verdict: GateVerdict) -> Iterator[str]:
    """Sentences about an outcome that the fault does not explain."""
    failed = {check.name for check in verdict.checks if not check.passed}
    if bool(fault.refused_for) == verdict.passed:
        yield f"{fault.shown}: {verdict.outcome}"
    for name in sorted(fault.refused_for - failed):
        yield f"{fault.shown}: {name} did not fail"


def table(verdicts: Mapping[Fault, GateVerdict]) -> Iterator[str]:
    """Lines of Markdown."""
    yield "| training pictures | accuracy | outcome | checks that failed |"
    yield "|---|---|---|---|"
    for fault, verdict in verdicts.items():
        values = {check.name: check.value for check in verdict.checks}
        failed = ", ".join(f"`{check.name}`" for check in verdict.checks if not check.passed)
        yield f"| {fault.shown} | {values['min_accuracy']:.3f} | {verdict.outcome} | {failed or '–'} |"


def _copied(root: Path, copy: Path) -> tuple[Path, pd.DataFrame]:
    """Clone the checkout, prepare the sample there; return its pictures' folder and the manifest."""
    subprocess.run(["git", "clone", "--quiet", "--local", str(root), str(copy)], check=True)
    _run(copy, "dvc", "fetch", "data.dvc")
    _run(copy, "dvc", "checkout", "data.dvc")
    file = copy / "params.yaml"
    params = yaml.safe_load(file.read_text(encoding="utf-8"))
    params["architectures"] = [_ARCHITECTURE]
    file.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    _run(copy, "dvc", "repro", "prepare")
    originals = copy.parent / "originals"
    shutil.copytree(copy / "data", originals / "data")
    # Otherwise the spoiled pictures would be meant for the sample's remote, which `prepare` refuses.
    _run(copy, "dvc", "remove", "data.dvc")
    manifest = pd.read_parquet(copy / paths.MANIFEST, columns=["split", "label", "source"])
    return originals, manifest


def _trained(copy: Path) -> GateVerdict:
    """Version the data, run the pipeline and return the gate's verdict."""
    _run(copy, "dvc", "add", "--quiet", "data")
    # A model that is refused fails the last stage, `verdict`.
    _run(copy, sys.executable, "-m", "pipelines.run", allowed="FAILED at stage verdict")
    return read_verdict(copy / paths.GATE)


def _run(copy: Path, *command: str, allowed: str | None = None) -> None:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    if done.returncode and (allowed is None or allowed not in done.stdout + done.stderr):
        raise SystemExit(f"error: {' '.join(command)} failed: {(done.stdout + done.stderr).strip()[-2000:]}")


if __name__ == "__main__":
    main()
