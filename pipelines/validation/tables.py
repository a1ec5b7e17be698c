"""What the expectations look at.

Great Expectations judges rows and columns; what holds between rows (nobody in two splits) is
counted here into columns, so that it is judged, and shown in the Data Docs, like everything else.
"""

from __future__ import annotations

import pandas as pd

from pipelines.core.manifest import SPLITS
from pipelines.prepare.duplicates import find_near_duplicates


def image_table(manifest: pd.DataFrame, *, near_duplicate_bits: int) -> pd.DataFrame:
    """The manifest with these columns added.

    splits_with_same_pixels, splits_with_same_group: in how many splits the row's picture, or
    person, stands; labels_with_same_pixels: under how many labels its picture stands;
    near_duplicates_elsewhere: 1 where another split holds one, else 0.
    """
    near = find_near_duplicates(manifest, bits=near_duplicate_bits)
    return manifest.assign(
        splits_with_same_pixels=_distinct(manifest, "pixel_sha256", "split"),
        labels_with_same_pixels=_distinct(manifest, "pixel_sha256", "label"),
        splits_with_same_group=_distinct(manifest, "group", "split"),
        near_duplicates_elsewhere=near.elsewhere.astype("int64"),
    )


def class_table(manifest: pd.DataFrame, *, labels: list[str]) -> pd.DataFrame:
    """One row per split and class, those without an image included.

    images: how many; share: of the split; share_off_train: how far that is from the share in
    train; times_rarer: images of the largest class per image of this one, for train only.
    """
    grid = pd.MultiIndex.from_product([SPLITS, labels], names=["split", "label"])
    images = manifest.groupby(["split", "label"]).size().reindex(grid, fill_value=0)
    table = images.rename("images").reset_index()
    by_split = table.groupby("split")["images"]
    table["share"] = table["images"] / by_split.transform("sum").clip(lower=1)
    train = table[table["split"] == "train"].set_index("label")["share"]
    table["share_off_train"] = (table["share"] - table["label"].map(train)).abs()
    # An absent class counts as half an image, so that the ratio stays a number.
    ratio = by_split.transform("max") / table["images"].clip(lower=0.5)
    table["times_rarer"] = ratio.where(table["split"] == "train")
    return table


def _distinct(table: pd.DataFrame, key: str, of: str) -> pd.Series[int]:
    """For each row, how many different values of `of` share its value of `key`; 0 where it has none."""
    pairs = table[[key, of]].drop_duplicates()
    counts = pairs[key].value_counts()
    return table[key].map(counts).fillna(0).astype("int64")
