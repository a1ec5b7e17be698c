"""Early stopping."""

from __future__ import annotations

from pipelines.core.params import EarlyStopping
from pipelines.train.metrics import Validation
from pipelines.train.schedule import Stopping

F1 = EarlyStopping(monitor="val_macro_f1", patience=2)
LOSS = EarlyStopping(monitor="val_loss", patience=2)


def result(macro_f1: float, loss: float) -> Validation:
    return Validation(loss=loss, accuracy=0.0, macro_f1=macro_f1)


def run(rule: EarlyStopping, *results: Validation) -> Stopping:
    state = Stopping()
    for epoch, value in enumerate(results, start=1):
        state = state.after(epoch, value, rule)
    return state


def test_the_best_macro_f1_wins_for_any_loss() -> None:
    state = run(F1, result(0.5, 1.0), result(0.7, 3.0), result(0.6, 0.1))
    assert (state.best_epoch, state.waited) == (2, 1)


def test_of_two_equal_macro_f1_the_lower_loss_wins() -> None:
    assert run(F1, result(0.7, 1.0), result(0.7, 0.5)).best_epoch == 2
    assert run(F1, result(0.7, 1.0), result(0.7, 1.0)).best_epoch == 1


def test_a_loss_that_creeps_down_does_not_renew_patience() -> None:
    state = run(F1, result(0.7, 1.0), result(0.7, 0.99), result(0.7, 0.98))
    assert state.best_epoch == 3
    assert state.patience_is_over(F1)


def test_the_lowest_loss_wins_when_loss_is_monitored() -> None:
    assert run(LOSS, result(0.9, 1.0), result(0.1, 0.5), result(0.95, 0.6)).best_epoch == 2


def test_patience_ends_after_its_epochs_without_improvement() -> None:
    state = run(F1, result(0.5, 1), result(0.4, 1))
    assert not state.patience_is_over(F1)
    assert state.after(3, result(0.4, 1), F1).patience_is_over(F1)


def test_a_new_phase_has_fresh_patience_but_the_old_best() -> None:
    state = run(F1, result(0.5, 1), result(0.4, 1), result(0.3, 1)).next_phase()
    assert state.waited == 0
    assert state.best_epoch == 1
    assert state.after(4, result(0.45, 1), F1).best_epoch == 1


def test_a_first_epoch_is_the_best_so_far_even_with_nothing_right() -> None:
    assert run(F1, result(0.0, 9.0)).best_epoch == 1
