"""Find the original pictures: class folders, split folders or FER2013's CSV file."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.core import pixel_table
from pipelines.core.errors import ClassMissing, ClassNameInvalid, DataError, NoImages, SplitsUnclear
from pipelines.core.source_images import Source
from pipelines.prepare.folders import FolderReader, PassedOver, is_left_behind
from pipelines.prepare.split_names import split_named, splits_named
from serving.contract.model import class_name_problem

_EXPECTED = f"data/<class>/*, data/{{train,val,test}}/<class>/* or data/{pixel_table.NAME}"
_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The content of a folder of originals."""

    sources: tuple[Source, ...]
    """In the order of folders and names."""
    classes_in: Path
    """Folder that holds the classes' folders: of the training pictures, where the data bring splits."""
    passed_over: tuple[PassedOver, ...]


def find_sources(data: Path, *, root: Path) -> Found:
    """Find all originals below `data`; locators are relative to `root`.

    Raises:
        NoImages: the folder has no pictures.
        ClassMissing: the folder of a class is empty.
        ClassNameInvalid: a class cannot have its name.
        SplitsUnclear: folders are named after splits, but do not make one set.
        DataError: two layouts at once, links to folders, a name that is not UTF-8, or an unusable CSV file.
    """
    reader = FolderReader(root=root)
    folders = reader.subfolders(data)
    splits = splits_named([folder.name for folder in folders], where=str(data))
    if (data / pixel_table.NAME).is_file():
        _check_alone(data, folders)
        sources, classes_in = _table_sources(data / pixel_table.NAME, reader), data
    elif splits:
        sources = [
            source
            for folder in folders
            for source in _class_sources(reader.subfolders(folder), splits[folder.name], reader)
        ]
        classes_in = next(folder for folder in folders if splits[folder.name] == "train")
    else:
        for folder in folders:
            _check_no_splits_inside(folder)
        sources, classes_in = list(_class_sources(folders, None, reader)), data
    reader.check_links()
    if not sources:
        raise NoImages(folder=data, expected=_EXPECTED)
    _check_names({source.label: _class_folder(source) for source in sources})
    return Found(sources=tuple(sources), classes_in=classes_in, passed_over=tuple(reader.passed_over))


def _check_alone(data: Path, folders: list[Path]) -> None:
    if folders:
        raise DataError(
            f"{data}: holds {pixel_table.NAME} and the folder {folders[0].name!r}, expected one layout; "
            "move one of them elsewhere"
        )


def _table_sources(table: Path, reader: FolderReader) -> list[Source]:
    place = reader.locator(table)
    reader.passed_over[:] = [item for item in reader.passed_over if item.path != place]
    rows = list(pixel_table.rows_of(table))
    splits = {word: split_named(word) for word in {row.split for row in rows} - {""}}
    unknown = sorted(word for word, split in splits.items() if split is None)
    if unknown:
        first = next(row.number for row in rows if row.split == unknown[0])
        raise SplitsUnclear(
            where=place,
            got=f"the splits {', '.join(repr(word[:40]) for word in unknown[:_NAMED])} (row {first})",
            expected="Training, PublicTest and PrivateTest, or train, val and test",
        )
    if rows and all(row.split and splits[row.split] != "train" for row in rows):
        raise SplitsUnclear(
            where=place,
            got=f"{', '.join(sorted(splits))} but nothing to train on",
            expected="rows of Training",
        )
    return [
        Source(locator=f"{place}#{row.number}", label=row.label, split=splits.get(row.split)) for row in rows
    ]


def _class_sources(folders: list[Path], split: str | None, reader: FolderReader) -> Iterator[Source]:
    for folder in folders:
        empty = True
        for locator in reader.files(folder):
            empty = False
            yield Source(locator=locator, label=folder.name, split=split)
        if empty:
            raise ClassMissing(
                what=f"{folder} holds no file, expected pictures of the class {folder.name!r}",
                remedy="add some or remove the folder",
            )


def _check_no_splits_inside(folder: Path) -> None:
    """Refuse `happy/train`, `happy/test`: read as one class they would be mixed and split again."""
    names = [path.name for path in folder.iterdir() if path.is_dir() and not is_left_behind(path.name)]
    if names and "train" in {split_named(name) for name in names} and all(map(split_named, names)):
        raise SplitsUnclear(
            where=str(folder),
            got=f"the splits {', '.join(map(repr, sorted(names)))} inside the class {folder.name!r}",
            expected=f"the classes inside the splits, as {folder.parent.name}/train/{folder.name}",
        )


def _class_folder(source: Source) -> str:
    before, mark, _ = source.locator.partition(f"/{source.label}/")
    return f"{before}{mark.rstrip('/')}"


def _check_names(folders: dict[str, str]) -> None:
    """Refuse names that no model can carry, and names that look the same."""
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for name, folder in sorted(folders.items()):
        if problem := class_name_problem(name):
            raise ClassNameInvalid(name=name, folder=folder, reason=problem)
        alike[unicodedata.normalize("NFC", name).casefold().strip()].append(name)
    for names in alike.values():
        if len(names) > 1:
            raise ClassNameInvalid(
                name=names[1],
                folder=folders[names[1]],
                reason=f"{names[0]!r} is a class too, and they differ only in case, spaces or Unicode form",
            )
