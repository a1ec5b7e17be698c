"""Labels of drawn faces, compared with the pictures: what is painted is where its landmarks say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sample_faces.action_units import ACTION_UNITS
from sample_faces.annotations import LANDMARKS, annotate, draw_annotated, draw_annotated_sitting
from sample_faces.dataset import SampleSpec, Shot, Sitting, draw_sitting, paint_sitting
from sample_faces.geometry import part
from sample_faces.identity import Colour
from sample_faces.landmarks import mean_face

SIZE_PX = 128
SEED = 20


def landmarks(sitting: Sitting, name: str) -> np.ndarray:
    """Points of one part in the picture, shares of its side, [n, 2]."""
    face, _ = mean_face()
    lengths = [len(part(face, each)) for each in LANDMARKS]
    start = sum(lengths[: LANDMARKS.index(name)])
    return annotate(sitting).landmarks[start : start + lengths[LANDMARKS.index(name)]]


def unobstructed(sitting: Sitting) -> Sitting:
    """The same face looking ahead in good light: no noise, no glasses, nothing in the way."""
    scene = replace(sitting.scene, gaze=(0.0, 0.0), noise=0.0, blur=0.0, occluder="none")
    person = replace(sitting.person, glasses=False, beard="none", style="bald")
    return replace(sitting, scene=scene, person=person)


def painted_with(sitting: Sitting, **colours: Colour) -> np.ndarray:
    """Luma of a painting of the same sitting in other colours, float [size, size]."""
    person = replace(sitting.person, **colours)  # type: ignore[arg-type]  # each is a colour
    picture = paint_sitting(replace(sitting, person=person), framing="face", size_px=SIZE_PX)
    return np.asarray(picture.astype(float).sum(axis=2))


def changed(sitting: Sitting, part_name: str) -> np.ndarray:
    """Where a colour matters: [n, 2] shares of the side, right and down."""
    bright = painted_with(sitting, **{part_name: (255.0, 255.0, 255.0)})
    dark = painted_with(sitting, **{part_name: (0.0, 0.0, 0.0)})
    difference = np.abs(bright - dark)
    rows, columns = np.nonzero(difference > difference.max() / 2)
    return (np.stack([columns, rows], axis=1) + 0.5) / SIZE_PX


def open_eyed(count: int) -> list[Sitting]:
    """Sittings whose eyes are open and whose whole face is in the picture."""
    found = []
    for index in range(400):
        sitting = unobstructed(draw_annotated_sitting(SEED, index))
        known = annotate(sitting)
        closed = max(sitting.expression.side(unit)[half] for unit in (6, 7, 43) for half in (0, 1))
        if closed < 0.1 and known.landmarks.min() > 0.02 and known.landmarks.max() < 0.98:
            found.append(sitting)
    assert len(found) >= count
    return found[:count]


def test_irises_are_where_the_landmarks_say() -> None:
    for sitting in open_eyed(6):
        points = changed(sitting, "iris")
        left, right = (landmarks(sitting, f"iris.{side}")[0] for side in ("left", "right"))
        for expected, other in ((left, right), (right, left)):
            is_near = np.linalg.norm(points - expected, axis=1) < np.linalg.norm(points - other, axis=1)
            assert np.abs(points[is_near].mean(axis=0) - expected).max() < 0.025


def test_lips_fill_their_outline() -> None:
    for sitting in open_eyed(6):
        points = changed(sitting, "lips")
        outline = np.concatenate([landmarks(sitting, "upper_outer"), landmarks(sitting, "lower_outer")])
        assert np.abs(points.min(axis=0) - outline.min(axis=0)).max() < 0.06
        assert np.abs(points.max(axis=0) - outline.max(axis=0)).max() < 0.06


def test_labels_have_their_shapes_and_ranges() -> None:
    picture, known = draw_annotated(SEED, 5, size_px=64)
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    assert known.action_units.shape == (len(ACTION_UNITS), 2)
    assert known.action_units.min() >= 0
    assert known.action_units.max() <= 1
    face, _ = mean_face()
    assert known.landmarks.shape == (sum(len(part(face, name)) for name in LANDMARKS), 2)
    assert known.pose_deg.shape == (3,)


def test_a_picture_depends_on_seed_and_index_only() -> None:
    first, _ = draw_annotated(SEED, 11, size_px=64)
    again, _ = draw_annotated(SEED, 11, size_px=64)
    other, _ = draw_annotated(SEED + 1, 11, size_px=64)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("seed", [SEED, 20_000])
def test_its_people_are_in_no_sample_even_of_the_same_seed(seed: int) -> None:
    spec = SampleSpec(per_class=600, seed=seed)
    sample = {
        draw_sitting(spec, Shot(label="happy", identity=identity, number=0)).person.shape.tobytes()
        for identity in range(300)
    }
    annotated = {draw_annotated_sitting(seed, index).person.shape.tobytes() for index in range(300)}
    assert len(sample) == len(annotated) == 300
    assert not sample & annotated


def test_half_of_the_expressions_are_free_and_show_every_action_unit() -> None:
    units = np.stack([annotate(draw_annotated_sitting(SEED, index)).action_units for index in range(400)])
    active = (units.max(axis=2) > 0.25).mean(axis=0)
    # Half of the faces are free and pull a unit with probability 0.2, beyond 0.25 in three of four.
    assert active.min() > 0.04
