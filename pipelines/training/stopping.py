"""Early stopping with its state in the open, so that a resumed run stops where an unbroken one would."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipelines.core.params import EarlyStopping
from pipelines.training.metrics import Validation


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """What has been the best so far, and how long ago in this phase."""

    best: Validation | None = None
    """Figures of the best epoch; None before the first."""
    best_epoch: int = 0
    """Counted from 1 over all phases; 0 before the first."""
    waited: int = 0
    """Epochs without improvement in this phase."""

    def after(self, epoch: int, result: Validation, rule: EarlyStopping) -> Stopping:
        """The state after one more epoch.

        Of two epochs with equal macro-F1 the one with the lower loss is the better, but only a higher
        macro-F1 renews patience: a loss can creep down for ever.
        """
        if self.best is None or _score(result, rule) > _score(self.best, rule):
            return Stopping(best=result, best_epoch=epoch, waited=0)
        if _score(result, rule) == _score(self.best, rule) and result.loss < self.best.loss:
            return Stopping(best=result, best_epoch=epoch, waited=self.waited + 1)
        return replace(self, waited=self.waited + 1)

    def next_phase(self) -> Stopping:
        """The state at the start of a phase: patience is fresh, the best is kept."""
        return replace(self, waited=0)

    def patience_is_over(self, rule: EarlyStopping) -> bool:
        """Whether the phase should end."""
        return self.waited >= rule.patience


def _score(result: Validation, rule: EarlyStopping) -> float:
    return result.macro_f1 if rule.monitor == "val_macro_f1" else -result.loss
