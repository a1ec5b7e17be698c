"""Alert rules and dashboard: they work, and every metric and label that they use is one of the service's."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.debian import program
from tests.support.http_service import picture_of, ready, serving, settings_in
from tests.support.serving_models import model_folder

METRIC = re.compile(r"\b(mien_\w+)(?:\{([^}]*)\})?")
LABEL = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
GROUPED = re.compile(r"\b(?:by|on|without)\s*\(([^)]*)\)")
SUFFIXES = ("_bucket", "_sum", "_count", "_total")
# Prometheus' own, of every target.
TARGET = {"job", "instance", "le", "namespace", "pod"}


def alerts(repository: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load((repository / "deploy/prometheus/rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard(repository: Path) -> dict[str, Any]:
    return dict(json.loads((repository / "deploy/grafana/mien.json").read_text()))


def expressions(repository: Path) -> dict[str, str]:
    """Every PromQL expression, by where it stands."""
    found = {rule["alert"]: rule["expr"] for rule in alerts(repository)}
    board = dashboard(repository)
    titles = [panel["title"] for panel in board["panels"]]
    assert len(titles) == len(set(titles))
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = target["expr"]
    for note in board["annotations"]["list"]:
        found[note["name"]] = note["expr"]
    adapter = yaml.safe_load(
        (repository / "deploy/kubernetes/components/prometheus-adapter/rules.yaml").read_text()
    )
    for rule in adapter["rules"]:
        found[f"adapter {rule['name']['as']}"] = rule["seriesQuery"]
    return found


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, set[str]]]:
    """Names of the real service's series after one answer, with labels; `# TYPE` names the rest."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "model").mkdir()
    model_folder(folder / "model")
    with serving(settings_in(folder)) as client:
        ready(client)
        assert client.post("/detect", content=picture_of(0)).status_code == 200
        yield series(client)


def series(client: httpx.Client) -> dict[str, set[str]]:
    text = client.get("/metrics").text
    found: dict[str, set[str]] = {}
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
        for suffix in {"counter": ("",), "histogram": ("_bucket", "_sum", "_count")}.get(kind, ("",)):
            found[f"{name}{suffix}"] = set()
    for name, labels in re.findall(r"^(mien_\w+)(?:\{(.*)\})? \S+$", text, re.MULTILINE):
        found[name] |= set(re.findall(r'(\w+)="', labels))
    return found


def test_every_metric_that_is_used_is_one_that_the_service_exports(
    repository: Path, exported: dict[str, set[str]]
) -> None:
    used = {name for text in expressions(repository).values() for name, _ in METRIC.findall(text)}
    assert len(used) > 25
    assert used <= exported.keys()


def test_every_metric_that_the_service_exports_is_watched(
    repository: Path, exported: dict[str, set[str]]
) -> None:
    """Every metric is used by a rule or the dashboard."""

    def family(name: str) -> str:
        return next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name)

    used = {family(name) for text in expressions(repository).values() for name, _ in METRIC.findall(text)}
    assert {family(name) for name in exported if name.startswith("mien_")} == used


def test_every_label_that_is_used_is_one_of_its_metric(
    repository: Path, exported: dict[str, set[str]]
) -> None:
    # Series that one picture does not bring forth, with the labels that docs/operations.md names.
    known = exported | {
        "mien_shadow_compared_total": {"emotion", "agreed", "version"},
        "mien_shadow_seconds_bucket": {"le", "model"},
        "mien_canary_requests_total": {"outcome"},
        "mien_connections_ended_total": {"reason"},
        "mien_drift_expected_recall": {"emotion"},
        "mien_drift_score": {"column"},
        "mien_drift_threshold": {"column"},
        "mien_feedback_total": {"emotion"},
        "mien_labels_total": {"label"},
        "mien_stream_frames_total": {"outcome"},
    }
    for place, text in expressions(repository).items():
        for name, matchers in METRIC.findall(text):
            wanted = set(LABEL.findall(matchers)) - TARGET
            assert wanted <= known[name], f"{place}: {name} has no {wanted - known[name]}"
        metrics = [known[name] for name, _ in METRIC.findall(text)]
        for labels in GROUPED.findall(text):
            wanted = {label.strip() for label in labels.split(",") if label.strip()} - TARGET
            assert not metrics or wanted <= set.union(*metrics), place


def test_the_rules_alarm_when_they_should_and_not_otherwise(repository: Path) -> None:
    promtool = program("promtool", package="prometheus")
    for command in (["check", "rules", "rules.yml"], ["test", "rules", "rules_test.yml"]):
        done = subprocess.run(
            [promtool, *command], cwd=repository / "deploy/prometheus", capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_and_says_what_to_do(repository: Path) -> None:
    tested = yaml.safe_load((repository / "deploy/prometheus/rules_test.yml").read_text())["tests"]
    cases = [case for test in tested for case in test["alert_rule_test"]]
    for rule in alerts(repository):
        name = rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert rule["annotations"].keys() == {"summary", "what_to_do"}, name
        mine = [bool(case.get("exp_alerts")) for case in cases if case["alertname"] == name]
        assert set(mine) == {True, False} or (name == "MienAbsent" and True in mine), name


def test_the_dashboards_expressions_are_promql(repository: Path, tmp_path: Path) -> None:
    """Prometheus itself reads them, as rules; Grafana's variables are filled in as Grafana would."""
    rules = [
        {
            "record": f"panel_{index}",
            "expr": text.replace("$__rate_interval", "1m").replace("$instance", ".*"),
        }
        for index, text in enumerate(expressions(repository).values())
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        [program("promtool", package="prometheus"), "check", "rules", tmp_path / "rules.yml"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_whole(repository: Path) -> None:
    board = dashboard(repository)
    source = yaml.safe_load((repository / "deploy/grafana/datasource.yml").read_text())["datasources"][0]
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers))
    for panel in panels:
        assert panel["targets"], panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {source["uid"]}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)


def test_prometheus_reads_its_configuration(repository: Path, tmp_path: Path) -> None:
    """The file, with the key's file where this test may write."""
    folder = repository / "deploy/prometheus"
    key = tmp_path / "key"
    key.write_text("key")
    text = (folder / "prometheus.yml").read_text()
    assert text.count("/tmp/metrics-key") == 1  # noqa: S108 - in the container, a file system in memory
    assert "/tmp/metrics-key" in (repository / "deploy/docker/prometheus/start.sh").read_text()  # noqa: S108 - the same
    (tmp_path / "rules.yml").write_text((folder / "rules.yml").read_text())
    (tmp_path / "prometheus.yml").write_text(text.replace("/tmp/metrics-key", str(key)))  # noqa: S108 - the same
    done = subprocess.run(
        [program("promtool", package="prometheus"), "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
