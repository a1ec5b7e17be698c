from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.explain.panels import TILE_PX, Cell, Row, overlay, save_panel, save_tile, tile


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_a_tile_has_its_size_for_every_picture() -> None:
    for side in (16, TILE_PX, 400):
        assert tile(np.zeros((side, side, 3), np.uint8)).shape == (TILE_PX, TILE_PX, 3)


def test_without_heat_the_overlay_is_the_picture_in_gray() -> None:
    drawn = overlay(picture(), np.zeros((4, 4), np.float32))

    assert np.ptp(drawn, axis=2).max() == 0


def test_heat_is_drawn_where_it_is() -> None:
    heatmap = np.zeros((4, 4), np.float32)
    heatmap[0, 3] = 1

    colored = np.ptp(overlay(np.full((64, 64, 3), 128, np.uint8), heatmap).astype(int), axis=2)

    quarter = TILE_PX // 4
    assert colored[:quarter, -quarter:].mean() > 50
    assert colored[-quarter:, :quarter].max() == 0


def test_eyes_and_mouth_show_through_the_strongest_heat() -> None:
    face = np.full((64, 64, 3), 200, np.uint8)
    face[30:40, 20:44] = 20

    drawn = overlay(face, np.ones((4, 4), np.float32)).astype(int).sum(axis=2)

    assert drawn[105, 96] < 0.7 * drawn[30, 96]


def test_a_panel_is_as_large_as_its_tiles_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    cells = tuple(
        Cell(image=tile(picture()), lines=("true: happy", "pred: sad 83%"), tone="bad") for _ in range(6)
    )
    rows = [Row(name="picture", cells=cells)]

    for name in ("one.png", "two.png"):
        save_panel(tmp_path / name, rows, title="Wrong", subtitle="How to read it")

    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as panel:
        assert "Software" not in panel.info
        assert panel.width == 150 + 18 + 6 * (TILE_PX + 10)
        # Tiles are there pixel by pixel, neither scaled nor filtered.
        inside = np.asarray(panel.convert("RGB"))[74 : 74 + TILE_PX, 150 : 150 + TILE_PX]
    np.testing.assert_array_equal(inside, tile(picture()))


def test_a_panel_of_one_narrow_column_still_holds_its_title(tmp_path: Path) -> None:
    save_panel(
        tmp_path / "one.png",
        [Row(name="x", cells=(Cell(image=tile(picture())),))],
        title="A title that is much wider than one tile",
        subtitle="and a subtitle that is wider still, by a good deal of letters",
    )

    with Image.open(tmp_path / "one.png") as panel:
        pixels = np.asarray(panel.convert("L"))
    assert (pixels[:, -8:] == 255).all()


def test_a_tile_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("one.webp", "two.webp"):
        save_tile(tile(picture()), tmp_path / name)

    assert (tmp_path / "one.webp").read_bytes() == (tmp_path / "two.webp").read_bytes()


def test_heat_shows_as_well_on_a_dark_picture_as_on_a_bright_one() -> None:
    bright, heatmap = picture() // 4 + 180, np.ones((4, 4), np.float32)
    dark = bright - 170

    assert np.abs(overlay(dark, heatmap).astype(int) - overlay(bright, heatmap)).max() <= 3
