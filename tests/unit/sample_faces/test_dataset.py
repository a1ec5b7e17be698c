"""What is drawn: counts, names, independence of how many, and the shifts for drift tests."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.core.attributes import read_attributes
from pipelines.core.errors import SampleError
from sample_faces.action_units import CLASSES
from sample_faces.attributes import attributes_of
from sample_faces.dataset import (
    SampleSpec,
    Shot,
    class_counts,
    draw_image,
    draw_sitting,
    plan_shots,
    write_sample,
)
from sample_faces.identity import SKIN_TONES, draw_identity
from sample_faces.scene import Window

SPEC = SampleSpec(per_class=4, seed=3, size_px=64)
SHOTS = [Shot(label=label, identity=identity, number=0) for identity in range(3) for label in CLASSES]

FIRST_SAMPLE = {
    (0, "happy"): (144, 81, 74, 149, 137, 84, 88, 130, 143, 74, 81, 134, 139, 78, 78, 137),
    (17, "fear"): (198, 135, 168, 212, 174, 102, 135, 224, 184, 99, 128, 226, 209, 103, 135, 230),
    (123, "sad"): (47, 39, 49, 49, 45, 65, 86, 53, 37, 71, 95, 50, 46, 54, 72, 52),
    (239, "surprise"): (101, 167, 124, 85, 117, 157, 121, 79, 105, 157, 126, 75, 89, 114, 93, 58),
}
"""Gray levels of 4 × 4 fields of some pictures that were committed until November 2026."""


def brightness(spec: SampleSpec) -> float:
    """Mean level of a few images, 0–255."""
    return float(np.mean([draw_image(spec, shot) for shot in SHOTS]))


def test_every_class_gets_its_images() -> None:
    shots = plan_shots(replace(SPEC, per_class=250))
    assert {label: sum(shot.label == label for shot in shots) for label in CLASSES} == dict.fromkeys(
        CLASSES, 250
    )


def test_names_are_unique_and_begin_with_the_person() -> None:
    shots = plan_shots(replace(SPEC, per_class=250))
    names = [shot.name for shot in shots]
    assert len(set(names)) == len(names)
    for shot, name in zip(shots, names, strict=True):
        match = re.match(r"^(id\d+)_", name)
        assert match is not None
        assert int(match[1][2:]) == shot.identity


def test_the_committed_sample_has_1400_people_with_three_different_classes_each() -> None:
    shots = plan_shots(SampleSpec(per_class=600, seed=20))
    seen = {(shot.identity, shot.label) for shot in shots}
    assert len(shots) == len(seen) == 600 * 7
    assert set(Counter(identity for identity, _ in seen).values()) == {3}
    assert {identity for identity, _ in seen} == set(range(1400))


@pytest.mark.parametrize("per_person", range(1, 8))
def test_a_person_sits_for_that_many_different_classes_of_each_round(per_person: int) -> None:
    shots = plan_shots(replace(SPEC, per_class=28, identities=(5, 11), per_person=per_person))
    assert len({shot.name for shot in shots}) == len(shots) == 28 * 7
    counts = Counter((shot.identity, shot.number) for shot in shots)
    assert max(counts.values()) == per_person
    assert {shot.identity for shot in shots} == set(range(5, 12))


def test_seven_of_a_person_are_one_of_each_class() -> None:
    shots = plan_shots(replace(SPEC, per_class=9, identities=(20, 28), per_person=7))
    assert {(shot.identity, shot.label, shot.number) for shot in shots} == {
        (identity, label, 0) for identity in range(20, 29) for label in CLASSES
    }


def test_more_images_than_people_give_further_rounds() -> None:
    shots = plan_shots(replace(SPEC, per_class=5, identities=(10, 11), per_person=7))
    happy = [shot.name for shot in shots if shot.label == "happy"]
    assert happy == [
        "id0010_happy_00.jpg", "id0011_happy_00.jpg", "id0010_happy_01.jpg", "id0011_happy_01.jpg",
        "id0010_happy_02.jpg",
    ]  # fmt: skip


def test_an_image_does_not_depend_on_how_many_there_are() -> None:
    few, many = (set(plan_shots(replace(SPEC, per_class=count))) for count in (3, 40))
    assert few < many


@pytest.mark.parametrize("shot", SHOTS[:7], ids=lambda shot: shot.label)
def test_the_same_seed_draws_the_same_picture(shot: Shot) -> None:
    np.testing.assert_array_equal(draw_image(SPEC, shot), draw_image(SPEC, shot))


def test_another_seed_draws_other_people() -> None:
    shot = SHOTS[0]
    assert (draw_image(SPEC, shot) != draw_image(replace(SPEC, seed=4), shot)).mean() > 0.5


@pytest.mark.parametrize("size_px", [32, 96, 130])
def test_pictures_have_the_size_asked_for(size_px: int) -> None:
    image = draw_image(replace(SPEC, size_px=size_px), SHOTS[0])
    assert image.shape == (size_px, size_px, 3)
    assert image.dtype == np.uint8


def test_pictures_are_colourful_and_exposed() -> None:
    images = np.stack([draw_image(SPEC, shot) for shot in SHOTS])
    assert 50 < images.mean() < 180
    assert images.std(axis=(1, 2, 3)).min() > 12
    assert np.abs(images[..., 0].astype(int) - images[..., 2]).mean() > 5


def test_stronger_expressions_change_more_of_the_face() -> None:
    rest, weak, strong = (
        draw_image(SPEC, Shot(label="surprise", identity=1, number=0), intensity=level).astype(float)
        for level in (0.0, 0.3, 1.0)
    )
    assert 0 < np.abs(weak - rest).mean() < np.abs(strong - rest).mean()


@pytest.mark.parametrize("darker", [0.3, 0.6])
def test_darker_takes_that_share_of_brightness(darker: float) -> None:
    assert brightness(replace(SPEC, darker=darker)) / brightness(SPEC) == pytest.approx(1 - darker, abs=0.01)


def test_blur_is_a_gaussian_of_that_width() -> None:
    sharp, blurred = draw_image(SPEC, SHOTS[0]), draw_image(replace(SPEC, blur=1.5), SHOTS[0])
    np.testing.assert_array_equal(blurred, cv2.GaussianBlur(sharp, (0, 0), 1.5))
    assert cv2.Laplacian(blurred, cv2.CV_64F).var() < 0.2 * cv2.Laplacian(sharp, cv2.CV_64F).var()


def occluders(spec: SampleSpec) -> dict[str, Shot]:
    """The first shot with each occluder."""
    found: dict[str, Shot] = {}
    for shot in plan_shots(replace(spec, per_class=60)):
        found.setdefault(draw_sitting(spec, shot).scene.occluder, shot)
    return found


@pytest.mark.parametrize("occluder", ["none", "hand", "strand", "mask", "bar"])
def test_a_face_is_a_window_of_its_portrait(occluder: str) -> None:
    face = replace(SPEC, size_px=96, low_light=0.0)
    shot = occluders(face)[occluder]
    window = draw_sitting(face, shot).scene.window
    assert 0.5 < window.side < 1
    side_px = round(96 / window.side)
    portrait = draw_image(replace(face, framing="portrait", size_px=side_px), shot)
    top, left = round(window.top * side_px), round(window.left * side_px)
    cut = cv2.resize(portrait[top : top + 96, left : left + 96], (96, 96))
    other = draw_image(face, replace(shot, identity=shot.identity + 1))
    # The backdrop is each picture's own: the middle is compared, and without noise.
    inside = (slice(30, 66), slice(30, 66))
    own, others = (
        np.abs(cv2.blur(picture, (3, 3)).astype(float) - cv2.blur(cut, (3, 3)))[inside].mean()
        for picture in (draw_image(face, shot), other)
    )
    assert own < 8
    assert own < 0.4 * others


def test_most_faces_are_framed_from_forehead_to_chin_and_some_loosely() -> None:
    shots = plan_shots(replace(SPEC, per_class=60))
    windows = [draw_sitting(SPEC, shot).scene.window for shot in shots]
    sides = np.array([window.side for window in windows])
    assert 0.15 < (sides > 0.70).mean() < 0.35
    assert sides.max() > 0.95
    # The issue that asked for it: rows 27–89 %, columns 19–81 % of the portrait.
    tight = np.array([(window.left, window.top) for window in windows])[sides <= 0.70]
    np.testing.assert_allclose(tight.mean(axis=0), (0.19, 0.27), atol=0.01)
    assert np.median(sides[sides <= 0.70]) == pytest.approx(0.62, abs=0.01)


def test_framing_and_clarity_leave_the_rest_of_a_sitting_as_it_was() -> None:
    for shot in SHOTS:
        face, portrait, subtle = (
            draw_sitting(spec, shot)
            for spec in (SPEC, replace(SPEC, framing="portrait"), replace(SPEC, clarity="subtle"))
        )
        assert portrait.scene.window == Window()
        assert face.scene.seed == portrait.scene.seed
        assert face.scene.pose == portrait.scene.pose
        np.testing.assert_array_equal(face.expression.activation, portrait.expression.activation)
        np.testing.assert_array_equal(face.person.shape, subtle.person.shape)


def test_the_first_sample_can_still_be_drawn() -> None:
    first = SampleSpec(
        per_class=240, seed=20, size_px=96, identities=(0, 239), per_person=7,
        framing="portrait", clarity="subtle", low_light=0.0,
    )  # fmt: skip
    assert len(plan_shots(first)) == 1680
    for (identity, label), gray in FIRST_SAMPLE.items():
        picture = draw_image(first, Shot(label=label, identity=identity, number=0))
        coarse = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (4, 4), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(coarse.reshape(-1).astype(int), gray, atol=3)


def test_low_light_is_darker_and_noisier() -> None:
    dim, lit = replace(SPEC, low_light=1.0), replace(SPEC, low_light=0.0)
    assert brightness(dim) < 0.75 * brightness(lit)


@pytest.mark.parametrize(("share", "wearers"), [(0.0, 0), (1.0, 60)])
def test_glasses_are_worn_by_the_share_asked_for(share: float, wearers: int) -> None:
    people = [draw_identity(np.random.default_rng(seed), glasses_share=share) for seed in range(60)]
    assert sum(person.glasses for person in people) == wearers


def test_glasses_change_nothing_else_of_a_person() -> None:
    without, with_glasses = (draw_identity(np.random.default_rng(5), glasses_share=share) for share in (0, 1))
    assert (without.skin, without.hair, without.style) == (
        with_glasses.skin,
        with_glasses.hair,
        with_glasses.style,
    )
    np.testing.assert_array_equal(without.shape, with_glasses.shape)


def test_class_mix_gives_the_share_and_keeps_the_total() -> None:
    counts = class_counts(replace(SPEC, per_class=100, class_mix={"happy": 0.5}))
    assert counts["happy"] == 350
    assert sum(counts.values()) == 700
    assert all(58 <= count <= 59 for label, count in counts.items() if label != "happy")


@pytest.mark.parametrize(
    "mix",
    [{"happy": 0.7, "sad": 0.7}, {"bored": 0.5}, dict.fromkeys(CLASSES, 0.1)],
    ids=["more than all", "unknown class", "less than all"],
)
def test_impossible_mixes_are_refused(mix: dict[str, float]) -> None:
    with pytest.raises(SampleError, match="--class-mix"):
        class_counts(replace(SPEC, class_mix=mix))


def test_attributes_are_those_of_the_drawn_people(tmp_path: Path) -> None:
    spec = replace(SPEC, per_class=2, identities=(40, 60))
    write_sample(spec, tmp_path / "data", processes=1)
    found = read_attributes(tmp_path / "data" / "attributes.csv")
    assert found is not None
    assert found.key == "group"
    assert set(found.rows) == {f"id{shot.identity:04d}" for shot in plan_shots(spec)}
    glasses = dict(
        zip(
            found.rows,
            found.of("glasses", files=[""] * len(found.rows), groups=list(found.rows)),
            strict=True,
        )
    )
    people = {
        name: draw_identity(np.random.default_rng((3, 1, int(name[2:]))), glasses_share=spec.glasses)
        for name in found.rows
    }
    assert glasses == {name: "yes" if person.glasses else "no" for name, person in people.items()}
    # An earlier sample is replaced, with its attributes.
    assert write_sample(spec, tmp_path / "data", processes=1) == 14


@pytest.mark.parametrize(
    ("tone", "name"), [(0, "light"), (2, "light"), (3, "medium"), (6, "medium"), (7, "dark"), (9, "dark")]
)
def test_skin_is_named_by_its_place_among_the_tones(tone: int, name: str) -> None:
    person = draw_identity(np.random.default_rng(1), glasses_share=0)
    assert attributes_of(replace(person, skin=SKIN_TONES[tone]))["skin"] == name
