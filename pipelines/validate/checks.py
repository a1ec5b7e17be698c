"""All expectations about the data, with severity and a plain description, and the tables that they check.

critical   a failure stops the pipeline: training on such data, or believing its test, would be wrong
warning    a failure is reported: such data can be intended

Great Expectations checks rows and columns. Relations between rows (no person in two splits) are
counted into columns here, so that they are checked and shown in the Data Docs like everything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from pipelines.core.manifest import SPLITS
from pipelines.core.params import ValidateParams
from pipelines.prepare.duplicates import find_near_duplicates

Severity = Literal["critical", "warning"]

_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA", "CMYK")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One expectation."""

    name: str
    """Stable name, for reports and searches."""
    severity: Severity
    says: str
    """The expectation, as a sentence without a full stop."""
    kind: str
    """Name of the Great Expectations class."""
    arguments: dict[str, Any]
    """Its arguments, but for severity and description."""

    def expectation(self, library: Any) -> Any:
        """As an object of the `great_expectations` module given."""
        return getattr(library.expectations, self.kind)(
            **self.arguments,
            severity=self.severity,
            description=f"{self.severity}: {self.says}",
            meta={"check": self.name},
        )


def image_checks(params: ValidateParams, *, labels: Sequence[str]) -> list[Check]:
    """Expectations about `image_table`."""
    return [
        *_identity(),
        *_no_leak(params),
        *_ranges(params, labels),
    ]


def class_checks(params: ValidateParams) -> list[Check]:
    """Expectations about `class_table`."""
    least, ratio, off = params.min_per_class_and_split, params.max_class_ratio, params.max_share_difference
    return [
        _between(
            "enough_of_each_class",
            "images",
            low=least,
            says=f"every class has at least {least} images in every split",
        ),
        _between(
            "classes_balanced",
            "times_rarer",
            high=ratio,
            severity="warning",
            says=f"in train the largest class has at most {ratio:g} times the images of any other",
        ),
        _between(
            "splits_alike",
            "share_off_train",
            high=off,
            severity="warning",
            says=f"the share of a class differs by at most {off:g} between a split and train",
        ),
    ]


def _identity() -> list[Check]:
    columns = ("path", "split", "label", "group", "source", "pixel_sha256", "perceptual_hash")
    return [
        *(
            Check(
                name=f"{column}_given",
                severity="critical",
                says=f"every row has a {column}",
                kind="ExpectColumnValuesToNotBeNull",
                arguments={"column": column},
            )
            for column in columns
        ),
        *(
            Check(
                name=f"{column}_unique",
                severity="critical",
                says=f"no {column} stands twice",
                kind="ExpectColumnValuesToBeUnique",
                arguments={"column": column},
            )
            for column in ("path", "source")
        ),
        Check(
            name="pixel_sha256_formed",
            severity="critical",
            says="every pixel_sha256 has 64 hexadecimal digits",
            kind="ExpectColumnValuesToMatchRegex",
            arguments={"column": "pixel_sha256", "regex": "^[0-9a-f]{64}$"},
        ),
    ]


def _no_leak(params: ValidateParams) -> list[Check]:
    share = params.max_near_duplicate_fraction
    return [
        _between(
            "no_image_in_two_splits",
            "splits_with_same_pixels",
            high=1,
            says="no pixel-identical image is in two splits",
        ),
        _between(
            "no_image_under_two_labels",
            "labels_with_same_pixels",
            high=1,
            says="no pixel-identical image stands under two labels",
        ),
        _between(
            "no_group_in_two_splits",
            "splits_with_same_group",
            high=1,
            says="no group (person) is in two splits",
        ),
        Check(
            name="few_near_duplicates",
            severity="warning",
            says=f"at most {share:.1%} of the images have a near-duplicate in another split",
            kind="ExpectColumnMeanToBeBetween",
            arguments={"column": "near_duplicates_elsewhere", "max_value": share},
        ),
    ]


def _ranges(params: ValidateParams, labels: Sequence[str]) -> list[Check]:
    least, mostly = params.min_source_px, params.mostly
    return [
        _in_set("label_known", "label", list(labels), says=f"every label is one of {', '.join(labels)}"),
        Check(
            name="label_complete",
            severity="critical",
            says=f"each of the {len(labels)} labels occurs",
            kind="ExpectColumnDistinctValuesToContainSet",
            arguments={"column": "label", "value_set": list(labels)},
        ),
        _in_set("split_known", "split", list(SPLITS), says=f"every split is one of {', '.join(SPLITS)}"),
        _in_set(
            "mode_known", "mode", list(_MODES), says=f"every original's mode is one of {', '.join(_MODES)}"
        ),
        *(
            _between(
                f"{side}_enough", side, low=least, says=f"every original has a {side} of {least} px or more"
            )
            for side in ("width", "height")
        ),
        _between("bytes_positive", "bytes", low=1, says="every original has at least one byte"),
        _between(
            "exif_orientation_valid",
            "exif_orientation",
            low=1,
            high=8,
            says="every EXIF orientation is one of 1 to 8",
        ),
        *(
            _between(
                f"{name}_usual",
                name,
                low=low,
                high=high,
                mostly=mostly,
                severity="warning",
                says=f"at least {mostly:.0%} of the images have a {name} of {low:g} to {high:g}",
            )
            for name, (low, high) in (("brightness", params.brightness), ("contrast", params.contrast))
        ),
    ]


def _between(
    name: str,
    column: str,
    *,
    says: str,
    low: float | None = None,
    high: float | None = None,
    mostly: float = 1.0,
    severity: Severity = "critical",
) -> Check:
    return Check(
        name=name,
        severity=severity,
        says=says,
        kind="ExpectColumnValuesToBeBetween",
        arguments={"column": column, "min_value": low, "max_value": high, "mostly": mostly},
    )


def _in_set(name: str, column: str, values: list[str], *, says: str) -> Check:
    return Check(
        name=name,
        severity="critical",
        says=says,
        kind="ExpectColumnValuesToBeInSet",
        arguments={"column": column, "value_set": values},
    )


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
