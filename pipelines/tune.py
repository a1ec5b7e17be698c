"""`python -m pipelines.tune ARCHITECTURE --minutes 60`: search better parameters on the validation split.

Optuna (Akiba et al., 2019) draws values with a tree-structured Parzen estimator (Bergstra et al., 2011) from
the ranges declared as `Tunable` in `pipelines.core.params`, and stops trials that are worse than the median
after as many epochs. The study is kept in an SQLite file: the same command goes on with it. Every trial is an
MLflow run. Test pictures are not read. The last line is a command that trains with the best values.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from pipelines.core import paths
from pipelines.core.cli import run_stage
from pipelines.core.dataset import Dataset, read_dataset
from pipelines.core.errors import OptionError, TrainingFailed
from pipelines.core.model_results import Origin
from pipelines.core.params import Params, Tunable, check_architecture, load_params
from pipelines.train import loop
from pipelines.train.checkpoint import Checkpoint
from pipelines.train.runlog import RunLog
from pipelines.train.stage import build, read_data, settings_of
from pipelines.weights.pretrained import completed, read_origin

if TYPE_CHECKING:
    import optuna

_BLOCKS = ("training", "augmentation", "head")
_DIGITS = 3
"""Significant ones of a value; more make no difference that a search could see."""
_STARTUP_TRIALS = 5
"""Trials before others are stopped early; Optuna's default, named for the guide."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is searched, and with what."""

    architecture: str
    params: Params
    dataset: Dataset
    origin: Origin
    data: loop.Data
    deadline: float
    """Monotonic time at which trials end."""


def tunables(params: Params, architecture: str) -> dict[str, Tunable]:
    """Dotted name in `params.yaml` → range, of every parameter that counts for one network."""
    found = {
        f"{block}.{name}": tunable
        for block in _BLOCKS
        for name, tunable in _declared(type(getattr(params, block)))
    }
    found |= {
        f"models.{architecture}.{name}": tunable
        for name, tunable in _declared(type(params.model(architecture)))
    }
    if params.training.optimizer == "adam":
        del found["training.weight_decay"]
    return found


def _declared(block: type[BaseModel]) -> Iterator[tuple[str, Tunable]]:
    for name, field in block.model_fields.items():
        for entry in field.metadata:
            if isinstance(entry, Tunable):
                yield name, entry


def with_values(params: Params, values: Mapping[str, float]) -> Params:
    """Parameters with some values replaced.

    Args:
        params: all parameters.
        values: dotted name → value.
    """
    for key, value in values.items():
        *parents, last = key.split(".")
        if parents[0] == "models":
            model = params.model(parents[1]).model_copy(update={last: value})
            params = params.model_copy(update={"models": {**params.models, parents[1]: model}})
        else:
            block = getattr(params, parents[0]).model_copy(update={last: value})
            params = params.model_copy(update={parents[0]: block})
    return params


class _Reporter:
    """Reports each epoch to Optuna and MLflow; ends a trial that is not worth its time."""

    def __init__(self, trial: optuna.Trial, log: RunLog, search: Search) -> None:
        self._trial = trial
        self._log = log
        self._search = search

    def before_first_epoch(self, state: Checkpoint) -> None:
        """Nothing is kept of a trial."""

    def after_epoch(self, state: Checkpoint, *, images_per_second: float) -> None:
        import optuna

        epoch = state.history[-1]
        self._log.epoch(epoch, images_per_second=images_per_second)
        self._trial.report(epoch.val_macro_f1, step=epoch.epoch)
        if self._trial.should_prune():
            raise optuna.TrialPruned(
                f"epoch {epoch.epoch}: val_macro_f1 is below the median of the other trials"
            )
        if time.monotonic() > self._search.deadline:
            raise optuna.TrialPruned("the time is over")


def _objective(search: Search, trial: optuna.Trial) -> float:
    import optuna

    values = {
        name: _rounded(trial.suggest_float(name, tunable.low, tunable.high, log=tunable.is_log))
        for name, tunable in tunables(search.params, search.architecture).items()
    }
    params = with_values(search.params, values)
    log = RunLog(
        f"{params.register_.experiment}-tuning",
        name=f"{search.architecture} trial {trial.number}",
        parameters={"seed": params.seed, **values},
        tags={"architecture": search.architecture, "manifest": search.dataset.dataset},
    )
    try:
        best = _train(search, params, listener=_Reporter(trial, log, search))
    except BaseException as error:
        log.abort("KILLED" if isinstance(error, optuna.TrialPruned) else "FAILED", str(error))
        raise
    log.finish([], {})
    return best


def _train(search: Search, params: Params, *, listener: loop.Listener) -> float:
    name = search.architecture
    strategy = loop.set_up(params.training, seed=params.seed)
    model = completed(name, params.model(name), paths.weights_folder(name))
    trained = loop.train(
        build(name, params, model, dataset=search.dataset, strategy=strategy),
        search.data,
        settings=settings_of(params, model, origin=search.origin),
        strategy=strategy,
        listener=listener,
    )
    return trained.best.macro_f1


def tune(architecture: str, params: Params, *, minutes: float, trials: int | None, study_file: Path) -> Any:
    """Search until the time is over or `trials` are done.

    Args:
        architecture: its name.
        params: all parameters; the first trial has their values.
        minutes: how long, the last trial included.
        trials: maximum in this call; None for no limit.
        study_file: SQLite file of all studies.

    Returns:
        The `optuna.Study`.

    Raises:
        PipelineError: an input is missing, or MLflow does not answer.
    """
    import optuna

    deadline = time.monotonic() + 60 * minutes
    search = _search(architecture, params, deadline=deadline)
    study_file.parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{study_file}",
        # Trials of other pictures or another optimizer are not comparable.
        study_name=f"{architecture} {search.dataset.dataset[:12]} {params.training.optimizer}",
        direction="maximize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=params.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS),
    )
    _end_interrupted(study)
    if not study.trials:
        study.enqueue_trial(_present(params, architecture))
    study.optimize(
        lambda trial: _objective(search, trial),
        n_trials=trials,
        timeout=60 * minutes,
        catch=(TrainingFailed,),
        callbacks=[_say],
    )
    return study


def _search(architecture: str, params: Params, *, deadline: float) -> Search:
    dataset = read_dataset(paths.DATASET)
    return Search(
        architecture=architecture,
        params=params,
        dataset=dataset,
        origin=read_origin(architecture, paths.weights_folder(architecture)),
        data=read_data(params, dataset, cache=paths.CHECKPOINTS / "tuning"),
        deadline=deadline,
    )


def _end_interrupted(study: optuna.Study) -> None:
    """Trials of a killed process stay `RUNNING` for ever; give their values another trial."""
    import optuna

    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.enqueue_trial(trial.params)
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _present(params: Params, architecture: str) -> dict[str, float]:
    """The values of `params.yaml`, moved to the nearest end of their range."""
    values = {}
    for name, tunable in tunables(params, architecture).items():
        *parents, last = name.split(".")
        block = params.model(parents[1]) if parents[0] == "models" else getattr(params, parents[0])
        values[name] = min(max(float(getattr(block, last)), tunable.low), tunable.high)
    return values


def _say(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    state = trial.state.name.lower()
    score = "" if trial.value is None else f", val_macro_f1 {trial.value:.4f}"
    print(f"trial {trial.number} {state}{score}; best so far {_best(study)}", flush=True)


def _best(study: optuna.Study) -> str:
    import optuna

    done = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    return f"{study.best_value:.4f} (trial {study.best_trial.number})" if done else "none"


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def command_of(values: Mapping[str, float]) -> str:
    """The command that trains with some values."""
    changes = " ".join(f"-S {name}={_rounded(value):g}" for name, value in values.items())
    return f"dvc exp run {changes}"


def main() -> None:
    """Parse the command, search, print the best values as a command."""
    import optuna

    parser = argparse.ArgumentParser(
        prog="python -m pipelines.tune", description="Search better training parameters."
    )
    parser.add_argument("architecture", help="such as lenet")
    parser.add_argument("--minutes", type=float, default=60, metavar="M", help="how long to search (60)")
    parser.add_argument("--trials", type=int, metavar="N", help="maximum number (no limit)")
    parser.add_argument(
        "--study",
        type=Path,
        default=paths.TUNING,
        metavar="FILE",
        help=f"SQLite file ({paths.TUNING})",
    )
    arguments = parser.parse_args()
    if arguments.minutes <= 0:
        raise OptionError(option="--minutes", got=arguments.minutes, expected="more than 0")
    if arguments.trials is not None and arguments.trials < 1:
        raise OptionError(option="--trials", got=arguments.trials, expected="at least 1")
    study = tune(
        check_architecture(arguments.architecture),
        load_params(),
        minutes=arguments.minutes,
        trials=arguments.trials,
        study_file=arguments.study,
    )
    if not study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        print("no trial was finished; give the search more --minutes")
        return
    print(
        f"best of {len(study.trials)} trials: val_macro_f1 {study.best_value:.4f}. Train with these values:"
    )
    print(command_of(study.best_params))


if __name__ == "__main__":
    run_stage(main)
