"""`dvc.yaml` says what the code does: paths, parameters, and every module that shapes a result."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from pipelines.core import paths
from pipelines.core.params import Params, load_params
from pipelines.core.variants import variants_of

REPOSITORY = Path(__file__).resolve().parents[2]
# Modules that carry a result but do not shape it: an edit of an error message retrains nothing.
PLUMBING = {
    "pipelines.core.dataset",
    "pipelines.core.errors",
    "pipelines.core.io",
    "pipelines.core.paths",
    "pipelines.core.lineage",
    "pipelines.core.manifest",
    "pipelines.core.params",
    "pipelines.core.data_results",
    "pipelines.core.model_results",
    "pipelines.core.records",
    "pipelines.core.results",
    "pipelines.core.sample_remote",
    "pipelines.core.cli",
    "pipelines.gate.record",
    "pipelines.model.tensorflow_runtime",
    "pipelines.robustness.record",
    "pipelines.tracking.runs",
    "pipelines.model.trained",
    "pipelines.train.progress",
    "pipelines.train.runlog",
    "pipelines.core.variants",
    "serving.contract.arrays",
    "serving.contract.model",
    "serving.cores",
    "serving.errors",
    "serving.libraries",
    "serving.urls",
    "serving.inference.watchdog",
}


@pytest.fixture(scope="module")
def stages() -> dict[str, Any]:
    path = REPOSITORY / "dvc.yaml"
    loaded = yaml.safe_load(path.read_text())["stages"]
    return {name: stage.get("do", stage) for name, stage in loaded.items()}


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("pipelines", "serving", cache_dir=None, exclude_type_checking_imports=True)


def listed_paths(entries: list[Any]) -> list[str]:
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]


def outputs(stage: dict[str, Any]) -> list[str]:
    return [path for kind in ("outs", "metrics", "plots") for path in listed_paths(stage.get(kind, []))]


def module_of(stage: dict[str, Any]) -> str:
    found = re.match(r"python -m (pipelines[.\w]+)", stage["cmd"])
    assert found
    package = REPOSITORY / found[1].replace(".", "/")
    return f"{found[1]}.stage" if package.is_dir() else found[1]


def shaping_modules(imports: grimp.ImportGraph, module: str) -> set[str]:
    """What `module` imports, at any depth, without going through plumbing."""
    seen: set[str] = set()
    queue = [module]
    while queue:
        current = queue.pop()
        if current in seen or current in PLUMBING:
            continue
        seen.add(current)
        queue += imports.find_modules_directly_imported_by(current)
    # `pipelines.architectures` only re-exports; the file of the one that is trained is named by `${item}`.
    return seen - {"pipelines", "serving", "pipelines.architectures"}


def covers(dependency: str, module: str) -> bool:
    """Is `module`'s file the dependency, or inside the folder it names?"""
    file = module.replace(".", "/")
    return f"{file}.py" == dependency or f"{file}/".startswith(f"{dependency}/")


STAGES = [
    *("prepare", "validate", "weights", "train", "export", "quantize", "evaluate"),
    *("machine", "latency", "compare", "robustness", "explain", "gate", "report", "register", "verdict"),
]


def test_stages_are_the_ones_the_product_names(stages: dict[str, Any]) -> None:
    assert list(stages) == STAGES


# These run at every `dvc repro` anyway.
ALWAYS = {"weights", "machine", "gate", "register"}
CACHED = [name for name in STAGES if name not in ALWAYS]


@pytest.mark.parametrize("name", CACHED)
def test_dependencies_hold_every_module_that_shapes_the_result(
    name: str, stages: dict[str, Any], imports: grimp.ImportGraph
) -> None:
    declared = stages[name]["deps"]
    missing = {
        module
        for module in shaping_modules(imports, module_of(stages[name]))
        if not any(covers(dependency, module) for dependency in declared)
        # Chosen by name at run time: the stage lists `architectures/${item}.py` instead.
    }
    assert not missing


@pytest.mark.parametrize("name", CACHED)
def test_module_dependencies_exist(name: str, stages: dict[str, Any], repository: Path) -> None:
    code = [path for path in stages[name]["deps"] if path.startswith(("pipelines", "serving"))]
    assert code
    for path in code:
        assert (repository / path.replace("${item}", "lenet")).exists(), path


@pytest.mark.parametrize("name", CACHED)
def test_module_dependencies_are_imported(
    name: str, stages: dict[str, Any], imports: grimp.ImportGraph
) -> None:
    """A dependency nothing imports would make the stage stale for no reason."""
    module = module_of(stages[name])
    used = imports.find_upstream_modules(module) | {module}
    for path in stages[name]["deps"]:
        if path.startswith(("pipelines", "serving")) and "${item}" not in path:
            assert any(covers(path, module) for module in used), path


def test_dependencies_are_outputs_or_files_of_the_repository(
    stages: dict[str, Any], repository: Path
) -> None:
    made = [path for stage in stages.values() for path in outputs(stage)]
    for stage in stages.values():
        for path in stage.get("deps", []):
            if path.startswith(("pipelines", "serving")) or path in map(str, (paths.DATA, paths.PARAMS)):
                continue
            assert any(
                path == out or f"{path}/".startswith(f"{out}/") or f"{out}/".startswith(f"{path}/")
                for out in made
            ), path


@pytest.mark.parametrize("name", STAGES)
def test_parameters_exist(name: str, stages: dict[str, Any], repository: Path) -> None:
    values = yaml.safe_load((repository / "params.yaml").read_text())
    for key in stages[name].get("params", []):
        block = values
        for part in key.replace("${item}", "lenet").split("."):
            assert part in block, key
            block = block[part]


def test_every_parameter_is_some_stage_s(stages: dict[str, Any], repository: Path) -> None:
    used = {key.split(".")[0] for stage in stages.values() for key in stage.get("params", [])}
    blocks = {field.alias or name for name, field in Params.model_fields.items()}
    assert blocks == used


def test_outputs_are_the_layout_s(stages: dict[str, Any]) -> None:
    made = {path.replace("${item}", "A") for stage in stages.values() for path in outputs(stage)}
    owned = {
        paths.PREPARED, paths.PREPARE_REPORT, paths.VALIDATED, paths.VALIDATION_REPORT,
        paths.DATA_DOCS, paths.WEIGHTS, paths.MACHINE, paths.LATENCY, paths.COMPARISON,
        paths.ROBUSTNESS, paths.EXPLANATIONS, paths.GATE, paths.REGISTERED, paths.REPORT,
        paths.trained_weights("A"), paths.training_record("A"), paths.training_history("A"),
    }  # fmt: skip
    for name in variants_of("A"):
        owned |= {paths.onnx_model(name), paths.export_record(name), paths.evaluation_predictions(name)}
        owned |= {paths.evaluation_metrics(name), paths.evaluation_summary(name)}
        owned |= {paths.evaluation_plot(name, plot) for plot in ("confusion", "roc", "calibration")}
    assert made == {str(path) for path in owned}


def test_only_the_stages_that_ask_the_world_always_run(stages: dict[str, Any]) -> None:
    always = {name for name, stage in stages.items() if stage.get("always_changed")}
    assert always == ALWAYS


def test_their_outputs_are_kept_while_they_run(stages: dict[str, Any]) -> None:
    for name in ALWAYS:
        assert all(options.get("persist") for out in stages[name]["outs"] for options in out.values())


def test_report_needs_no_registry(stages: dict[str, Any]) -> None:
    """What it reads comes from stages that publish nothing, and it runs before the one that publishes."""
    waits = {"report"}
    while (
        more := {
            name
            for name, stage in stages.items()
            for path in outputs(stage)
            for reader in waits
            for dep in stages[reader].get("deps", [])
            if f"{path}/".startswith(f"{dep}/") or f"{dep}/".startswith(f"{path}/")
        }
        - waits
    ):
        waits |= more
    assert "gate" in waits
    assert "register" not in waits
    order = list(stages)
    assert order.index("report") < order.index("register") < order.index("verdict")
    assert str(paths.REGISTERED) in stages["verdict"]["deps"]


def test_times_are_measured_where_the_machine_is_described(stages: dict[str, Any]) -> None:
    """On a cluster too: both stages ask for the same node, and the one waits for the other."""
    assert stages["machine"]["meta"]["node"] == stages["latency"]["meta"]["node"]
    assert str(paths.MACHINE) in stages["latency"]["deps"]


def test_parameters_load(repository: Path) -> None:
    assert load_params(repository / "params.yaml").architectures


def test_git_ignores_what_the_cache_keeps_and_nothing_else(
    stages: dict[str, Any], repository: Path, tmp_path: Path
) -> None:
    """By the root's file: one beside an output goes with it, and DVC takes its lines back on failure."""
    kept: dict[str, bool] = {}
    for stage in stages.values():
        for entry in (entry for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])):
            [path] = listed_paths([entry])
            options = entry[path] if isinstance(entry, dict) else {}
            kept[path.replace("${item}", "resnet50")] = options.get("cache", True)
    (tmp_path / ".gitignore").write_bytes((repository / ".gitignore").read_bytes())
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    done = subprocess.run(
        ["git", "check-ignore", *kept], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == {path for path, cached in kept.items() if cached}
