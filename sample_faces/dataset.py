"""Which images there are, what each is called, and writing them: many processes, the same bytes.

Each image is drawn from its own random streams, so it depends neither on how many images there are nor on how
many processes draw them. A person has at most one image of a class in each round; `id0123_happy_00.jpg` is of
the first.
"""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.pool import Pool
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import SampleError
from pipelines.core.io import replacing_folder
from sample_faces.action_units import CLASSES, Clarity, Expression, draw_expression, draw_intensity
from sample_faces.attributes import FILE, attributes_table
from sample_faces.camera import photograph
from sample_faces.identity import Identity, draw_identity
from sample_faces.portrait import paint_portrait
from sample_faces.scene import Framing, Scene, draw_scene
from serving.cores import usable_cores

_OVERSAMPLING: Mapping[Framing, int] = {"face": 3, "portrait": 2}
"""Side of the painted head, as a multiple of the photograph's: about two painted pixels for one."""
_QUALITY = 90
_CHUNK = 16
_PERSON, _PICTURE = 1, 2
"""Keys of the random streams."""


@dataclass(frozen=True, kw_only=True)
class SampleSpec:
    """What to draw."""

    per_class: int
    seed: int
    size_px: int = 72
    identities: tuple[int, int] = (0, 1399)
    """First and last person, inclusive."""
    per_person: int = 3
    """Images of each person before the next one comes, each of another class; at most as many as classes."""
    framing: Framing = "face"
    clarity: Clarity = "clear"
    """How strongly emotions tend to show."""
    class_mix: Mapping[str, float] = field(default_factory=dict)
    """Share (0–1) of some classes among all images; the others share the rest equally."""
    glasses: float = 0.16
    """Share of people with glasses."""
    low_light: float = 0.05
    """Share of images taken in low light."""
    darker: float = 0.0
    """Brightness taken away from every image, 0–1."""
    blur: float = 0.0
    """Standard deviation of an additional blur, px of the finished image."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One image to draw."""

    label: str
    identity: int
    number: int
    """Counts a person's images of one class."""

    @property
    def name(self) -> str:
        """File name; what comes before the first underscore is the person."""
        return f"id{self.identity:04d}_{self.label}_{self.number:02d}.jpg"


def plan_shots(spec: SampleSpec) -> list[Shot]:
    """All images of a sample, by class, then in the order of their numbers.

    People take turns: the classes are dealt in their order, `per_person` at a time.
    """
    first, last = spec.identities
    people = last - first + 1
    shots = []
    for place, (label, count) in enumerate(class_counts(spec).items()):
        for index in range(count):
            number, person = divmod((index * len(CLASSES) + place) // spec.per_person, people)
            shots.append(Shot(label=label, identity=first + person, number=number))
    return shots


def class_counts(spec: SampleSpec) -> dict[str, int]:
    """How many images each class gets; together `per_class` × the number of classes.

    Raises:
        SampleError: the shares exceed 1, or a class is unknown.
    """
    unknown = sorted(set(spec.class_mix) - set(CLASSES))
    if unknown:
        raise SampleError(option="--class-mix", got=unknown[0], expected=f"one of {', '.join(CLASSES)}")
    given = sum(spec.class_mix.values())
    others = len(CLASSES) - len(spec.class_mix)
    if given > 1 + 1e-9 or (not others and abs(given - 1) > 1e-9):
        raise SampleError(
            option="--class-mix", got=f"{given:g} in all", expected="shares of 1 in all, or less"
        )
    total = spec.per_class * len(CLASSES)
    rest = (1 - given) / others if others else 0.0
    shares = np.array([spec.class_mix.get(label, rest) for label in CLASSES])
    # Cumulative rounding: the counts sum to the total.
    stops = np.rint(np.cumsum(shares) * total).astype(int)
    return dict(zip(CLASSES, np.diff(stops, prepend=0).tolist(), strict=True))


@dataclass(frozen=True, kw_only=True, eq=False)
class Sitting:
    """What one image shows: all that is known of it without painting it."""

    person: Identity
    intensity: float
    """Of the expression, 0–1; without meaning where the class is neutral."""
    expression: Expression
    scene: Scene


def draw_sitting(spec: SampleSpec, shot: Shot, *, intensity: float | None = None) -> Sitting:
    """Draw who is on an image, with what expression, under what circumstances.

    Args:
        spec: seed, framing, clarity and shares.
        shot: person, class, number.
        intensity: of the expression, 0–1; drawn when not given.
    """
    person = _draw_person(spec, shot.identity)
    rng = np.random.default_rng((spec.seed, _PICTURE, CLASSES.index(shot.label), shot.identity, shot.number))
    drawn = draw_intensity(rng, spec.clarity)
    shown = drawn if intensity is None else intensity
    expression = draw_expression(shot.label, shown, rng)
    scene = draw_scene(rng, low_light_share=spec.low_light, framing=spec.framing)
    return Sitting(person=person, intensity=shown, expression=expression, scene=scene)


def _draw_person(spec: SampleSpec, number: int) -> Identity:
    return draw_identity(np.random.default_rng((spec.seed, _PERSON, number)), glasses_share=spec.glasses)


def draw_image(spec: SampleSpec, shot: Shot, *, intensity: float | None = None) -> NDArray[np.uint8]:
    """Draw one image; arguments as of `draw_sitting`.

    Returns:
        uint8 [size, size, 3], RGB.
    """
    sitting = draw_sitting(spec, shot, intensity=intensity)
    return _shift(paint_sitting(sitting, framing=spec.framing, size_px=spec.size_px), spec)


def paint_sitting(sitting: Sitting, *, framing: Framing, size_px: int) -> NDArray[np.uint8]:
    """Paint and photograph one sitting.

    Returns:
        uint8 [size_px, size_px, 3], RGB.
    """
    scene = sitting.scene
    head = paint_portrait(
        sitting.person,
        sitting.expression,
        pose=scene.pose,
        light=scene.light,
        gaze=scene.gaze,
        size_px=_OVERSAMPLING[framing] * size_px,
    )
    return photograph(head, scene, sitting.person, size_px=size_px)


def write_sample(spec: SampleSpec, folder: Path, *, processes: int | None = None) -> int:
    """Draw a sample into `folder/<class>/`, with `attributes.csv`; the folder is replaced when all is drawn.

    Args:
        spec: what to draw.
        folder: where to; must not exist or be a folder of an earlier sample.
        processes: default: as many as there are cores. The bytes do not depend on it.

    Returns:
        The number of images.

    Raises:
        SampleError: a wrong spec.
        OutputError: the folder cannot be written.
    """
    _check_folder(folder)
    shots = plan_shots(spec)
    with replacing_folder(folder) as target:
        for label in CLASSES:
            (target / label).mkdir()
        for shot, data in _encoded(spec, shots, processes or usable_cores()):
            (target / shot.label / shot.name).write_bytes(data)
        people = sorted({shot.identity for shot in shots})
        drawn = ((f"id{number:04d}", _draw_person(spec, number)) for number in people)
        (target / FILE).write_bytes(attributes_table(drawn))
    return len(shots)


def _encoded(spec: SampleSpec, shots: Sequence[Shot], processes: int) -> Iterator[tuple[Shot, bytes]]:
    chunks = [shots[start : start + _CHUNK] for start in range(0, len(shots), _CHUNK)]
    with drawing_processes(min(processes, max(1, len(chunks)))) as pool:
        for chunk, encoded in zip(chunks, pool.imap(_Encoder(spec), chunks), strict=True):
            yield from zip(chunk, encoded, strict=True)


@contextmanager
def drawing_processes(count: int) -> Iterator[Pool]:
    """Processes that draw pictures: fresh interpreters with one thread each.

    The matrices are small, and with one thread the sums are the same everywhere.
    """
    context = multiprocessing.get_context("spawn")
    with (
        _environment(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1"),
        context.Pool(count, initializer=_one_thread) as pool,
    ):
        yield pool


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Environment of processes started inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _check_folder(folder: Path) -> None:
    """Only an earlier sample may be replaced: never somebody's own pictures."""
    if not folder.exists():
        return
    ours = re.compile(r"id\d{4,}_[a-z]+_\d{2,}\.jpg")
    foreign = [
        path
        for path in sorted(folder.rglob("*") if folder.is_dir() else [folder])
        if not (path.parent == folder and path.name in (*CLASSES, FILE)) and not ours.fullmatch(path.name)
    ]
    if foreign:
        raise SampleError(
            option="--out",
            got=f"{folder}, which holds {foreign[0].name}",
            expected="a new folder, or one with an earlier sample only",
        )


class _Encoder:
    """Draws chunks in a worker."""

    def __init__(self, spec: SampleSpec) -> None:
        self.spec = spec

    def __call__(self, shots: Sequence[Shot]) -> list[bytes]:
        return [encode(draw_image(self.spec, shot)) for shot in shots]


def encode(image: NDArray[np.uint8]) -> bytes:
    """JPEG bytes of an RGB image."""
    _, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    return data.tobytes()


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _shift(image: NDArray[np.uint8], spec: SampleSpec) -> NDArray[np.uint8]:
    if spec.blur:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), spec.blur), np.uint8)
    if spec.darker:
        image = np.rint(image * (1 - spec.darker)).astype(np.uint8)
    return image
