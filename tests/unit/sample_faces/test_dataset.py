"""What is drawn: counts, names, independence of how many, and the shifts for drift tests."""

from __future__ import annotations

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipelines.core.errors import SampleError
from sample_faces.action_units import CLASSES
from sample_faces.dataset import SampleSpec, Shot, class_counts, draw_image, plan_shots
from sample_faces.identity import draw_identity

SPEC = SampleSpec(per_class=4, seed=3, size_px=64)
SHOTS = [Shot(label=label, identity=identity, number=0) for identity in range(3) for label in CLASSES]


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


def test_the_committed_sample_has_240_people_in_every_class() -> None:
    shots = plan_shots(SampleSpec(per_class=240, seed=20))
    seen = {(shot.identity, shot.label) for shot in shots}
    assert len(shots) == len(seen) == 240 * 7


def test_more_images_than_people_give_further_rounds() -> None:
    shots = plan_shots(replace(SPEC, per_class=5, identities=(10, 11)))
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


def test_low_light_is_darker_and_noisier() -> None:
    dim = replace(SPEC, low_light=1.0)
    assert brightness(dim) < 0.75 * brightness(SPEC)


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
