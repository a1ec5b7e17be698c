"""Epochs of one network, resumable after each.

One call of `fit` is one epoch. Everything that the next epoch needs is in a `Checkpoint`, so that a run that
was killed at any time continues with the same results.

Seeds, precision and devices, set once before a network is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import TrainingFailed
from pipelines.core.params import AugmentationParams, TrainingParams
from pipelines.core.paths import CHECKPOINTS
from pipelines.model.keras_classifier import Classifier
from pipelines.model.tensorflow_runtime import load_tensorflow
from pipelines.train.checkpoint import Arrays, Checkpoint, Epoch, assign, values_of
from pipelines.train.input import Batches, Split, in_order
from pipelines.train.metrics import Validation, class_weights, validate_logits
from pipelines.train.progress import Progress
from pipelines.train.schedule import Phase, Stopping, build_optimizer, choose_layers, learning_rates

_STATISTICS_STEPS = 50
"""Batches from which batch-norm statistics of averaged weights are taken: 1,600 pictures at a batch of 32."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """Training pictures, and validation pictures for early stopping."""

    train: Split
    val: Split
    classes: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the training."""

    phases: tuple[Phase, ...]
    training: TrainingParams
    augmentation: AugmentationParams
    seed: int


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The outcome; the classifier holds the best weights."""

    history: tuple[Epoch, ...]
    best: Validation
    best_epoch: int


class Listener(Protocol):
    """Listener for the epochs of a training."""

    def before_first_epoch(self, state: Checkpoint) -> None:
        """A new run begins, not a resumed one."""

    def after_epoch(self, state: Checkpoint, *, images_per_second: float) -> None:
        """An epoch is over."""


def train(
    classifier: Classifier,
    data: Data,
    *,
    settings: Settings,
    strategy: Any,
    listener: Listener,
    state: Checkpoint | None = None,
    run_id: str | None = None,
) -> Trained:
    """Train, from the beginning or from a checkpoint, and leave the best weights in the classifier.

    Args:
        classifier: built under `strategy`; its weights are changed.
        data: the two splits.
        settings: how.
        strategy: `tf.distribute` strategy.
        listener: notified of every epoch; saves the checkpoint.
        state: checkpoint to continue from.
        run_id: kept in the checkpoints.

    Raises:
        TrainingFailed: the loss is no longer a number, or the checkpoint is of another network.
    """
    run = _Run(classifier, data, settings=settings, strategy=strategy, listener=listener)
    if state is None:
        state = _beginning(classifier, run_id)
        listener.before_first_epoch(state)
    else:
        _assign(classifier.model.variables, state.model, classifier)
    for index in range(state.phase, len(settings.phases)):
        state = run.phase(index, state)
    _assign(classifier.model.variables, state.best, classifier)
    stopping = state.stopping
    if stopping.best is None:
        raise TrainingFailed(
            architecture=classifier.architecture.name,
            reason="no epoch was better than none at all",
            remedy="look at the losses above, lower the learning rate in params.yaml",
        )
    return Trained(history=state.history, best=stopping.best, best_epoch=stopping.best_epoch)


def _beginning(classifier: Classifier, run_id: str | None) -> Checkpoint:
    values = values_of(classifier.model.variables)
    return Checkpoint(
        phase=0,
        phase_epochs=0,
        history=(),
        stopping=Stopping(),
        run_id=run_id,
        model=values,
        optimizer=[],
        best=values,
    )


class _Run:
    """Everything that stays the same over all epochs."""

    def __init__(
        self, classifier: Classifier, data: Data, *, settings: Settings, strategy: Any, listener: Listener
    ) -> None:
        self._classifier = classifier
        self._model = classifier.model
        self._data = data
        self._settings = settings
        self._strategy = strategy
        self._listener = listener
        training = settings.training
        labels = data.train.labels
        self._batches = Batches(
            data.train,
            classes=data.classes,
            batch_size=training.batch_size,
            seed=settings.seed,
            augmentation=settings.augmentation,
            weights=class_weights(labels, classes=data.classes) if training.class_weights else None,
            sampling=training.sampling,
        )
        self._trained: Arrays = []
        """The model's variables after the last step, before `fit` replaces them by their averages."""
        self._progress = Progress(title=classifier.architecture.name, images_per_step=self._batches.size)

    def phase(self, index: int, state: Checkpoint) -> Checkpoint:
        """Run one phase, or what is left of it, and return the state in which the next one starts."""
        phase = self._settings.phases[index]
        rates = self._compile(phase)
        if state.phase_epochs:
            _assign(self._model.optimizer.variables, state.optimizer, self._classifier)
        rule = self._settings.training.early_stopping
        while state.phase_epochs < phase.epochs and not state.stopping.patience_is_over(rule):
            state = self._epoch(index, state, rates)
        if index + 1 == len(self._settings.phases):
            return state
        _assign(self._model.variables, state.best, self._classifier)
        return Checkpoint(
            phase=index + 1,
            phase_epochs=0,
            history=state.history,
            stopping=state.stopping.next_phase(),
            run_id=state.run_id,
            model=state.best,
            optimizer=[],
            best=state.best,
        )

    def _compile(self, phase: Phase) -> Any:
        choose_layers(self._classifier, phase)
        training = self._settings.training
        steps = self._batches.steps
        rates = learning_rates(
            training.schedule,
            phase.learning_rate,
            steps=phase.epochs * steps,
            warmup_steps=training.warmup_epochs * steps,
        )
        with self._strategy.scope():
            self._model.compile(
                optimizer=build_optimizer(training, rates),
                loss=_loss(training, self._data.train.labels, classes=self._data.classes),
                metrics=["accuracy"],
                jit_compile=False,  # on a CPU it is slower, 0.18 to 0.73 of the speed
            )
            self._model.optimizer.build(self._model.trainable_variables)
        return rates

    def _epoch(self, index: int, state: Checkpoint, rates: Any) -> Checkpoint:
        phase = self._settings.phases[index]
        number = len(state.history) + 1
        self._progress.start(
            f"epoch {number} ({phase.name} {state.phase_epochs + 1}/{phase.epochs})",
            steps=self._batches.steps,
            to_come=self._epochs_after(index, state) * self._batches.steps,
        )
        logs = self._fit(number)
        speed = self._progress.trained()
        model = self._trained
        is_averaged = self._settings.training.ema_decay > 0
        if is_averaged:
            # At its end `fit` has put the averages into the model.
            recompute_batch_norm(self._model, self._batches.pictures(number, steps=_STATISTICS_STEPS))
        result = self._validate()
        stopping = state.stopping.after(number, result, self._settings.training.early_stopping)
        validated = model
        if is_averaged:
            validated = values_of(self._model.variables)
            _assign(self._model.variables, model, self._classifier)
        row = _row(
            number, phase, logs, result, rate=rates[(state.phase_epochs + 1) * self._batches.steps - 1]
        )
        state = Checkpoint(
            phase=index,
            phase_epochs=state.phase_epochs + 1,
            history=(*state.history, row),
            stopping=stopping,
            run_id=state.run_id,
            model=model,
            optimizer=values_of(self._model.optimizer.variables),
            best=validated if stopping.best_epoch == number else state.best,
        )
        self._progress.finish(_summary(row, is_best=stopping.best_epoch == number))
        self._listener.after_epoch(state, images_per_second=speed)
        return state

    def _fit(self, number: int) -> Mapping[str, float]:
        outcome = self._model.fit(
            self._batches.epoch(number),
            epochs=1,
            shuffle=False,  # the batches are drawn in the order they shall have
            verbose=0,
            callbacks=[_step_callback(self._progress, self._fail_if_diverged, self._keep)],
        )
        logs = {key: float(values[0]) for key, values in outcome.history.items()}
        self._fail_if_diverged(logs["loss"])
        return logs

    def _keep(self) -> None:
        self._trained = values_of(self._model.variables)

    def _validate(self) -> Validation:
        val = self._data.val
        dataset = in_order(val.images, batch_size=self._settings.training.batch_size)
        return validate_logits(self._model.predict(dataset, verbose=0), val.labels)

    def _fail_if_diverged(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise TrainingFailed(
                architecture=self._classifier.architecture.name,
                reason=f"the loss became {loss}, expected a finite number",
                remedy=f"lower models.{self._classifier.architecture.name}.learning_rate in params.yaml",
            )

    def _epochs_after(self, index: int, state: Checkpoint) -> int:
        later = sum(phase.epochs for phase in self._settings.phases[index:])
        return later - state.phase_epochs - 1


def _loss(training: TrainingParams, labels: NDArray[np.int64], *, classes: int) -> Any:
    """Cross-entropy of logits; with logit adjustment of logits + factor · log(class frequency).

    The network then answers with adjusted logits: as if all classes were equally frequent.
    """
    import keras

    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    shift = training.logit_adjustment * np.log(counts / counts.sum()).astype(np.float32)

    class CrossEntropy(keras.losses.Loss):  # type: ignore[misc]  # keras ships no types
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return keras.losses.categorical_crossentropy(
                y_true, y_pred + shift, from_logits=True, label_smoothing=training.label_smoothing
            )

    return CrossEntropy()


def recompute_batch_norm(model: Any, batches: Iterable[NDArray[np.uint8]]) -> None:
    """Set the running statistics of each batch norm that is trained to their mean over some batches.

    Izmailov et al., 2018, "Averaging weights leads to wider optima and better generalization": averaged
    weights have other activations than those the statistics were collected from.

    Args:
        model: a Keras model; only these statistics change, and the seeds of its dropout.
        batches: pictures, uint8 [b, H, W, 3].
    """
    import keras

    layers = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    try:
        for index, images in enumerate(batches):
            for layer in layers:
                layer.momentum = index / (index + 1)
            model(images.astype(np.float32), training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def _step_callback(progress: Progress, check: Callable[[float], None], keep: Callable[[], None]) -> Any:
    import keras

    class Steps(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
        last = 0.0

        def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
            if progress.is_due() and logs:
                self.last = float(logs["loss"])
                check(self.last)
            progress.step(self.last)

        def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
            keep()

    return Steps()


def _row(number: int, phase: Phase, logs: Mapping[str, float], result: Validation, *, rate: float) -> Epoch:
    return Epoch(
        epoch=number,
        phase=phase.name,
        learning_rate=float(rate),
        loss=logs["loss"],
        accuracy=logs["accuracy"],
        val_loss=result.loss,
        val_accuracy=result.accuracy,
        val_macro_f1=result.macro_f1,
    )


def _summary(row: Epoch, *, is_best: bool) -> str:
    text = (
        f"loss {row.loss:.3f}  accuracy {row.accuracy:.3f}  val_loss {row.val_loss:.3f}  "
        f"val_accuracy {row.val_accuracy:.3f}  val_macro_f1 {row.val_macro_f1:.3f}"
    )
    return f"{text}  best so far" if is_best else text


def _assign(variables: Any, values: Arrays, classifier: Classifier) -> None:
    name = classifier.architecture.name
    assign(variables, values, architecture=name, checkpoint=f"the folder {CHECKPOINTS}")


def set_up(training: TrainingParams, *, seed: int) -> Any:
    """Seed everything, choose the precision, and return the `tf.distribute` strategy.

    All GPUs there are share each batch (`MirroredStrategy`); with one or none it is the default strategy.
    """
    tf = load_tensorflow()
    import keras

    gpus = tf.config.list_physical_devices("GPU")
    # Layers are named by counters that are stored in the weights file; reset them.
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(training.precision)
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()
