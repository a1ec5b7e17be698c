"""Where original pictures come from: class folders, split folders or FER2013's CSV file.

Every picture has a *locator*, a short text that says where it lies relative to the repository's
root: `data/happy/x.jpg`, or `data/fer2013.csv#123` for data row 123 of a CSV file. The manifest
keeps it, so that evaluation can read the original again, through the model's own contract.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipelines.errors import ClassMissing, DataError, NoImages
from serving.contract import Image, ImageUndecodable, decode_with_header

MAX_PIXELS = 89_478_485
"""Largest original, width × height: ¼ GiB of RGB, the bound Pillow warns at (`MAX_IMAGE_PIXELS`)."""

CSV_NAME = "fer2013.csv"
# Goodfellow et al., 2013, "Challenges in Representation Learning": the file's own order.
FER2013_LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FER2013_SPLITS = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}

_SPLIT_FOLDERS = ("train", "val", "test")
_EXPECTED = f"data/<class>/*, data/{{train,val,test}}/<class>/* or data/{CSV_NAME}"
# What operating systems leave in folders of pictures.
_LITTER = frozenset({"thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
class Source:
    """One original picture, not yet read."""

    locator: str
    """Where it lies, see the module's docstring."""
    label: str
    """The class its folder or row says."""
    split: str | None
    """The split its folder or row says; None where `prepare` decides."""


@dataclass(frozen=True, slots=True)
class Original:
    """One original picture, decoded."""

    image: Image
    """uint8 [h, w, 3], RGB, upright."""
    mode: str
    """Pillow's name for the file's pixels."""
    orientation: int
    """EXIF orientation the file had, 1–8."""
    bytes: int
    """Size of the file, or of the CSV row."""


def find_sources(data: Path, *, root: Path) -> list[Source]:
    """All originals below `data`, in the order of their locators; locators are relative to `root`.

    Raises:
        NoImages: there is nothing.
        ClassMissing: the folder of a class is empty.
        DataError: two layouts at once, a split without `train`, a name that is not UTF-8, or an
            unusable CSV file.
    """
    folders = _subfolders(data)
    table = data / CSV_NAME
    if table.is_file():
        if folders:
            raise DataError(
                f"{data}: holds {CSV_NAME} and the folder {folders[0].name!r}, expected one layout; "
                "move one of them elsewhere"
            )
        found = list(_csv_sources(table, root=root))
    elif any(folder.name in _SPLIT_FOLDERS for folder in folders):
        found = list(_split_sources(data, folders, root=root))
    else:
        found = list(_class_sources(data, None, root=root))
    if not found:
        raise NoImages(folder=data, expected=_EXPECTED)
    return found


def read_image(locator: str, root: Path) -> Image:
    """Read and decode one original: uint8 [h, w, 3], RGB, upright.

    Raises:
        ImageError: the bytes are no picture this project reads.
        OSError: the file cannot be read.
    """
    return read_original(locator, root).image


def read_original(locator: str, root: Path) -> Original:
    """As `read_image`, with what the file said of itself."""
    if f"{CSV_NAME}#" in locator:
        name, _, row = locator.rpartition("#")
        return _read_row(root / name, int(row))
    data = (root / locator).read_bytes()
    image, header = decode_with_header(data, max_pixels=MAX_PIXELS)
    return Original(image=image, mode=header.mode, orientation=header.orientation, bytes=len(data))


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _split_sources(data: Path, folders: list[Path], *, root: Path) -> Iterator[Source]:
    strange = [folder.name for folder in folders if folder.name not in _SPLIT_FOLDERS]
    if strange:
        raise DataError(
            f"{data}: holds the folder {strange[0]!r} beside {', '.join(_SPLIT_FOLDERS)}, "
            "expected only these; rename or move it"
        )
    if not (data / "train").is_dir():
        raise DataError(
            f"{data}: has {', '.join(folder.name for folder in folders)} but no folder 'train'; add it"
        )
    for folder in folders:
        yield from _class_sources(folder, folder.name, root=root)


def _class_sources(folder: Path, split: str | None, *, root: Path) -> Iterator[Source]:
    for class_folder in _subfolders(folder):
        label, place, empty = class_folder.name, _locator(class_folder, root), True
        for name in _files(class_folder):
            empty = False
            yield Source(locator=_checked(f"{place}/{name}"), label=label, split=split)
        if empty:
            raise ClassMissing(
                what=f"{class_folder} holds no file, expected pictures of the class {label!r}",
                remedy="add some or remove the folder",
            )


def _locator(path: Path, root: Path) -> str:
    return _checked(path.relative_to(root).as_posix())


def _checked(locator: str) -> str:
    try:
        locator.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{locator!r}: the name is not UTF-8, expected one that is; rename the file"
        ) from error
    return locator


def _files(folder: Path) -> Iterator[str]:
    """Every file that could be a picture, as its sorted path below `folder`; its content says what it is."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(parent).relative_to(folder).as_posix()
        prefix = "" if below == "." else f"{below}/"
        for name in sorted(names):
            if not name.startswith(".") and name.lower() not in _LITTER:
                yield f"{prefix}{name}"


def _csv_sources(table: Path, *, root: Path) -> Iterator[Source]:
    name = _locator(table, root)
    columns = _csv_index(table).columns
    with table.open("rb") as file:
        file.readline()
        for row, line in enumerate(file):
            if not line.strip():
                continue
            cells = line.split(b",")
            emotion = _cell(cells, columns.get("emotion"))
            if not emotion.isdigit() or int(emotion) >= len(FER2013_LABELS):
                raise DataError(
                    f"{table}: row {row} has the emotion {emotion!r}, expected 0 to "
                    f"{len(FER2013_LABELS) - 1}; correct or remove the row"
                )
            usage = _cell(cells, columns.get("usage"))
            yield Source(
                locator=f"{name}#{row}",
                label=FER2013_LABELS[int(emotion)],
                split=FER2013_SPLITS.get(usage),
            )


@dataclass(frozen=True, slots=True)
class _CsvIndex:
    columns: dict[str, int]
    offsets: list[int]
    """Byte at which each data row begins."""


def _csv_index(table: Path) -> _CsvIndex:
    status = table.stat()
    return _build_csv_index(table, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2)
def _build_csv_index(table: Path, size: int, mtime_ns: int) -> _CsvIndex:
    """Where each row begins; cached for as long as the file stays the same."""
    with table.open("rb") as file:
        header = [cell.strip(' "\r\n').lower() for cell in file.readline().decode("utf-8-sig").split(",")]
        columns = {name: index for index, name in enumerate(header)}
        if not {"emotion", "pixels"} <= columns.keys():
            raise DataError(
                f"{table}: its columns are {', '.join(header)[:80]}, expected emotion,pixels,Usage; "
                "use FER2013's own file"
            )
        offsets, position = [], file.tell()
        for line in file:
            offsets.append(position)
            position += len(line)
    return _CsvIndex(columns=columns, offsets=offsets)


def _read_row(table: Path, row: int) -> Original:
    index = _csv_index(table)
    with table.open("rb") as file:
        file.seek(index.offsets[row])
        cells = file.readline().split(b",")
    text = _cell(cells, index.columns["pixels"])
    try:
        values = np.array(text.split(), dtype=np.uint8)
    except (ValueError, OverflowError) as error:
        raise ImageUndecodable(format="CSV", reason="a pixel is not a number from 0 to 255") from error
    side = round(values.size**0.5)
    if side == 0 or side * side != values.size:
        raise ImageUndecodable(format="CSV", reason=f"{values.size} pixels are no square")
    gray = values.reshape(side, side)
    return Original(image=np.dstack([gray] * 3), mode="L", orientation=1, bytes=len(text))


def _cell(cells: list[bytes], column: int | None) -> str:
    if column is None or column >= len(cells):
        return ""
    return cells[column].decode("utf-8", errors="replace").strip(' "\r\n')
