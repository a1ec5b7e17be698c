"""Parts of training by themselves: pictures read, epochs drawn, augmentation, phases and frozen layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.core.params import AugmentationParams, ModelParams, load_params
from pipelines.train import loop
from pipelines.train.augmentation import random_transforms
from pipelines.train.checkpoint import Checkpoint
from pipelines.train.input import Batches, Split
from pipelines.train.loop import recompute_batch_norm
from pipelines.train.schedule import Phase, choose_layers, plan_phases
from tests.support.prepared import CLASSES, write_prepared
from tests.support.training_project import make_project, read_pictures, small_network

OFF = AugmentationParams(flip=False, rotation=0, zoom=0, shift=0)
ON = AugmentationParams(flip=True, rotation=0.1, zoom=0.1, shift=0.1)


def test_pictures_are_read_exactly_class_by_class(tmp_path: Path) -> None:
    from PIL import Image

    write_prepared(tmp_path / "prepared", per_class=5)
    split = read_pictures(tmp_path, "train")
    folders = [tmp_path / "prepared" / "images" / "train" / name for name in CLASSES]
    files = [path for folder in folders for path in sorted(folder.iterdir())]
    np.testing.assert_array_equal(split.images, [np.asarray(Image.open(path)) for path in files])
    np.testing.assert_array_equal(split.labels, np.repeat([0, 1, 2], 5))


@pytest.mark.parametrize("augmentation", [OFF, ON], ids=["plain", "augmented"])
def test_pictures_beyond_the_budget_come_from_disk_the_same(
    tmp_path: Path, augmentation: AugmentationParams
) -> None:
    write_prepared(tmp_path / "prepared", per_class=10)
    memory, disk = read_pictures(tmp_path, "train"), read_pictures(tmp_path, "train", cache_mib=0)
    assert isinstance(disk.images, np.memmap)
    assert (tmp_path / "cache" / "train.npy").stat().st_size >= memory.images.nbytes
    for a, b in zip(epoch_of(memory, augmentation), epoch_of(disk, augmentation), strict=True):
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left, right)


def epoch_of(
    split: Split, augmentation: AugmentationParams = OFF, *, epoch: int = 1, weights: Any = None
) -> list[tuple[np.ndarray, ...]]:
    batches = Batches(split, classes=3, batch_size=8, seed=5, augmentation=augmentation, weights=weights)
    return list(batches.epoch(epoch).as_numpy_iterator())


def numbered(count: int = 30) -> Split:
    """Pictures that carry their own number in every pixel."""
    images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 4, 4, 3))
    return Split(images=np.ascontiguousarray(images), labels=np.arange(count) % 3)


def test_an_epoch_shows_every_picture_once_with_its_label_and_weight() -> None:
    weights = np.array([0.5, 1.0, 1.5], np.float32)
    batches = epoch_of(numbered(32), weights=weights)
    shown = np.concatenate([images[:, 0, 0, 0] for images, _, _ in batches])
    assert sorted(shown) == list(range(32))
    for images, targets, weight in batches:
        labels = images[:, 0, 0, 0] % 3
        np.testing.assert_array_equal(targets, np.eye(3)[labels])
        np.testing.assert_array_equal(weight, weights[labels])


def test_every_epoch_has_its_own_order_and_every_run_the_same() -> None:
    split = numbered()
    orders = [
        [int(number) for images, _, _ in epoch_of(split, epoch=epoch) for number in images[:, 0, 0, 0]]
        for epoch in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])


def test_pictures_left_over_by_one_epoch_are_shown_in_another() -> None:
    split = numbered(30)
    shown = [
        {int(number) for images, _, _ in epoch_of(split, epoch=epoch) for number in images[:, 0, 0, 0]}
        for epoch in range(1, 8)
    ]
    assert all(len(numbers) == 24 for numbers in shown)
    assert set.union(*shown) == set(range(30))


def test_balanced_sampling_shows_the_classes_equally_often_and_all_pictures_of_rare_ones() -> None:
    labels = np.repeat([0, 1, 2], [40, 14, 6])
    images = np.broadcast_to(np.arange(60, dtype=np.uint8)[:, None, None, None], (60, 4, 4, 3))
    batches = Batches(
        Split(images=np.ascontiguousarray(images), labels=labels),
        classes=3,
        batch_size=6,
        seed=5,
        augmentation=OFF,
        weights=None,
        sampling="balanced",
    )
    shown = np.concatenate(list(batches.pictures(1, steps=10)))[:, 0, 0, 0]
    assert np.bincount(labels[shown]).tolist() == [20, 20, 20]
    assert len(set(shown[labels[shown] == 0])) == 20
    assert set(shown[labels[shown] == 2]) == set(range(54, 60))
    assert np.bincount(shown, minlength=60)[54:].min() >= 3


def test_pictures_are_those_of_the_epochs_batches() -> None:
    split = Split(
        images=np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3), np.uint8), labels=np.arange(30) % 3
    )
    mixed = ON.model_copy(update={"erasing": 0.5, "mixup": 0.4, "cutmix": 1.0})
    batches = Batches(split, classes=3, batch_size=8, seed=5, augmentation=mixed, weights=None)
    expected = [images for images, _, _ in batches.epoch(2).as_numpy_iterator()]
    got = list(batches.pictures(2, steps=2))
    assert len(got) == 2
    np.testing.assert_array_equal(got, expected[:2])


def test_batch_norm_statistics_are_the_mean_over_the_batches() -> None:
    import keras

    image = keras.Input((4, 4, 3))
    norm = keras.layers.BatchNormalization(momentum=0.99)
    frozen = keras.layers.BatchNormalization(trainable=False)
    model = keras.Model(image, frozen(norm(image)))
    batches = np.random.default_rng(0).integers(0, 256, (3, 16, 4, 4, 3), np.uint8)
    recompute_batch_norm(model, batches)
    values = batches.astype(float)
    np.testing.assert_allclose(norm.moving_mean, values.mean(axis=(1, 2, 3)).mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, values.var(axis=(1, 2, 3)).mean(axis=0), rtol=1e-3)
    np.testing.assert_array_equal(frozen.moving_mean, np.zeros(3))
    assert norm.momentum == 0.99


def test_a_batch_larger_than_the_split_is_the_split() -> None:
    batches = epoch_of(numbered(5))
    assert [len(images) for images, _, _ in batches] == [5]


def test_augmentation_draws_again_in_every_epoch() -> None:
    rng = np.random.default_rng((5, 1))
    rng.permutation(8)
    once = random_transforms(ON, rng, count=8, height=4, width=4)
    assert once.shape == (8, 2, 3)
    split = Split(
        images=np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8), labels=np.zeros(8, int)
    )
    first, again, second = (sorted(map(bytes, epoch_of(split, ON, epoch=epoch)[0][0])) for epoch in (1, 1, 2))
    assert first == again != second


def test_from_scratch_all_layers_learn_and_pretrained_ones_thaw_from_the_top() -> None:
    classifier = small_network(name="vgg", side=16)
    head = {id(layer) for layer in classifier.head}

    def learning() -> list[Any]:
        return [layer for layer in classifier.model.layers if layer.trainable and layer.variables]

    choose_layers(classifier, Phase(name="s", learns="all", epochs=1, learning_rate=1))
    assert len(learning()) == len([layer for layer in classifier.model.layers if layer.variables])
    choose_layers(classifier, Phase(name="h", learns="head", epochs=1, learning_rate=1))
    assert {id(layer) for layer in learning() if layer.weights} == head
    choose_layers(classifier, Phase(name="t", learns="top", epochs=1, learning_rate=1, unfreeze=8))
    names = [type(layer).__name__ for layer in learning() if id(layer) not in head and layer.weights]
    # The last eight are: Conv BN ReLU Conv BN ReLU Pool Dropout; batch norm stays frozen.
    assert names == ["Conv2D", "Conv2D"]


class Last:
    """A listener that keeps the last epoch."""

    state: Checkpoint

    def before_first_epoch(self, state: Checkpoint) -> None:
        pass

    def after_epoch(self, state: Checkpoint, *, images_per_second: float) -> None:
        self.state = state


def test_frozen_layers_and_batch_norm_statistics_do_not_move(tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    keras.config.set_dtype_policy("float32")
    root = make_project(tmp_path / "a")
    params = load_params(root / "params.yaml")
    classifier, last = small_network(name="vgg"), Last()
    variables = classifier.model.variables
    before = [np.array(variable) for variable in variables]
    loop.train(
        classifier,
        loop.Data(train=read_pictures(root, "train"), val=read_pictures(root, "val"), classes=3),
        settings=loop.Settings(
            phases=plan_phases(
                ModelParams(epochs=1, learning_rate=1e-2, head_epochs=1, unfreeze=8), origin="imagenet"
            ),
            training=params.training,
            augmentation=params.augmentation,
            seed=0,
        ),
        strategy=tf.distribute.get_strategy(),
        listener=last,
    )
    moved = {
        variable.path.split("/")[0]
        for variable, old, new in zip(variables, before, last.state.model, strict=True)
        if (old != new).any() and "seed" not in variable.path
    }
    convolutions = [layer.name for layer in classifier.backbone.layers if type(layer).__name__ == "Conv2D"]
    assert moved == {*convolutions[-2:], "head_dense_0", "logits"}
