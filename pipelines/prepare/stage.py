"""Turn the originals in data/ into the network's inputs: cropped, resized, split, without duplicates.

    python -m pipelines.prepare

Reads data/<class>/*, data/{train,val,test}/<class>/* or data/fer2013.csv (docs/dataset.md); writes
prepared/ and reports/prepare.json. docs/benchmarks.md has its speed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from pipelines.core.data_results import Removed
from pipelines.core.dataset import Dataset, write_dataset
from pipelines.core.errors import ClassMissing, NoImages, TooManyUnreadable
from pipelines.core.io import replacing_folder
from pipelines.core.manifest import SCHEMA, digest, write_manifest
from pipelines.core.params import PrepareParams, load_params
from pipelines.core.paths import DATA, DATASET, MANIFEST, PREPARE_REPORT, PREPARED, RELABEL
from pipelines.core.records import write_record
from pipelines.core.sample_remote import check_remote
from pipelines.core.source_images import Source, face_model_file
from pipelines.prepare.duplicates import find_duplicates, find_near_duplicates
from pipelines.prepare.images import CHUNK, Failure, Settings, Task, process_all
from pipelines.prepare.listing import Found, find_sources
from pipelines.prepare.minimum import Move, fill_up
from pipelines.prepare.presence import check_presence
from pipelines.prepare.relabel import Relabelled, relabel
from pipelines.prepare.splitting import Placed, Placement, path_in, place
from pipelines.prepare.summary import Outcome, describe, report
from serving.cores import usable_cores

_NAMED = 10


def prepare(
    data: Path,
    prepared: Path,
    *,
    root: Path,
    params: PrepareParams,
    seed: int,
    minimum: int = 1,
    workers: int | None = None,
    face_model: Path | None = None,
) -> Outcome:
    """Prepare every original below `data`; `prepared` appears whole or not at all.

    Args:
        data: folder of originals.
        prepared: folder to write, replaced when it exists.
        root: folder that locators are relative to; `data` lies below it.
        params: how pictures are turned, split and judged.
        seed: of the split.
        minimum: images of every class in every split that is drawn, for which groups are moved.
        workers: processes; None is one for each core. The result does not depend on it.
        face_model: model file of the `yunet` detector.

    Raises:
        NoImages: the folder has no pictures.
        TooManyUnreadable: more broken files than `max_unreadable_fraction`.
        ClassMissing: one class only, or a class that a split lacks.
        DataError: the folders contradict each other, the face detector cannot be used, or a worker
            process died.
        OutputError: the folder cannot be written.
    """
    found, corrected = _find(data, root)
    labels = _labels(corrected.sources, found.classes_in)
    placement = _placement(corrected.sources, params, seed=seed)
    with replacing_folder(prepared) as folder:
        settings = Settings(root=root, folder=folder, spec=params.input_spec(), face_model=face_model)
        read, failures = _read(placement.placed, settings, workers=workers or usable_cores())
        _check_readable(failures["unreadable"], len(placement.placed), params.max_unreadable_fraction)
        rows = _as_rows(read, data)
        duplicates = find_duplicates(rows)
        kept = _without(folder, rows, duplicates.dropped)
        moved = fill_up(kept, seed=seed, minimum=minimum, movable=placement.drawn)
        kept = _moved(folder, kept, moved)
        check_presence(kept, placement, labels=labels, failures=[*chain(*failures.values())])
        _write_tables(folder, kept, params)
    return Outcome(
        found=len(found.sources),
        corrected=corrected,
        read=rows,
        kept=kept,
        unreadable=failures["unreadable"],
        no_face=failures["no_face"],
        spanning=_spanning(placement),
        ungrouped=placement.ungrouped,
        passed_over=[Removed(source=item.path, reason=item.reason) for item in found.passed_over],
        duplicates=duplicates,
        moved=moved,
        near=find_near_duplicates(kept, bits=params.near_duplicate_bits),
        near_bits=params.near_duplicate_bits,
    )


def _find(data: Path, root: Path) -> tuple[Found, Relabelled]:
    found = find_sources(data, root=root)
    return found, relabel(found.sources, data, root=root)


def _labels(sources: Sequence[Source], classes_in: Path) -> list[str]:
    labels = sorted({source.label for source in sources})
    if not labels:
        raise NoImages(folder=classes_in, expected=f"a picture that {RELABEL} does not leave out")
    if len(labels) < 2:
        raise _one_class(classes_in, labels[0])
    return labels


def _placement(sources: Sequence[Source], params: PrepareParams, *, seed: int) -> Placement:
    return place(
        sources,
        seed=seed,
        pattern=params.group_pattern,
        val_fraction=params.val_fraction,
        test_fraction=params.test_fraction,
    )


def _as_rows(read: pa.Table, data: Path) -> pd.DataFrame:
    if not read.num_rows:
        raise NoImages(folder=data, expected="at least one picture that can be used")
    rows: pd.DataFrame = read.to_pandas()
    return rows


def _without(folder: Path, rows: pd.DataFrame, dropped: NDArray[np.int64]) -> pd.DataFrame:
    """Remove duplicates from the folder; return the rows that remain."""
    for path in rows["path"].iloc[dropped]:
        (folder / path).unlink()
    return rows.drop(dropped)


def _spanning(placement: Placement) -> list[Removed]:
    return [
        Removed(source=source.locator, reason=f"its group is in a split that precedes {source.split}")
        for source in placement.spanning
    ]


def _one_class(folder: Path, label: str) -> ClassMissing:
    inside = sorted(path.name for path in (folder / label).glob("*") if path.is_dir())
    remedy = "put the pictures of each class into a folder of its own"
    if len(inside) > 1:
        held = ", ".join(inside[:_NAMED])
        remedy = f"if the classes are {held}, move these folders from {folder / label} up into {folder}"
    return ClassMissing(
        what=f"{folder} holds one class only, {label!r}, expected at least two", remedy=remedy
    )


def _read(
    placed: Sequence[Placed], settings: Settings, *, workers: int
) -> tuple[pa.Table, dict[str, list[Removed]]]:
    """Prepare all pictures into `settings.folder`: a table of `SCHEMA`, and what failed, by kind."""
    for parent in sorted({item.path.rpartition("/")[0] for item in placed}):
        (settings.folder / parent).mkdir(parents=True, exist_ok=True)
    tables = [SCHEMA.empty_table()]
    rows: list[tuple[object, ...]] = []
    failures: dict[str, list[Removed]] = {"unreadable": [], "no_face": []}
    tasks = [Task(item.source.locator, item.path) for item in placed]
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("preparing", total=len(tasks))
        results = process_all(tasks, settings, workers=workers)
        for done, (item, result) in enumerate(zip(placed, results, strict=True), start=1):
            source = item.source
            if isinstance(result, Failure):
                failures[result.kind].append(Removed(source=source.locator, reason=result.reason))
            else:
                rows.append((item.path, item.split, source.label, item.group, *result, source.locator))
            if done % CHUNK == 0 or done == len(tasks):
                # As Arrow a row takes a third of the memory of its Python objects.
                tables.append(_table(rows))
                rows.clear()
                progress.update(bar, completed=done)
    return pa.concat_tables(tables), failures


def _moved(folder: Path, kept: pd.DataFrame, moves: Sequence[Move]) -> pd.DataFrame:
    """`kept` with the moved groups in their new split; their pictures are renamed."""
    if not moves:
        return kept
    new_split = {move.group: move.split for move in moves}
    taken = {path.casefold() for path in kept["path"]}
    paths: list[str] = []
    splits: list[str] = []
    columns = (kept[name].tolist() for name in ("path", "split", "group", "source"))
    for path, split, group, source in zip(*columns, strict=True):
        splits.append(new_split.get(group, split))
        paths.append(path if group not in new_split else path_in(splits[-1], path, source, taken=taken))
        if paths[-1] != path:
            taken.add(paths[-1].casefold())
            (folder / paths[-1]).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).rename(folder / paths[-1])
    return kept.assign(path=paths, split=splits)


def _table(rows: Sequence[tuple[object, ...]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)


def _write_tables(folder: Path, kept: pd.DataFrame, params: PrepareParams) -> None:
    table = pa.Table.from_pandas(kept, schema=SCHEMA, preserve_index=False)
    write_manifest(folder / MANIFEST.relative_to(PREPARED), table)
    dataset = Dataset(
        classes=tuple(sorted(kept["label"].unique())),
        input=params.input_spec(),
        dataset=digest(kept, params.input_spec()),
    )
    write_dataset(folder / DATASET.relative_to(PREPARED), dataset)


def _check_readable(unreadable: Sequence[Removed], total: int, allowed: float) -> None:
    if len(unreadable) > allowed * total:
        raise TooManyUnreadable(
            count=len(unreadable),
            total=total,
            allowed=allowed,
            first=[f"{item.source} ({item.reason})" for item in unreadable[:_NAMED]],
        )


def main() -> None:
    """Run the stage on the repository's own paths."""
    check_remote(Path())
    params = load_params()
    began = time.perf_counter()
    outcome = prepare(
        DATA,
        PREPARED,
        root=Path(),
        params=params.prepare,
        seed=params.seed,
        minimum=params.validate_.min_per_class_and_split,
        face_model=face_model_file(),
    )
    result = report(outcome)
    write_record(PREPARE_REPORT, result)
    rate = outcome.found / (time.perf_counter() - began)
    print(f"{describe(result)}\n{rate:,.0f} images/s; details in {PREPARE_REPORT}")
