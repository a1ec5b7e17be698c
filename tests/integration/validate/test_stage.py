"""`validate` with the real Great Expectations, on manifests made row by row."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.core import paths
from pipelines.core.dataset import Dataset, write_dataset
from pipelines.core.errors import ManifestCorrupt, ValidationFailed
from pipelines.core.manifest import SCHEMA, SPLITS, digest, write_manifest
from pipelines.core.params import ValidateParams
from pipelines.validate.stage import Validation, main, validate
from serving.contract import InputSpec

SPEC = InputSpec(height=32, width=32)
PARAMS = ValidateParams(
    labels=None,
    min_per_class_and_split=4,
    max_class_ratio=3.0,
    brightness=(0.05, 0.95),
    contrast=(0.02, 0.5),
    mostly=0.9,
    min_source_px=32,
    max_near_duplicate_fraction=0.05,
)
Rows = list[dict[str, Any]]


def sound_rows(per_class: int = 8) -> Rows:
    """Three splits, three labels, everyone and everything once."""
    rows: Rows = []
    for split in SPLITS:
        for label in ("happy", "neutral", "sad"):
            for _ in range(per_class):
                digits = hashlib.sha256(str(len(rows)).encode()).hexdigest()
                rows.append(
                    {
                        "path": f"images/{split}/{label}/{len(rows)}.png",
                        "split": split,
                        "label": label,
                        "group": f"id{len(rows)}",
                        "width": 48,
                        "height": 48,
                        "mode": "RGB",
                        "bytes": 2000,
                        "pixel_sha256": digits,
                        "perceptual_hash": digits[:16],
                        "brightness": 0.5,
                        "contrast": 0.2,
                        "sharpness": 0.01,
                        "exif_orientation": 1,
                        "source": f"data/{label}/{len(rows)}.jpg",
                    }
                )
    return rows


def write(root: Path, rows: Rows) -> None:
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    write_manifest(root / paths.MANIFEST, table)
    classes = tuple(sorted({row["label"] for row in rows}))
    write_dataset(root / paths.DATASET, Dataset(classes=classes, input=SPEC, dataset=digest(table, SPEC)))


def judge(root: Path, rows: Rows, **changes: Any) -> Validation:
    write(root, rows)
    return validate(
        root / paths.MANIFEST,
        root / paths.DATASET,
        params=ValidateParams.model_validate(PARAMS.model_dump() | changes, strict=False),
        near_duplicate_bits=2,
        docs=root / "docs",
    )


def failed(validation: Validation) -> dict[str, str]:
    return {v.check.name: v.check.severity for v in validation.verdicts if not v.passed}


def test_sound_data_passes_every_expectation(tmp_path: Path) -> None:
    validation = judge(tmp_path, sound_rows())
    assert failed(validation) == {}
    assert validation.report().passed
    assert validation.failures == validation.warnings == []
    names = [verdict.check.name for verdict in validation.verdicts]
    assert len(names) == len(set(names))


def set_in(count: int, **values: Any) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        for row in rows[:count]:
            row.update(values)

    return change


def copy_to_test(*columns: str) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        rows[-1].update({column: rows[0][column] for column in columns})

    return change


def drop_most_sad_of_train(rows: Rows) -> None:
    rows[:] = [row for row in rows if (row["split"], row["label"]) != ("train", "sad")] + [
        row for row in rows if (row["split"], row["label"]) == ("train", "sad")
    ][:2]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(copy_to_test("path"), {"path_unique": "critical"}, id="path-twice"),
        pytest.param(copy_to_test("source"), {"source_unique": "critical"}, id="source-twice"),
        pytest.param(set_in(1, group=None), {"group_given": "critical"}, id="group-null"),
        pytest.param(
            copy_to_test("pixel_sha256"),
            {"no_image_in_two_splits": "critical", "no_image_under_two_labels": "critical"},
            id="pixels-in-two-splits",
        ),
        pytest.param(copy_to_test("group"), {"no_group_in_two_splits": "critical"}, id="group-in-two-splits"),
        pytest.param(
            set_in(1, pixel_sha256="0123"), {"pixel_sha256_formed": "critical"}, id="hash-malformed"
        ),
        pytest.param(set_in(1, width=31), {"width_enough": "critical"}, id="too-narrow"),
        pytest.param(set_in(1, height=31), {"height_enough": "critical"}, id="too-low"),
        pytest.param(set_in(1, mode="HSV"), {"mode_known": "critical"}, id="mode"),
        pytest.param(set_in(1, bytes=0), {"bytes_positive": "critical"}, id="bytes"),
        pytest.param(set_in(1, exif_orientation=9), {"exif_orientation_valid": "critical"}, id="orientation"),
        pytest.param(set_in(8, brightness=0.01), {"brightness_usual": "warning"}, id="dark"),
        pytest.param(set_in(8, contrast=0.6), {"contrast_usual": "warning"}, id="contrast"),
        pytest.param(set_in(7, contrast=0.6), {}, id="contrast-of-a-tenth"),
        pytest.param(
            drop_most_sad_of_train,
            {"enough_of_each_class": "critical", "classes_balanced": "warning", "splits_alike": "warning"},
            id="class-rare",
        ),
    ],
)
def test_each_defect_fails_its_own_expectation(
    tmp_path: Path, change: Callable[[Rows], None], expected: dict[str, str]
) -> None:
    rows = sound_rows()
    change(rows)
    assert failed(judge(tmp_path, rows)) == expected


def test_near_duplicates_across_splits_are_a_warning(tmp_path: Path) -> None:
    rows = sound_rows()
    for row in (*rows[:4], *rows[-4:]):
        row["perceptual_hash"] = "00000000000000ff"
    validation = judge(tmp_path, rows)
    assert failed(validation) == {"few_near_duplicates": "warning"}
    assert validation.warnings == [
        "measured 0.1111; rule: at most 5.0% of the images have a near-duplicate in another split"
    ]


def test_labels_that_are_set_are_held_to(tmp_path: Path) -> None:
    validation = judge(tmp_path, sound_rows(), labels=["happy", "neutral", "rage"])
    assert set(failed(validation)) == {
        "label_known", "label_complete", "enough_of_each_class", "classes_balanced"
    }  # fmt: skip


def test_messages_say_how_many_and_name_some(tmp_path: Path) -> None:
    rows = sound_rows()
    for row in rows[:5]:
        row["width"] = 10
    validation = judge(tmp_path, rows)
    assert validation.failures == [
        "5 of 72 rows fail "
        "(images/train/happy/0.png, images/train/happy/1.png, images/train/happy/2.png, …); "
        "rule: every original has a width of 32 px or more"
    ]


def test_data_docs_need_no_network_and_repeat_byte_for_byte(tmp_path: Path) -> None:
    rows = sound_rows()
    rows[0]["width"] = 10
    judge(tmp_path, rows)
    first = {path.name: path.read_bytes() for path in (tmp_path / "docs").iterdir()}
    judge(tmp_path, rows)
    assert {path.name: path.read_bytes() for path in (tmp_path / "docs").iterdir()} == first
    assert set(first) == {"index.html", "classes.html"}
    page = first["index.html"].decode()
    assert "http" not in page
    assert "<script" not in page
    assert str(tmp_path) not in page
    assert "critical: no pixel-identical image is in two splits" in page
    assert "1 of 72 rows fail (images/train/happy/0.png); rule: every original has a width" in page
    assert "exception" not in page.lower()


def test_a_manifest_of_another_dataset_is_refused(tmp_path: Path) -> None:
    rows = sound_rows()
    write(tmp_path, rows)
    rows[0]["label"] = "sad"
    write_manifest(tmp_path / paths.MANIFEST, pa.Table.from_pylist(rows, schema=SCHEMA))
    with pytest.raises(ManifestCorrupt, match=r"not the one dataset\.json names"):
        validate(
            tmp_path / paths.MANIFEST,
            tmp_path / paths.DATASET,
            params=PARAMS,
            near_duplicate_bits=2,
            docs=tmp_path / "docs",
        )


@pytest.fixture
def project(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(repository / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_passing_leaves_the_hash_of_the_dataset(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = sound_rows(per_class=12)
    write(project, rows)
    main()
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    assert json.loads((project / paths.VALIDATED).read_text()) == {"dataset": digest(table, SPEC)}
    report = json.loads((project / paths.VALIDATION_REPORT).read_text())
    assert report["passed"] is True
    assert set(report["checks"][0]) == {"name", "severity", "passed", "observed", "expected", "message"}
    assert "expectations hold" in capsys.readouterr().out


def test_failing_names_why_and_takes_an_older_pass_away(project: Path) -> None:
    rows = sound_rows(per_class=12)
    write(project, rows)
    main()
    rows[-1]["group"] = rows[0]["group"]
    write(project, rows)
    with pytest.raises(
        ValidationFailed, match=r"2 of 108 rows fail .*; rule: no group \(person\) is in two splits"
    ) as caught:
        main()
    assert "\n" not in str(caught.value)
    assert not (project / paths.VALIDATED).exists()
    assert json.loads((project / paths.VALIDATION_REPORT).read_text())["passed"] is False
    assert (project / paths.DATA_DOCS / "index.html").is_file()


def test_a_warning_is_printed_and_does_not_stop(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = sound_rows(per_class=12)
    for row in rows[:20]:
        row["brightness"] = 0.01
    write(project, rows)
    main()
    said = capsys.readouterr().out
    assert "warning: 20 of 108 rows fail" in said
    assert "rule: at least 98% of the images have a brightness of 0.05 to 0.95" in said
    assert (project / paths.VALIDATED).is_file()


def test_without_a_manifest_the_error_names_it(project: Path) -> None:
    with pytest.raises(ManifestCorrupt, match=r"prepared/manifest\.parquet: no such file"):
        main()
    assert not (project / "reports").exists()
