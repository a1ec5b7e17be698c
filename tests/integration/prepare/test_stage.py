"""`prepare` on small folders of real files, read back by Pillow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from pipelines.core.data_results import Conflict, NearPair, Removed
from pipelines.core.dataset import read_dataset
from pipelines.core.errors import ClassMissing, DataError, NoImages, OutputError, TooManyUnreadable
from pipelines.core.manifest import COLUMNS, digest, read_manifest
from pipelines.core.params import PrepareParams
from pipelines.core.records import write_record
from pipelines.prepare.images import CHUNK
from pipelines.prepare.stage import prepare
from pipelines.prepare.summary import MAX_LISTED, Outcome, describe, report
from serving.contract import image_statistics, preprocess
from tests.support.pictures import drawn_face, encoded, pillow_rgb, textured, write_picture

PARAMS = PrepareParams(
    image_size_px=24,
    color="rgb",
    crop="none",
    detector="haar",
    margin=0.25,
    resize="area",
    val_fraction=0.2,
    test_fraction=0.2,
    group_pattern=r"^(id\d+)_",
    max_unreadable_fraction=0.1,
    near_duplicate_bits=4,
)
LABELS = ("happy", "sad")


def params(**changes: object) -> PrepareParams:
    return PrepareParams.model_validate(PARAMS.model_dump() | changes)


def run(root: Path, parameters: PrepareParams = PARAMS, *, seed: int = 20, workers: int = 1) -> Outcome:
    return prepare(root / "data", root / "prepared", root=root, params=parameters, seed=seed, workers=workers)


def fill(data: Path, *, people: int = 30, labels: Sequence[str] = LABELS, suffix: str = ".png") -> None:
    """One picture of every person under every label."""
    for index, label in enumerate(labels):
        for person in range(people):
            write_picture(data / label / f"id{person}_a{suffix}", textured(1000 * index + person))


def fill_splits(data: Path, *, splits: Sequence[str] = ("train", "val", "test"), count: int = 3) -> None:
    for offset, split in enumerate(splits):
        for index, label in enumerate(LABELS):
            for number in range(count):
                name = f"id{offset}{index}{number}_a.png"
                write_picture(data / split / label / name, textured(10_000 * offset + 100 * index + number))


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_image_lies_in_its_class_folder_with_a_row_in_the_manifest(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    run(tmp_path)
    manifest = read_manifest(tmp_path / "prepared/manifest.parquet")
    assert tuple(manifest.columns) == COLUMNS
    files = {path for path in contents(tmp_path / "prepared") if path.endswith(".png")}
    assert set(manifest["path"]) == files
    assert len(files) == 60
    for row in manifest.itertuples():
        assert row.path == f"images/{row.split}/{row.label}/{Path(str(row.source)).stem}.png"
    assert (manifest.groupby("group")["split"].nunique() == 1).all()


def test_a_row_describes_the_original_and_the_prepared_picture(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    original = textured(77, width=50, height=34)
    path = write_picture(tmp_path / "data/sad/id3_b.jpg", original, orientation=6)
    run(tmp_path)
    manifest = read_manifest(tmp_path / "prepared/manifest.parquet").set_index("source")
    row = manifest.loc["data/sad/id3_b.jpg"]
    assert (row["width"], row["height"], row["mode"], row["exif_orientation"]) == (34, 50, "RGB", 6)
    assert row["bytes"] == path.stat().st_size
    assert row["group"] == "id3"
    with Pillow.open(tmp_path / "prepared" / row["path"]) as picture:
        assert picture.mode == "RGB"
        prepared = np.asarray(picture)
    expected = preprocess(pillow_rgb(path.read_bytes()), params().input_spec())
    assert np.abs(prepared.astype(int) - expected.astype(int)).max() <= 2
    statistics = image_statistics(prepared)
    assert row["brightness"] == pytest.approx(statistics.brightness)
    assert row["sharpness"] == pytest.approx(statistics.sharpness)


def test_prepared_pictures_are_lossless(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    run(tmp_path)
    row = read_manifest(tmp_path / "prepared/manifest.parquet").iloc[0]
    original = pillow_rgb((tmp_path / row["source"]).read_bytes())
    prepared = pillow_rgb((tmp_path / "prepared" / row["path"]).read_bytes())
    assert (prepared == preprocess(original, params().input_spec())).all()


def test_gray_is_stored_as_one_channel_and_read_back_as_three_equal_ones(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    run(tmp_path, params(color="gray"))
    row = read_manifest(tmp_path / "prepared/manifest.parquet").iloc[0]
    with Pillow.open(tmp_path / "prepared" / row["path"]) as picture:
        assert picture.mode == "L"
    original = pillow_rgb((tmp_path / row["source"]).read_bytes())
    expected = preprocess(original, params(color="gray").input_spec())
    assert (pillow_rgb((tmp_path / "prepared" / row["path"]).read_bytes()) == expected).all()


def test_the_dataset_names_classes_input_and_the_manifest_s_content(tmp_path: Path) -> None:
    fill(tmp_path / "data", labels=("zorn", "Angst"))
    run(tmp_path)
    dataset = read_dataset(tmp_path / "prepared/dataset.json")
    assert dataset.classes == ("Angst", "zorn")
    assert dataset.input == PARAMS.input_spec()
    assert dataset.dataset == digest(read_manifest(tmp_path / "prepared/manifest.parquet"), dataset.input)


def test_the_same_data_gives_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    for person in range(CHUNK):
        for index, label in enumerate(LABELS):
            picture = textured(1000 * index + person, width=16, height=16)
            write_picture(tmp_path / "data" / label / f"id{person}_a.png", picture)
    (tmp_path / "data/sad/id1_broken.jpg").write_bytes(b"\xff\xd8\xff")
    one = report(run(tmp_path, workers=1))
    first = contents(tmp_path / "prepared")
    two = report(run(tmp_path, workers=2))
    assert contents(tmp_path / "prepared") == first
    assert two == one
    assert one.kept == 2 * CHUNK


def test_adding_images_moves_none_and_renames_none(tmp_path: Path) -> None:
    fill(tmp_path / "data", people=30)
    run(tmp_path)
    before = contents(tmp_path / "prepared/images")
    for person in range(30, 60):
        write_picture(tmp_path / f"data/happy/id{person}_a.png", textured(50_000 + person))
    run(tmp_path)
    after = contents(tmp_path / "prepared/images")
    assert before.items() <= after.items()
    assert len(after) == len(before) + 30


def test_given_splits_are_kept_and_missing_ones_carved_from_train(tmp_path: Path) -> None:
    fill_splits(tmp_path / "data", splits=("train", "test"), count=20)
    run(tmp_path)
    manifest = read_manifest(tmp_path / "prepared/manifest.parquet")
    given = manifest["source"].str.split("/").str[1]
    assert set(manifest["split"][given == "test"]) == {"test"}
    assert set(manifest["split"][given == "train"]) == {"train", "val"}


def test_a_person_in_two_given_splits_stays_in_the_test_and_is_listed(tmp_path: Path) -> None:
    fill_splits(tmp_path / "data")
    write_picture(tmp_path / "data/train/sad/id200_x.png", textured(5))
    result = report(run(tmp_path))
    assert result.removed["group_in_another_split"] == 1
    assert result.group_in_another_split.entries == (
        Removed(source="data/train/sad/id200_x.png", reason="its group is in a split that precedes train"),
    )


def test_the_table_of_fer2013_is_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    lines = ["emotion,pixels,Usage"]
    for usage in ("Training", "PublicTest", "PrivateTest"):
        for emotion in range(7):
            for _ in range(2):
                seed = len(lines)
                pixels = textured(seed, width=48, height=48)[..., 0].ravel()
                lines.append(f"{emotion},{' '.join(map(str, pixels))},{usage}")
    lines.append("0,1 2 3,Training")
    (tmp_path / "data/fer2013.csv").write_text("\n".join(lines) + "\n")
    result = report(run(tmp_path, params(color="gray", group_pattern=None)))
    labels = {"angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"}
    assert result.splits == {split: dict.fromkeys(labels, 2) for split in ("train", "val", "test")}
    assert result.unreadable.entries[0].source == "data/fer2013.csv#42"
    manifest = read_manifest(tmp_path / "prepared/manifest.parquet")
    assert set(manifest["mode"]) == {"L"}
    assert manifest["path"][0].startswith("images/test/angry/fer2013-0")


def test_every_kind_of_file_is_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    fill(data)
    kinds = {
        "cmyk.jpg": ("JPEG", {"mode": "CMYK"}, "CMYK"),
        "gray.jpg": ("JPEG", {"mode": "L"}, "L"),
        "palette.png": ("PNG", {"mode": "P"}, "P"),
        "alpha.png": ("PNG", {"mode": "RGBA"}, "RGBA"),
        "deep.png": ("PNG", {"mode": "I;16"}, "I;16"),
        "photo.webp": ("WEBP", {}, "RGB"),
        "paint.bmp": ("BMP", {}, "RGB"),
        "png-named.jpg": ("PNG", {"mode": "LA"}, "LA"),
    }
    for seed, (name, (format, options, _)) in enumerate(kinds.items()):
        (data / "sad" / name).write_bytes(encoded(textured(200 + seed), format, **options))
    run(tmp_path)
    manifest = read_manifest(tmp_path / "prepared/manifest.parquet").set_index("source")
    for name, (_, _, mode) in kinds.items():
        assert manifest.loc[f"data/sad/{name}", "mode"] == mode


def test_copies_are_kept_once_where_they_judge(tmp_path: Path) -> None:
    data = tmp_path / "data"
    fill_splits(data)
    shared = textured(1, width=48, height=48)
    write_picture(data / "train/happy/id7_copy.png", shared)
    write_picture(data / "train/happy/id8_copy.bmp", shared)
    write_picture(data / "test/happy/id9_copy.webp", shared, lossless=True)
    result = report(run(tmp_path))
    assert result.removed["duplicate"] == 2
    assert result.duplicates.pictures == 1
    assert result.duplicates.pictures_across_splits == 1
    assert result.duplicates.removed_by_split == {"train, kept in test": 2}
    assert {entry.kept for entry in result.duplicates.entries} == {"data/test/happy/id9_copy.webp"}
    sources = set(read_manifest(tmp_path / "prepared/manifest.parquet")["source"])
    assert "data/test/happy/id9_copy.webp" in sources
    assert "data/train/happy/id7_copy.png" not in sources
    assert not list((tmp_path / "prepared/images/train").rglob("*copy*"))


def test_one_picture_under_two_labels_is_set_aside_entirely(tmp_path: Path) -> None:
    data = tmp_path / "data"
    fill_splits(data)
    shared = textured(1, width=48, height=48)
    write_picture(data / "train/happy/id7_copy.png", shared)
    write_picture(data / "test/sad/id8_copy.png", shared)
    result = report(run(tmp_path))
    assert result.removed["conflicting_labels"] == 2
    assert result.conflicting_labels.entries == (
        Conflict(
            labels=("sad", "happy"), sources=("data/test/sad/id8_copy.png", "data/train/happy/id7_copy.png")
        ),
    )
    assert not list((tmp_path / "prepared").rglob("*copy*"))


def test_corrected_labels_count_everywhere_and_pictures_left_out_are_counted(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    before = run(tmp_path).kept
    first, second = before["source"].iloc[0], before["source"].iloc[1]
    (tmp_path / "data/relabel.csv").write_text(
        f"file,label\n{first.removeprefix('data/')},sad\n{second.removeprefix('data/')},\n"
    )
    written = report(run(tmp_path))
    after = read_manifest(tmp_path / "prepared/manifest.parquet").set_index("source")
    assert after.loc[first, "label"] == "sad"
    assert f"/{after.loc[first, 'label']}/" in after.loc[first, "path"]
    assert second not in after.index
    assert written.found == len(before)
    assert written.removed["left_out_by_hand"] == 1
    assert written.relabelled == 1


def test_near_duplicates_are_reported_and_kept(tmp_path: Path) -> None:
    data = tmp_path / "data"
    fill_splits(data)
    picture = textured(77_777, width=96, height=96) // 2 + 40
    write_picture(data / "train/happy/id7_near.png", picture)
    write_picture(data / "test/happy/id8_near.png", picture + 3)
    result = report(run(tmp_path))
    assert result.near_duplicates.images_with_one_in_another_split == 2
    assert result.near_duplicates.entries == (
        NearPair(
            sources=("data/test/happy/id8_near.png", "data/train/happy/id7_near.png"),
            splits=("test", "train"),
        ),
    )
    assert len(list((tmp_path / "prepared").rglob("*near*"))) == 2


def test_some_broken_files_are_listed_and_skipped(tmp_path: Path) -> None:
    data = tmp_path / "data"
    fill(data)
    whole = encoded(textured(1), "JPEG")
    (data / "sad/id1_cut.jpg").write_bytes(whole[:-30])
    (data / "sad/id1_empty.jpg").write_bytes(b"")
    (data / "sad/id1_text.jpg").write_text("hello")
    result = report(run(tmp_path))
    assert result.removed["unreadable"] == 3
    assert [entry.source for entry in result.unreadable.entries] == [
        "data/sad/id1_cut.jpg",
        "data/sad/id1_empty.jpg",
        "data/sad/id1_text.jpg",
    ]
    assert "ends too early" in result.unreadable.entries[0].reason
    assert result.found == result.kept + 3
    assert "removed: unreadable 3" in describe(result)


def test_too_many_broken_files_fail_naming_the_first_ten(tmp_path: Path) -> None:
    data = tmp_path / "data"
    fill(data)
    for number in range(20):
        (data / f"sad/id1_broken{number:02d}.jpg").write_bytes(b"no picture")
    with pytest.raises(TooManyUnreadable, match="20 of 80 files") as caught:
        run(tmp_path)
    message = str(caught.value)
    assert "id1_broken09.jpg" in message
    assert "id1_broken10.jpg" not in message
    assert "\n" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_face_crops_follow_the_detector_and_faceless_pictures_are_set_aside(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for index, label in enumerate(LABELS):
        for person in range(12):
            scene = np.full((120, 160, 3), 150 + person, np.uint8)
            scene[10:110, 20 + index : 120 + index] = drawn_face(100)
            write_picture(data / label / f"id{person}_a.png", scene)
    write_picture(data / "sad/id1_wall.png", np.full((120, 160, 3), 90, np.uint8))
    result = report(run(tmp_path, params(crop="face", val_fraction=0.3, test_fraction=0.3)))
    assert result.removed["no_face"] == 1
    assert result.no_face.entries[0].source == "data/sad/id1_wall.png"
    dataset = read_dataset(tmp_path / "prepared/dataset.json")
    assert (dataset.input.crop, dataset.input.detector, dataset.input.margin) == ("face", "haar", 0.25)
    row = read_manifest(tmp_path / "prepared/manifest.parquet").iloc[0]
    prepared = pillow_rgb((tmp_path / "prepared" / row["path"]).read_bytes())
    # The wall left of the face is cut off, the skin in the middle is not.
    assert prepared.shape == (24, 24, 3)
    assert prepared[12, 12, 0] > 200


def test_yunet_without_its_file_is_one_clear_error(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    with pytest.raises(DataError, match="MIEN_FACE_MODEL"):
        run(tmp_path, params(crop="face", detector="yunet"))


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "data", labels=("happy",))
    with pytest.raises(ClassMissing, match="one class only, 'happy'"):
        run(tmp_path)


def test_a_class_missing_from_a_split_is_named(tmp_path: Path) -> None:
    fill_splits(tmp_path / "data")
    for path in (tmp_path / "data/val/sad").iterdir():
        path.rename(tmp_path / "data/train/sad" / path.name)
    (tmp_path / "data/val/sad").rmdir()
    with pytest.raises(ClassMissing, match="split 'val' has no picture of the class 'sad'"):
        run(tmp_path)


def test_a_class_all_of_whose_pictures_were_removed_is_missed(tmp_path: Path) -> None:
    fill(tmp_path / "data", people=100)
    (tmp_path / "data/rage").mkdir()
    (tmp_path / "data/rage/id1_x.png").write_bytes(b"broken")
    with pytest.raises(ClassMissing, match="'rage'"):
        run(tmp_path)


def test_no_images_is_distinguished_from_no_readable_image(tmp_path: Path) -> None:
    with pytest.raises(NoImages):
        run(tmp_path)
    for label in LABELS:
        (tmp_path / "data" / label).mkdir(parents=True)
        (tmp_path / "data" / label / "a.png").write_bytes(b"broken")
    with pytest.raises(NoImages, match="can be used"):
        run(tmp_path, params(max_unreadable_fraction=1.0))


def test_an_unwritable_folder_is_one_clear_error(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        prepare(tmp_path / "data", tmp_path / "file/prepared", root=tmp_path, params=PARAMS, seed=1)


def test_a_failed_run_leaves_the_last_result_as_it_was(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    run(tmp_path)
    before = contents(tmp_path / "prepared")
    for number in range(20):
        (tmp_path / f"data/sad/id1_broken{number}.jpg").write_bytes(b"no picture")
    with pytest.raises(TooManyUnreadable):
        run(tmp_path)
    assert contents(tmp_path / "prepared") == before
    assert {path.name for path in tmp_path.iterdir()} == {"data", "prepared"}


def test_long_lists_are_cut_and_say_so(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    outcome = run(tmp_path)
    removed = [Removed(source=f"data/sad/{i}.jpg", reason="broken") for i in range(MAX_LISTED + 5)]
    listed = report(replace(outcome, unreadable=removed)).unreadable
    assert listed.count == MAX_LISTED + 5
    assert listed.listed == len(listed.entries) == MAX_LISTED


def test_the_report_is_json_without_time_or_absolute_paths(tmp_path: Path) -> None:
    fill(tmp_path / "data")
    write_record(tmp_path / "prepare.json", report(run(tmp_path)))
    text = (tmp_path / "prepare.json").read_text()
    assert str(tmp_path) not in text
    result = json.loads(text)
    assert sum(sum(counts.values()) for counts in result["splits"].values()) == result["kept"] == 60
    shares = result["shares"]["by_split"]
    assert all(sum(of.values()) == pytest.approx(1, abs=1e-3) for of in shares.values())
