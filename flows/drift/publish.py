"""Publish a drift result: as Prefect artifacts, on the model version in MLflow, by notification."""

from __future__ import annotations

import asyncio
import inspect
import shutil
import tempfile
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.errors import DriftUnfinished
from pipelines.tracking.runs import translated
from serving.drift.result import DriftResult, WindowFacts
from serving.inference.model_slot import ModelIdentity
from serving.urls import SecretUrl, mask_paths

TABLE, REPORT = "drift-columns", "drift-verdict"
"""Keys of the artifacts."""
ARTIFACTS = "drift"
"""Folder of the reports in the artifacts of the version's run."""
_TAGS = "drift."


def publish(
    result: DriftResult, *, report: str, action: str, keys: tuple[str, str] = (TABLE, REPORT)
) -> None:
    """Create Prefect artifacts: a table of the columns, and the verdict as text.

    Args:
        result: with a verdict.
        report: Markdown that links to Evidently's report.
        action: what was done because of the verdict.
        keys: of the two artifacts.
    """
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    create_table_artifact(
        [row(result, index) for index in range(len(result.columns))],
        key=keys[0],
        description=f"Version {result.model_version}: {result.verdict}",
    )
    create_markdown_artifact(verdict(result, report=report, action=action), key=keys[1])


def row(result: DriftResult, index: int) -> dict[str, str]:
    """One column of the window, as a row of the table."""
    column = result.columns[index]
    return {
        "column": column.name,
        # Prefect's page does not show a column with an empty name.
        "moved": "yes" if column.drifted else "",
        "score": f"{column.score:.3f}",
        "threshold": f"{column.threshold:.3f}",
        "distance": column.method,
        "reference": _numbers(dict(column.reference)),
        "window": _numbers(dict(column.window)),
    }


def verdict(result: DriftResult, *, report: str, action: str) -> str:
    """The verdict with window, quality and action, as Markdown."""
    lines = [f"## Version {result.model_version}: {result.verdict}", "", result.reason, ""]
    if result.window is not None:
        lines.append(f"* {_window(result.window)}")
    if result.quality is not None:
        lines += [f"* {line}" for line in _quality(result)]
    lines += [f"* left out: {name}, {why}" for name, why in result.left_out.items()]
    lines += ["", f"**Done:** {action}  ", f"**Report:** {report}"]
    return "\n".join(lines)


def log_to_version(identity: ModelIdentity, result: DriftResult, html: Path, *, tracking_uri: str) -> str:
    """Log scores, report and verdict to the model version; returns Markdown that links to the report.

    The report of the newest result is `drift/latest.html`; windows that drifted have a second copy with their
    time in its name.

    Raises:
        RegistryError: MLflow cannot store them.
    """
    from mlflow import MlflowClient

    with translated(tracking_uri):
        client = MlflowClient(tracking_uri=tracking_uri)
        for name, value in _tags(result).items():
            client.set_model_version_tag(identity.name, identity.version, _TAGS + name, value)
        if identity.run_id is None:
            return "not in MLflow: the version's run was deleted"
        experiment = client.get_run(identity.run_id).info.experiment_id
        for column in result.columns:
            client.log_metric(
                identity.run_id, f"drift.{column.name}", column.score, timestamp=round(result.time * 1000)
            )
        names = ["latest.html"]
        if result.verdict == "drift":
            names.append(f"{datetime.fromtimestamp(result.time, UTC):%Y-%m-%dT%H%M%SZ}.html")
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                client.log_artifact(identity.run_id, shutil.copy(html, Path(folder) / name), ARTIFACTS)
    place = f"{ARTIFACTS}/{names[-1]}"
    if not tracking_uri.startswith("http"):
        return f"`{place}` among the artifacts of run {identity.run_id}"
    server = SecretUrl(tracking_uri).public
    address = f"{server}/#/experiments/{experiment}/runs/{identity.run_id}/artifacts/{place}"
    return f"[{names[-1]}]({address})"


def notify(block: str, *, subject: str, body: str) -> None:
    """Send a message through a notification block of Prefect.

    Args:
        block: `TYPE/NAME` as in Prefect's pages, `custom-webhook/mien` or `apprise…/mien`.
        subject: of the message.
        body: of the message.

    Raises:
        DriftUnfinished: the block does not exist, or cannot send the message.
    """
    from prefect.blocks.abstract import NotificationBlock
    from prefect.blocks.core import Block

    try:
        loaded = Block.load(block)
        if not isinstance(loaded, NotificationBlock):
            raise TypeError(f"{block} is not a notification block")
        with loaded.raise_on_failure():
            # Prefect's blocks send immediately outside of an event loop; others may return a coroutine.
            sending: Any = loaded.notify(body, subject=subject)
            if inspect.isawaitable(sending):
                asyncio.run(_wait(sending))
    # Each service behind Apprise has its own errors.
    except Exception as error:
        raise DriftUnfinished(
            what=f"the notification through {block}",
            reason=mask_paths(" ".join(str(error).split()))[:300],
        ) from error


async def _wait(sending: Awaitable[None]) -> None:
    await sending


def _tags(result: DriftResult) -> dict[str, str]:
    return {
        "verdict": result.verdict,
        "reason": result.reason,
        "time": datetime.fromtimestamp(result.time, UTC).isoformat(timespec="seconds"),
    }


def _window(window: WindowFacts) -> str:
    some = f" (a sample of {window.total})" if window.sampled else ""
    if window.since == window.until:
        return f"{window.rows} answers{some}"
    return f"{window.rows} observations{some} from {_moment(window.since)} to {_moment(window.until)}"


def _quality(result: DriftResult) -> list[str]:
    quality = result.quality
    if quality is None:
        return []
    lines = [
        f"estimated accuracy without labels: {quality.estimated.atc:.3f} "
        f"(on the test split it was {quality.reference.accuracy:.3f})"
    ]
    if caveat := result.caveat:
        lines.append(caveat)
    if feedback := quality.feedback:
        lines.append(
            f"with feedback: {feedback.accuracy:.3f} "
            f"({feedback.accuracy_low:.2f}–{feedback.accuracy_high:.2f}), "
            f"macro-F1 {feedback.macro_f1:.3f}, {feedback.rows} rows"
        )
    return lines


def _numbers(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
