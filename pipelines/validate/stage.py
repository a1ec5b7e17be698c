"""Check the prepared images with Great Expectations; a critical failure stops the pipeline.

    python -m pipelines.validate

Reads prepared/; writes reports/validation.json and reports/data_docs/ always, and
validation/passed.json only when every critical expectation holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.core.data_results import ValidationReport, ValidationStamp
from pipelines.core.dataset import Dataset, read_dataset
from pipelines.core.errors import ManifestCorrupt, ValidationFailed
from pipelines.core.manifest import digest, read_manifest
from pipelines.core.params import ValidateParams, load_params
from pipelines.core.paths import DATA_DOCS, DATASET, MANIFEST, VALIDATED, VALIDATION_REPORT
from pipelines.core.records import write_record
from pipelines.validate.checks import class_checks, class_table, image_checks, image_table
from pipelines.validate.suite import Verdict, load_library, run_checks, write_docs


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The verdict on one dataset."""

    dataset: Dataset
    verdicts: Sequence[Verdict]

    @property
    def failures(self) -> list[str]:
        """Critical expectations that do not hold, in plain words."""
        return [v.message for v in self.verdicts if v.check.severity == "critical" and not v.passed]

    @property
    def warnings(self) -> list[str]:
        """Other expectations that do not hold, in plain words."""
        return [v.message for v in self.verdicts if v.check.severity == "warning" and not v.passed]

    def report(self) -> ValidationReport:
        """Return the content of `reports/validation.json`."""
        return ValidationReport(
            passed=not self.failures,
            dataset=self.dataset.dataset,
            checks=tuple(verdict.expectation() for verdict in self.verdicts),
        )


def validate(
    manifest_path: Path,
    dataset_path: Path,
    *,
    params: ValidateParams,
    near_duplicate_bits: int,
    docs: Path,
) -> Validation:
    """Check a prepared dataset and write its Data Docs into the folder `docs`.

    Raises:
        ManifestCorrupt: a file is unreadable, or the two do not belong together.
    """
    manifest, dataset = read_manifest(manifest_path), read_dataset(dataset_path)
    if digest(manifest, dataset.input) != dataset.dataset:
        raise ManifestCorrupt(path=manifest_path, reason=f"it is not the one {dataset_path.name} names")
    labels = sorted(params.labels or dataset.classes)
    library = load_library()
    images = run_checks(
        library,
        "images",
        image_table(manifest, near_duplicate_bits=near_duplicate_bits),
        image_checks(params, labels=labels),
        index=["path"],
    )
    classes = run_checks(
        library,
        "classes",
        class_table(manifest, labels=labels),
        class_checks(params),
        index=["split", "label"],
    )
    write_docs(docs, {"images": images, "classes": classes})
    return Validation(dataset=dataset, verdicts=[*images[0], *classes[0]])


def main() -> None:
    """Run the stage on the repository's own paths."""
    params = load_params()
    VALIDATED.unlink(missing_ok=True)
    validation = validate(
        MANIFEST,
        DATASET,
        params=params.validate_,
        near_duplicate_bits=params.prepare.near_duplicate_bits,
        docs=DATA_DOCS,
    )
    write_record(VALIDATION_REPORT, validation.report())
    for message in validation.warnings:
        print(f"warning: {message}")
    if validation.failures:
        raise ValidationFailed(failures=validation.failures, report=DATA_DOCS / "index.html")
    write_record(VALIDATED, ValidationStamp(dataset=validation.dataset.dataset))
    held = sum(verdict.passed for verdict in validation.verdicts)
    print(f"{held} of {len(validation.verdicts)} expectations hold; details in {DATA_DOCS / 'index.html'}")
