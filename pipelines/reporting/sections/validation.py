"""What the expectations about the data said."""

from __future__ import annotations

from pipelines.report.inputs import Inputs
from pipelines.report.page import Section, absent

_ID, _TITLE, _SHORT = "validation", "Is the data what it should be?", "Validation"


def section(inputs: Inputs) -> Section:
    """Every expectation with what was observed; failed ones first."""
    report = inputs.validation
    if report is None:
        return absent(_ID, _TITLE, short=_SHORT, lacks="`reports/validation.json`", stage="validate")
    checks = report["checks"]
    failed = [check for check in checks if not check["passed"]]
    return Section(
        id=_ID,
        title=_TITLE,
        short=_SHORT,
        context={
            "passed": report["passed"],
            "failed": sorted(failed, key=lambda check: check["severity"] != "critical"),
            "held": [check for check in checks if check["passed"]],
            "total": len(checks),
        },
    )
