"""Prepared pictures as arrays, and arrays as batches for Keras.

Pictures are read once, into memory when they fit `training.cache_mib`, else into a file that is
mapped; every epoch then gathers its batches by index. Order and augmentation of an epoch depend on
(seed, epoch) alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import ClassMissing, NoImages, OutputError
from pipelines.core.params import AugmentationParams
from pipelines.train.augmentation import (
    Images,
    augment,
    changes_geometry,
    erase,
    random_boxes,
    random_transforms,
)
from pipelines.train.mixing import Mix, mix_images, mix_targets, random_mix
from serving.contract.model import InputSpec

# Read at once; large enough to keep both cores decoding, small enough for flat memory.
_READ_BATCH = 256
# Batches made ahead of the network.
_AHEAD = 4
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Split:
    """All pictures of one split."""

    images: Images
    """In memory or mapped from a file."""
    labels: NDArray[np.int64]
    """[n], index into the class names."""

    def __len__(self) -> int:
        return len(self.labels)


def read_split(
    folder: Path, spec: InputSpec, *, classes: Sequence[str], cache_mib: int, cache: Path
) -> Split:
    """Read `folder/<class>/*.png`.

    Args:
        folder: of the split.
        spec: what size `prepare` gave the pictures.
        classes: names of the sub-folders, in index order.
        cache_mib: budget of the in-memory copy.
        cache: file that holds the pictures when they are larger.

    Raises:
        NoImages: the folder is absent or empty.
        ClassMissing: a class has no folder or no picture, or there is a folder too many.
        OutputError: the cache file cannot be written.
    """
    check_split(folder, classes)
    dataset = _keras_dataset(folder, spec, classes)
    labels = np.array([classes.index(Path(path).parent.name) for path in dataset.file_paths], np.int64)
    shape = (len(labels), spec.height, spec.width, 3)
    images = _room(shape, cache_mib=cache_mib, cache=cache)
    start = 0
    for batch in dataset.as_numpy_iterator():
        images[start : start + len(batch)] = batch  # whole numbers, for `prepare` made them this size
        start += len(batch)
    return Split(images=images, labels=labels)


def check_split(folder: Path, classes: Sequence[str]) -> None:
    """Make sure that the folders of a split are the classes and none is empty; reads no picture.

    Raises:
        NoImages: the folder is absent.
        ClassMissing: a class has no folder or no picture, or there is a folder too many.
    """
    remedy = "run `dvc repro --force --single-item prepare`"
    if not folder.is_dir():
        raise NoImages(folder=folder, expected="the class folders that `prepare` writes")
    found = {path.name for path in folder.iterdir() if path.is_dir()}
    if found != set(classes):
        wrong = ", ".join(sorted(found.symmetric_difference(classes)))
        what = f"{folder}: its classes and those of dataset.json differ in {wrong}"
        raise ClassMissing(what=what, remedy=remedy)
    for name in classes:
        if not any((folder / name).iterdir()):
            raise ClassMissing(what=f"{folder / name} holds no picture", remedy=remedy)


def _keras_dataset(folder: Path, spec: InputSpec, classes: Sequence[str]) -> Any:
    """The pictures, class by class and sorted by name: float32 [≤ 256, H, W, 3]."""
    import keras

    dataset = keras.utils.image_dataset_from_directory(
        folder,
        class_names=list(classes),
        batch_size=_READ_BATCH,
        image_size=(spec.height, spec.width),
        shuffle=False,
        verbose=False,
    )
    images = dataset.map(lambda images, labels: images)
    images.file_paths = dataset.file_paths
    return images


def _room(shape: tuple[int, ...], *, cache_mib: int, cache: Path) -> Images:
    if np.prod(shape) <= cache_mib * _MIB:
        return np.empty(shape, np.uint8)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        return np.lib.format.open_memmap(cache, mode="w+", dtype=np.uint8, shape=shape)
    except OSError as error:
        raise OutputError(path=cache, reason=error.strerror or str(error)) from error


@dataclass(frozen=True, kw_only=True, eq=False)
class _Epoch:
    """What an epoch draws at random; one row per step."""

    order: NDArray[np.int64]
    """[steps, b], index of each picture."""
    transforms: NDArray[np.float32] | None
    """[steps, b, 2, 3]; see `random_transforms`."""
    boxes: NDArray[np.int64] | None
    """[steps, b, 4]; see `random_boxes`."""
    noise: Images
    """uint8 [H, W, 3] that erased boxes show."""
    mixes: list[Mix | None]


class Batches:
    """Training batches of one epoch after another."""

    def __init__(
        self,
        split: Split,
        *,
        classes: int,
        batch_size: int,
        seed: int,
        augmentation: AugmentationParams,
        weights: NDArray[np.float32] | None,
        sampling: Literal["natural", "balanced"] = "natural",
    ) -> None:
        """Take what stays the same over the epochs.

        Args:
            split: the training pictures.
            classes: number of classes.
            batch_size: at most this many pictures per step.
            seed: of order and augmentation.
            augmentation: ranges.
            weights: of each class, [classes]; None for equal ones.
            sampling: whether an epoch has the classes as often as the split, or equally often.
        """
        self._split = split
        self._targets = np.eye(classes, dtype=np.float32)
        self._weights = np.ones(classes, np.float32) if weights is None else weights
        self._seed = seed
        self._augmentation = augmentation
        self._sampling = sampling
        self.size = min(batch_size, len(split))
        """Pictures per step."""
        self.steps = len(split) // self.size
        """Steps per epoch; what is left over is left out, other pictures in every epoch."""

    def epoch(self, epoch: int) -> Any:
        """A `tf.data.Dataset` of (uint8 [b, H, W, 3], targets [b, classes], weight [b])."""
        import tensorflow as tf

        drawn = self._draw(epoch)
        shape = (self.size, *self._split.images.shape[1:])

        def batch(step: Any) -> Any:
            parts = tf.numpy_function(
                lambda index: self._make(drawn, int(index)), [step], [tf.uint8, tf.float32, tf.float32]
            )
            for part, sizes in zip(
                parts, (shape, (self.size, len(self._targets)), (self.size,)), strict=True
            ):
                part.set_shape(sizes)
            return tuple(parts)

        dataset = tf.data.Dataset.range(self.steps).map(batch, num_parallel_calls=2, deterministic=True)
        return _unsharded(dataset.prefetch(_AHEAD))

    def pictures(self, epoch: int, *, steps: int) -> Iterator[Images]:
        """The pictures of the first `steps` batches of an epoch, uint8 [b, H, W, 3]."""
        drawn = self._draw(epoch)
        for step in range(min(steps, self.steps)):
            yield self._make(drawn, step)[0]

    def _draw(self, epoch: int) -> _Epoch:
        rng = np.random.default_rng((self._seed, epoch))
        count = self.steps * self.size
        order = self._order(rng, count)
        params = self._augmentation
        height, width = self._split.images.shape[1:3]
        shape: dict[str, int] = {"count": count, "height": height, "width": width}
        transforms = random_transforms(params, rng, **shape) if changes_geometry(params) else None
        boxes = random_boxes(params.erasing, rng, **shape) if params.erasing else None
        noise = rng.integers(0, 256, (height, width, 3), np.uint8) if params.erasing else None
        by_step = (self.steps, self.size)
        return _Epoch(
            order=order.reshape(by_step),
            transforms=None if transforms is None else transforms.reshape(*by_step, 2, 3),
            boxes=None if boxes is None else boxes.reshape(*by_step, 4),
            noise=np.empty((0, 0, 3), np.uint8) if noise is None else noise,
            mixes=[
                random_mix(params, rng, size=self.size, height=height, width=width) for _ in range(self.steps)
            ],
        )

    def _order(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        if self._sampling == "natural":
            return rng.permutation(len(self._split))[:count]
        classes = len(self._targets)
        each = -(-count // classes)
        chosen = [
            _repeated(rng, np.flatnonzero(self._split.labels == label), each) for label in range(classes)
        ]
        return rng.permutation(np.concatenate(chosen))[:count]

    def _make(self, drawn: _Epoch, step: int) -> tuple[Images, NDArray[np.float32], NDArray[np.float32]]:
        chosen = drawn.order[step]
        images = np.asarray(self._split.images[chosen])
        if drawn.transforms is not None:
            images = augment(images, drawn.transforms[step])
        if drawn.boxes is not None:
            images = erase(images, drawn.boxes[step], drawn.noise)
        labels = self._split.labels[chosen]
        targets, weights, mix = self._targets[labels], self._weights[labels], drawn.mixes[step]
        if mix is None:
            return images, targets, weights
        return (mix_images(images, mix), *mix_targets(targets, weights, mix))


def _repeated(rng: np.random.Generator, indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` of the indices, each as often as the others or once more."""
    rounds = -(-count // len(indices))
    return np.concatenate([rng.permutation(indices) for _ in range(rounds)])[:count]


def in_order(images: Images, *, batch_size: int) -> Any:
    """A `tf.data.Dataset` of uint8 [b, H, W, 3] in order, for `predict`."""
    import tensorflow as tf

    def batch(start: Any) -> Any:
        part = tf.numpy_function(
            lambda first: np.asarray(images[first : first + batch_size]), [start], tf.uint8
        )
        part.set_shape((None, *images.shape[1:]))
        return part

    starts = tf.data.Dataset.range(0, len(images), batch_size)
    return _unsharded(starts.map(batch, num_parallel_calls=2, deterministic=True).prefetch(_AHEAD))


def _unsharded(dataset: Any) -> Any:
    import tensorflow as tf

    # MirroredStrategy splits each batch over its devices; there are no files to share out.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options)
