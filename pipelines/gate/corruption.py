"""What the gate knows of corrupted pictures: the candidate's result, and the pictures that it is of.

The stage `robustness` measured the candidate. Only a limit for the drop against production makes the gate
corrupt pictures itself, the same ones, for the production model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.core import paths
from pipelines.core.errors import GateError
from pipelines.core.io import sha256_of
from pipelines.core.params import GateParams, Params
from pipelines.gate.estimates import Measured, measure_shares
from pipelines.metrics.classification import Floats
from pipelines.robustness.pictures import CASES, draw, draw_digest
from pipelines.robustness.record import read_robustness

CORRUPTED_ACCURACY = "corrupted_accuracy"


@dataclass(frozen=True, kw_only=True)
class CorruptedPictures:
    """The corrupted pictures, and the candidate's answers to them."""

    rows: pd.DataFrame
    """Of the manifest."""
    shares: Floats
    """Share of each picture's corrupted versions that the candidate answers right, float64 [n]."""

    def compared(self, gate: GateParams) -> pd.DataFrame | None:
        """The rows whose corrupted pictures production must answer too; None if no drop is limited."""
        return None if gate.max_corrupted_accuracy_drop is None else self.rows

    def measure(self, production: Floats | None, *, samples: int) -> dict[str, Measured]:
        """Measure the accuracy on corrupted pictures, by the name that `gate` has thresholds for.

        Args:
            production: production's shares, float64 [n]; None if it is not compared.
            samples: number of resamples.
        """
        shares = [self.shares] if production is None else [self.shares, production]
        groups = self.rows["group"].to_numpy()
        return {CORRUPTED_ACCURACY: measure_shares(np.stack(shares, axis=1), groups, samples=samples)}


def robustness_digest(root: Path, gate: GateParams) -> str | None:
    """SHA-256 of `reports/robustness.json`, on which the verdict depends; None if no threshold concerns it.

    Raises:
        ResultCorrupt: the file is missing or damaged.
    """
    if not _is_limited(gate):
        return None
    read_robustness(root)
    return sha256_of(root / paths.ROBUSTNESS)


def read_corrupted(
    root: Path, manifest: pd.DataFrame, params: Params, *, sha256: str
) -> CorruptedPictures | None:
    """Read the candidate's result and draw its pictures again; None if no threshold concerns them.

    Args:
        root: the checkout.
        manifest: of `prepare`.
        params: all parameters.
        sha256: of the candidate's file.

    Raises:
        ResultCorrupt: the result is missing or damaged.
        GateError: it is of another model or of other pictures.
    """
    if not _is_limited(params.gate):
        return None
    found = read_robustness(root)
    rows = draw(manifest, most=params.robustness.pictures, seed=params.seed)
    remedy = "run `dvc repro` to update it"
    if found.sha256 != sha256:
        reason = f"{paths.ROBUSTNESS} is of the model {found.sha256[:12]}, expected {sha256[:12]}"
        raise GateError(reason=reason, remedy=remedy)
    if found.draw != draw_digest(rows):
        raise GateError(reason=f"{paths.ROBUSTNESS} is of other pictures than the drawn ones", remedy=remedy)
    return CorruptedPictures(rows=rows, shares=np.array(found.right, dtype=np.float64) / CASES)


def _is_limited(gate: GateParams) -> bool:
    """Whether a threshold concerns corrupted pictures."""
    return gate.min_corrupted_accuracy is not None or gate.max_corrupted_accuracy_drop is not None
