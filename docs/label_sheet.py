"""Draw the sheet of probable label errors that the guide shows; some seconds.

    python -m docs.label_sheet

In a checkout where `make run` has run. Labels of 5 % of the sample's validation and test pictures are flipped
to another class at random, in a copy of LeNet's answers; the network learned from the right ones. Writes
docs/images/label-errors.jpg, and prints how many of the found labels are flipped.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from benchmarks.label_errors import flipped
from pipelines.core import paths
from pipelines.core.dataset import read_dataset
from pipelines.core.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs/images/label-errors.jpg"
NETWORK, SHARE, SEED = "lenet", 0.05, 0
SHOWN = 16
QUALITY = 90


def main() -> None:
    """Flip, find, draw, count."""
    checkout = Path().absolute()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("data", "prepared", "params.yaml"):
            (root / name).symlink_to(checkout / name)
        wrong = write_flipped(checkout, root)
        subprocess.run(  # noqa: S603 # the project's own command
            [sys.executable, "-m", "pipelines.labels", NETWORK, "--sheet", str(SHOWN)],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
        )
        sheet = np.asarray(cv2.imread(str(root / paths.LABELS / "sheet.png")), np.uint8)
        with (root / paths.LABELS / "relabel.csv").open(encoding="utf-8", newline="") as file:
            found = [row["file"] in wrong for row in csv.DictReader(file)]
    cv2.imwrite(str(PICTURE), sheet, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    print(
        f"{len(wrong)} labels are flipped: {sum(found)} of the {len(found)} found ones, "
        f"{sum(found[:48])} of the first 48, {sum(found[:SHOWN])} of the first {SHOWN}"
    )


def write_flipped(checkout: Path, root: Path) -> set[str]:
    """Write the network's answers with some other labels; return the files whose labels are flipped."""
    path = paths.evaluation_predictions(NETWORK)
    rows, classes = pd.read_parquet(checkout / path), read_dataset(checkout / paths.DATASET).classes
    labels = np.array([classes.index(label) for label in rows["label"]], np.int64)
    changed, wrong = flipped(labels, len(classes), SHARE, seed=SEED)
    rows["label"] = [classes[label] for label in changed]
    (root / path).parent.mkdir(parents=True)
    rows.to_parquet(root / path, index=False)
    sources = read_manifest(checkout / paths.MANIFEST).set_index("path")["source"]
    return {source.partition("/")[2] for source in sources[rows["path"][wrong]]}


if __name__ == "__main__":
    main()
