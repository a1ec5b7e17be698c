"""The panels of `explain`: tiles for the report, one labelled PNG each, and the record of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.explain.answers import Answers
from pipelines.explain.heatmaps import Heatmaps
from pipelines.explain.panels import Cell, Row, overlay, save_panel, save_tile, tile
from pipelines.explain.selection import (
    CONFIDENT_WRONG,
    CORRECT,
    WRONG,
    Answer,
    ComparedFace,
    PanelFace,
    Pick,
)
from serving.contract.arrays import Image

TILES = "tiles"
"""Sub-folder of the single overlays, which the report arranges for each screen size."""

_LETTERS = 11
"""Of a class name; with `pred:` and `100%` that is as wide as a tile."""

_TITLES = {
    CORRECT: "Classified correctly",
    WRONG: "Classified wrongly",
    CONFIDENT_WRONG: "Wrong with the highest confidence",
}
_HOW_TO_READ = "Bright: what raised the score of the predicted class."
_ALL_TITLE = "All architectures on the same faces"
_ALL_HOW_TO_READ = "Heatmaps of the ONNX files, each for the class that this network predicted."


def selected_panel(
    folder: Path, name: str, *, picks: Sequence[Pick], pictures: Image, keras: Heatmaps, onnx: Heatmaps
) -> tuple[PanelFace, ...]:
    """Draw `<name>.png` and its tiles into `folder`; nothing for no pictures.

    Args:
        folder: to write into.
        name: of the panel.
        picks: n pictures' paths and answers.
        pictures: uint8 [n, H, W, 3].
        keras: float32 [n, rows, columns] in [0, 1].
        onnx: the same from the ONNX file.

    Returns:
        One entry per picture.
    """
    columns = [
        {"face": tile(picture), "keras": overlay(picture, own), "onnx": overlay(picture, other)}
        for picture, own, other in zip(pictures, keras, onnx, strict=True)
    ]
    if columns:
        rows = [
            Row(name="picture", cells=tuple(Cell(image=column["face"]) for column in columns)),
            Row(name="Keras,\nGradientTape", cells=tuple(Cell(image=column["keras"]) for column in columns)),
            Row(
                name="ONNX file",
                cells=tuple(
                    _labelled(column["onnx"], pick) for column, pick in zip(columns, picks, strict=True)
                ),
            ),
        ]
        save_panel(folder / f"{name}.png", rows, title=_TITLES[name], subtitle=_HOW_TO_READ)
    return tuple(
        PanelFace(
            path=pick.path,
            label=pick.label,
            predicted=pick.predicted,
            confidence=round(pick.confidence, 6),
            tiles=_save(folder, f"{name}-{index}", column),
        )
        for index, (pick, column) in enumerate(zip(picks, columns, strict=True))
    )


def architectures_panel(
    folder: Path, *, faces: Sequence[Pick], pictures: Image, answers: Mapping[str, Answers]
) -> tuple[ComparedFace, ...]:
    """Draw `architectures.png` and its tiles: one row per architecture, one column per face.

    Returns:
        One entry per face, with each architecture's answer.
    """
    truths = tuple(
        Cell(image=tile(picture), lines=(f"true: {short(face.label)}",))
        for face, picture in zip(faces, pictures, strict=True)
    )
    overlays = {
        name: [overlay(*pair) for pair in zip(pictures, answer.heatmaps, strict=True)]
        for name, answer in answers.items()
    }
    rows = [
        Row(name=name.replace("_", "\n"), cells=_answered(overlays[name], answer, faces))
        for name, answer in answers.items()
    ]
    save_panel(
        folder / "architectures.png",
        [Row(name="picture", cells=truths), *rows],
        title=_ALL_TITLE,
        subtitle=_ALL_HOW_TO_READ,
    )
    return tuple(
        _face_record(folder, index, face=face, picture=tile(picture), answers=answers, overlays=overlays)
        for index, (face, picture) in enumerate(zip(faces, pictures, strict=True))
    )


def short(name: str) -> str:
    """A class name that fits under a tile, cut if need be."""
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"


def _answered(overlays: Sequence[Image], answer: Answers, faces: Sequence[Pick]) -> tuple[Cell, ...]:
    return tuple(
        Cell(
            image=picture,
            lines=(f"pred: {short(answer.predicted(index))} {answer.confidence[index]:.0%}",),
            tone="good" if answer.predicted(index) == face.label else "bad",
        )
        for index, (picture, face) in enumerate(zip(overlays, faces, strict=True))
    )


def _face_record(
    folder: Path,
    index: int,
    *,
    face: Pick,
    picture: Image,
    answers: Mapping[str, Answers],
    overlays: Mapping[str, Sequence[Image]],
) -> ComparedFace:
    tiles = _save(
        folder, f"face-{index}", {"face": picture, **{name: own[index] for name, own in overlays.items()}}
    )
    return ComparedFace(
        path=face.path,
        label=face.label,
        tiles=tiles,
        answers={
            name: Answer(
                predicted=answer.predicted(index), confidence=round(float(answer.confidence[index]), 6)
            )
            for name, answer in answers.items()
        },
    )


def _labelled(picture: Image, pick: Pick) -> Cell:
    return Cell(
        image=picture,
        lines=(f"true: {short(pick.label)}", f"pred: {short(pick.predicted)} {pick.confidence:.0%}"),
        tone="good" if pick.predicted == pick.label else "bad",
    )


def _save(folder: Path, name: str, tiles: Mapping[str, Image]) -> dict[str, str]:
    """Write tiles and return their places, relative to `folder`."""
    (folder / TILES).mkdir(exist_ok=True)
    places = {kind: f"{TILES}/{name}-{kind}.webp" for kind in tiles}
    for kind, place in places.items():
        save_tile(tiles[kind], folder / place)
    return places
