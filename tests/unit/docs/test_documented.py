"""Every parameter, stage, endpoint, metric, setting and flow parameter is in the guides, as the code has it.

The service's settings, with their defaults and texts, are held by tests/unit/serving/test_settings.py.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.routing import APIWebSocketRoute
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel

from flows.command import COMMANDS
from pipelines.architectures import load_architecture
from pipelines.core.params import ModelParams, Params, QuantizationParams, known_architectures
from serving.http.app import create_app
from serving.http.routes import stream
from serving.http.telemetry.metrics import Metrics
from serving.settings import PREFIX, Settings

Rows = dict[str, list[str]]
"""First column without backquotes → the other cells."""
BY_PROFILE = "## By profile"
SERVICE_PAGES = ("serving", "api", "service-settings", "operations")


@pytest.fixture(scope="module")
def root() -> Path:
    return Path(__file__).resolve().parents[3]


def rows(page: Path) -> Rows:
    found: Rows = {}
    for line in page.read_text().partition(BY_PROFILE)[0].splitlines():
        if line.startswith("| `"):
            first, *rest = cells(line)
            for name in quoted(first):
                assert name not in found, f"{page.name}: {name} is listed twice"
                found[name] = rest
    return found


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split(" | ")]


def quoted(text: str) -> list[str]:
    """What stands in backquotes, blocks of code left out."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


# Parameters


def model_of(annotation: Any) -> type[BaseModel] | None:
    """The block behind an annotation; None for a value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def keys(block: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names of a block's values, `A` for an architecture, with the field."""
    for name, field in block.model_fields.items():
        key = prefix + (field.alias or name)
        inner = model_of(field.annotation)
        if inner is not None:
            yield from keys(inner, f"{key}.")
        elif field.annotation == dict[str, ModelParams]:
            yield from keys(ModelParams, f"{key}.A.")
        elif field.annotation == dict[str, QuantizationParams]:
            yield from keys(QuantizationParams, f"{key}.A.")
        else:
            yield key, field


def options(architecture: str) -> type[BaseModel]:
    return load_architecture(architecture).options


def all_keys() -> dict[str, Any]:
    found = dict(keys(Params))
    for name in known_architectures():
        found |= keys(options(name), f"models.{name}.options.")
    return found


def test_every_parameter_has_a_row_and_no_row_is_of_another(root: Path) -> None:
    assert set(rows(root / "docs/parameters.md")) == set(all_keys())


def test_the_defaults_of_parameters_are_those_of_the_base_profile(root: Path) -> None:
    base = yaml.safe_load((root / "conf/base.yaml").read_text())
    documented = rows(root / "docs/parameters.md")
    expected = {key: leaf(base, key) for key in all_keys() if ".A." not in key and ".options." not in key}
    expected.pop("architectures")  # in words: all seven
    shown = {key: yaml.safe_load(quoted(documented[key][0])[0]) for key in expected}
    assert shown == expected


def test_the_defaults_of_options_are_those_of_the_architecture(root: Path) -> None:
    documented = rows(root / "docs/parameters.md")
    for key, field in all_keys().items():
        if ".options." in key:
            shown = literal(quoted(documented[key][0])[0])
            assert shown == field.get_default(call_default_factory=True) or shown == list(field.default), key


def literal(text: str) -> Any:
    """The value a default is written as; a word is itself."""
    try:
        return ast.literal_eval(text.replace("null", "None"))
    except ValueError:
        return text


def leaf(values: Any, key: str) -> Any:
    for name in key.split("."):
        values = values[name]
    return values


def test_the_table_of_profiles_has_what_each_of_them_changes(root: Path) -> None:
    _, _, text = (root / "docs/parameters.md").read_text().partition(BY_PROFILE)
    header, _, *table = [cells(line) for line in text.splitlines() if line.startswith("|")]
    base, *changes = (
        dict(leaves(yaml.safe_load((root / f"conf/{name}.yaml").read_text())))
        for name in ("base", *(quoted(cell)[0] for cell in header[2:]))
    )
    expected = {
        (key, quoted(header[2 + number])[0]): value
        for number, change in enumerate(changes)
        for key, value in change.items()
        if key not in base or value != base[key]
    }
    shown = {
        (quoted(row[0])[0], quoted(header[2 + number])[0]): yaml.safe_load(quoted(cell)[0])
        for row in table
        for number, cell in enumerate(row[2:])
        if cell
    }
    assert shown == expected
    assert len(changes) == len(list((root / "conf").glob("*.yaml"))) - 1


def leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict):
        for name, value in values.items():
            yield from leaves(value, f"{prefix}{name}.")
    else:
        yield prefix.rstrip("."), values


# Stages


@pytest.fixture(scope="module")
def stages(root: Path) -> dict[str, Any]:
    """As dvc.yaml has them, `A` for the architecture."""
    text = (root / "dvc.yaml").read_text().replace("${item}", "A")
    loaded = yaml.safe_load(text)["stages"]
    return {
        f"{name}@A" if "foreach" in stage else name: stage.get("do", stage) for name, stage in loaded.items()
    }


def test_every_stage_is_documented_with_what_it_reads_and_writes(root: Path, stages: dict[str, Any]) -> None:
    documented = rows(root / "docs/stages.md")
    assert list(documented) == list(stages), "the table is in dvc.yaml's order"
    for name, stage in stages.items():
        reads, parameters, writes = documented[name][:3]
        data = [dep for dep in stage.get("deps", []) if not is_code(dep)]
        assert [*quoted(reads), *(p for p in quoted(parameters) if p == "params.yaml")] == [
            *(dep for dep in data if dep != "params.yaml"),
            *(dep for dep in data if dep == "params.yaml"),
        ], name
        assert [p for p in quoted(parameters) if p != "params.yaml"] == stage.get("params", []), name
        assert written(quoted(writes)) == set(outputs(stage)), name


def is_code(dep: str) -> bool:
    return dep.startswith(("pipelines/", "serving/"))


def outputs(stage: dict[str, Any]) -> Iterator[str]:
    for kind in ("outs", "metrics", "plots"):
        for entry in stage.get(kind, []):
            yield entry if isinstance(entry, str) else next(iter(entry))


def written(cells: list[str]) -> set[str]:
    """Paths; folders that are named before plain file names hold each of those."""
    files = [cell for cell in cells if "/" not in cell and "." in cell]
    paths = [cell for cell in cells if cell not in files]
    return {f"{folder}/{file}" for folder in paths for file in files} or set(paths)


def test_every_stage_is_explained(root: Path, stages: dict[str, Any]) -> None:
    text = (root / "docs/stages.md").read_text()
    assert re.findall(r"^\* \*\*`([\w@]+)`\*\*", text, re.MULTILINE) == list(stages)


# Endpoints


def test_every_endpoint_is_documented(root: Path) -> None:
    guide = (root / "docs/api.md").read_text()
    listed = {part for text in quoted(guide) for part in re.split(r"[ ,]+", text)}
    # "the same three" below a version: one row with dots.
    assert "…/v2/models/{name}/versions/{version}/…" in listed
    described = create_app(Settings()).openapi()["paths"]
    paths = {path.replace("/versions/{version}", "") for path in described}
    assert not paths - listed
    assert not {method for operations in described.values() for method in operations} - {
        "get",
        "post",
        "delete",
    }


def test_every_websocket_is_documented(root: Path) -> None:
    guide = (root / "docs/api.md").read_text()
    sockets = [route.path for route in stream.routes.router.routes if isinstance(route, APIWebSocketRoute)]
    assert sockets
    assert all(f"`WS {path}`" in guide for path in sockets)


# Metrics


def test_every_metric_is_documented_with_its_labels(root: Path) -> None:
    expected = set(exposed(Metrics()))
    assert expected <= metrics_in(root / "docs/operations.md")
    # No page of the service names a metric that does not exist; prose may leave the labels out.
    named = set().union(*(metrics_in(root / f"docs/{page}.md") for page in SERVICE_PAGES))
    assert {name.partition("{")[0] for name in named} <= {name.partition("{")[0] for name in expected}


def metrics_in(page: Path) -> set[str]:
    """Names of metrics in backquotes, with their labels where the page has them."""
    return {text for text in quoted(page.read_text()) if text.startswith("mien_")}


def exposed(metrics: Metrics) -> Iterator[str]:
    """Names as Prometheus sees them, with labels: `mien_requests_total{route,method,status}`."""
    registry: CollectorRegistry = metrics._registry
    for collector in registry._collector_to_names:
        assert isinstance(collector, MetricWrapperBase)
        [family] = collector.describe()
        labels = ",".join(collector._labelnames)
        name = f"{family.name}_total" if family.type == "counter" else family.name
        yield f"{name}{{{labels}}}" if labels else name


# Settings other than the service's


def test_every_variable_that_the_code_reads_is_documented(root: Path) -> None:
    listed = {name for page in (root / "docs").glob("*.md") for name in quoted(page.read_text())}
    # MIEN_BODY and MIEN_DRIFT_ are beginnings of names.
    read = {name for name in literals(root) if re.fullmatch(r"MIEN_[A-Z_]*[A-Z]", name)}
    assert read >= {"MIEN_WEIGHTS_DIR", "MIEN_CLUSTER_GPUS", "MIEN_SCRATCH", "MIEN_FACE_MODEL"}
    assert not {name for name in read if name not in listed}


def literals(root: Path) -> Iterator[str]:
    for package in ("pipelines", "serving", "flows"):
        for path in (root / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_every_variable_of_make_and_compose_is_documented(root: Path) -> None:
    service = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    listed = set(rows(root / "docs/settings.md")) | service
    compose = set(re.findall(r"\$\{(\w+)", (root / "docker-compose.yml").read_text()))
    make = set(re.findall(r"^(\w+) \?=", (root / "Makefile").read_text(), re.MULTILINE))
    example = set(re.findall(r"^#?([A-Z_]+)=", (root / ".env.example").read_text(), re.MULTILINE))
    assert {"HOST", "MLFLOW_PORT"} <= make
    assert not (compose | make | example) - listed


# Flows


@pytest.fixture(scope="module")
def flows(root: Path) -> dict[str, dict[str, Any]]:
    """Deployment → its flow's parameters with their defaults; "needed" where there is none."""
    entries = yaml.safe_load((root / "prefect.yaml").read_text())["deployments"]
    return {entry["name"]: parameters(root, entry["entrypoint"]) for entry in entries}


def parameters(root: Path, entrypoint: str) -> dict[str, Any]:
    path, name = entrypoint.split(":")
    [flow] = [
        node
        for node in ast.parse((root / path).read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    names = [argument.arg for argument in flow.args.args]
    # A default that is a name (`CHUNK`) is not looked up.
    defaults = [ast.literal_eval(one) if isinstance(one, ast.Constant) else ... for one in flow.args.defaults]
    return dict(zip(names, ["needed"] * (len(names) - len(defaults)) + defaults, strict=True))


def test_every_deployment_and_every_parameter_of_its_flow_is_documented(
    root: Path, flows: dict[str, dict[str, Any]]
) -> None:
    text = (root / "docs/flows.md").read_text()
    table = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (`?)(.+?)\3 \|", text, re.MULTILINE)
    listed: dict[str, dict[str, Any]] = {}
    for flow, parameter, _, default in table:
        expected = flows[flow][parameter]
        listed.setdefault(flow, {})[parameter] = expected if expected is ... else yaml.safe_load(default)
    assert listed == {name: own for name, own in flows.items() if name != "training"}
    assert set(flows["training"]) <= set(quoted(text.partition("## Deployments")[0]))


# Commands


ACTIVATE = "source .venv/bin/activate"
OF_MIEN = "|".join(command.name for command in COMMANDS)
IN_THE_ENVIRONMENT = re.compile(
    r"(?:^\s*|`)(?:[A-Z_]+=\S+ )*"
    rf"(?:(?:python|dvc|prefect|mlflow|dask|ray) [a-z-]|mien (?:--help|{OF_MIEN})\b)",
    re.MULTILINE,
)


def test_every_guide_activates_the_environment_before_its_first_command(root: Path) -> None:
    unsaid = []
    for page in (root / "docs").glob("*.md"):
        before, _, _ = page.read_text().partition(ACTIVATE)
        if IN_THE_ENVIRONMENT.search(before):
            unsaid.append(page.name)
    assert not unsaid
    # The pattern finds what it is made for.
    assert IN_THE_ENVIRONMENT.search("```sh\nA=1 python -m flows.training\n```")
    assert IN_THE_ENVIRONMENT.search("run `dvc repro` again")
    assert IN_THE_ENVIRONMENT.search("run `mien serve` again")
    assert not IN_THE_ENVIRONMENT.search("mien turns pictures into a classifier")


def test_nothing_names_a_package_index(root: Path) -> None:
    listed = subprocess.run(
        ["git", "grep", "--text", "-lEi", "pypi[.]org|files[.]pythonhosted", "--", "."],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert listed.returncode == 1, listed.stdout


# Licence


def test_the_licence_is_in_the_package_and_named_in_its_metadata(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["license"] == "Apache-2.0"
    text = (root / "LICENSE").read_text()
    assert "Version 2.0, January 2004" in text
    assert "3. Grant of Patent License." in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert all((root / name).is_file() for name in project["license-files"])
