"""The pipeline as its users run it: `dvc repro`, edits, a kill, a wiped registry, an experiment."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess

import yaml

from pipelines.core.variants import all_variants
from tests.support.project import Project
from tests.support.recorded_results import contradictions

ARCHITECTURES = ["lenet", "vit"]


def version_count(project: Project) -> int:
    code = (
        "from mlflow import MlflowClient; import mlflow;"
        "mlflow.set_tracking_uri('sqlite:///mlruns/mlflow.db');"
        "print(len(MlflowClient().search_model_versions(\"name='emotion'\")))"
    )
    return int(project.run("python", "-c", code).stdout.split()[-1])


def gate(project: Project) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((project.root / "reports/gate.json").read_text())
    return loaded


def test_first_run_ends_with_a_production_model_and_a_report(project: Project) -> None:
    assert gate(project)["passed"] is True
    assert version_count(project) == 1
    listed = project.run("python", "-m", "pipelines.tracking.registry").stdout
    assert "candidate, production" in listed
    assert (project.root / "reports/report.html").stat().st_size > 50_000
    again = project.run("python", "-m", "pipelines.run").stdout
    assert "Already registered: emotion version 1" in again
    assert "Everything is up to date" in again
    assert contradictions(project.root) == []


def test_second_run_does_nothing(project: Project) -> None:
    again = project.run("dvc", "repro")
    assert project.ran(again.stdout) == ["weights", "machine", "gate", "register"]
    assert version_count(project) == 1
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_metrics_and_plots_are_declared(project: Project) -> None:
    shown = json.loads(project.run("dvc", "metrics", "show", "--json").stdout)
    metrics = shown[""]["data"]
    assert all(f"evaluations/{name}/summary.json" in metrics for name in all_variants(ARCHITECTURES))
    assert json.loads(project.run("dvc", "metrics", "diff", "--json", "HEAD").stdout) == {}
    page = project.run("dvc", "plots", "show", "--out", "plots").stdout
    assert page.strip().endswith("index.html")
    shutil.rmtree(project.root / "plots")


def test_edited_epochs_retrain_one_architecture(project: Project) -> None:
    project.edit_params(**{"models.lenet.epochs": 2})
    changed = project.run("dvc", "repro")
    ran = project.ran(changed.stdout)
    stages = ["train", "export", "quantize", "evaluate"]
    assert [name for name in ran if "@" in name] == [f"{stage}@lenet" for stage in stages]
    assert {"compare", "latency"} <= set(ran)
    assert not {"prepare", "validate"} & set(ran)
    difference = json.loads(project.run("dvc", "metrics", "diff", "--json", "HEAD").stdout)
    assert any("lenet" in path for path in difference)
    assert not any("vit" in path for path in difference)


def test_an_edited_quantisation_quantises_one_architecture_again_and_trains_none(project: Project) -> None:
    project.run("git", "checkout", "--quiet", "--", ".")
    project.run("dvc", "checkout")
    project.edit_params(**{"quantization.vit.per_channel": False})
    changed = project.ran(project.run("dvc", "repro", "compare").stdout)
    assert [name for name in changed if "@" in name] == ["quantize@vit", "evaluate@vit"]
    project.run("git", "checkout", "--quiet", "--", ".")


def test_killed_training_goes_on_where_it_was(project: Project) -> None:
    epochs = 60
    project.edit_params(**{"models.lenet.epochs": epochs, "training.early_stopping.patience": epochs})
    training = subprocess.Popen(
        ["python", "-m", "pipelines.train", "lenet"],
        cwd=project.root, env=project.environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert training.stdout is not None
    for line in training.stdout:
        if "epoch 4 " in line:  # the third is finished, its checkpoint written
            break
    training.send_signal(signal.SIGKILL)
    assert training.wait() == -signal.SIGKILL
    training.stdout.close()
    resumed = project.run("dvc", "repro", "--single-item", "train@lenet").stdout
    assert "resuming after epoch" in resumed
    assert "epoch 2 " not in resumed
    record = json.loads((project.root / "models/lenet/training.json").read_text())
    assert record["epochs_run"] == epochs
    assert not any((project.root / ".checkpoints").rglob("*.npz"))


def test_wiped_registry_is_filled_again(project: Project) -> None:
    project.run("git", "checkout", "--quiet", "--", ".")
    project.run("dvc", "checkout")
    shutil.rmtree(project.root / "mlruns")
    (project.root / "mlruns").mkdir()
    refilled = project.run("dvc", "repro")
    assert not any("@" in name for name in project.ran(refilled.stdout))
    assert version_count(project) == 1


def test_times_of_another_machine_are_measured_again(project: Project) -> None:
    """As in a clone: every other input is as recorded, and so is the machine's description in git."""
    project.restore()
    path = project.root / "reports/machine.json"
    machine = json.loads(path.read_text())
    path.write_text(json.dumps(machine | {"cpu": "Another CPU"}, indent=2, sort_keys=True) + "\n")
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    recorded = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    for stage in lock["stages"].values():
        for entry in (*stage.get("deps", []), *stage.get("outs", [])):
            if entry["path"] == "reports/machine.json":
                entry |= {"md5": recorded, "size": path.stat().st_size}
    (project.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    ran = project.ran(project.run("dvc", "repro").stdout)
    assert [name for name in ran if "@" in name] == []
    assert {"machine", "latency", "compare", "gate", "report", "register"} <= set(ran)
    measured = json.loads((project.root / "reports/latency.json").read_text())
    assert measured["timing"]["machine"] == machine
    assert contradictions(project.root) == []
    assert version_count(project) == 1
    project.restore()


def test_report_follows_although_registering_fails(project: Project) -> None:
    project.restore()
    project.edit_params(**{"gate.max_size_mb": 40.0})
    failed = project.run(
        "dvc", "repro", check=False, MLFLOW_TRACKING_URI="http://127.0.0.1:9",
    )  # fmt: skip
    assert failed.returncode != 0
    ran = project.ran(failed.stdout)
    assert ran.index("gate") < ran.index("report") < ran.index("register") == len(ran) - 1
    assert "error: MLflow at http://127.0.0.1:9" in failed.stderr + failed.stdout
    assert (project.root / "reports/report.html").stat().st_size > 50_000
    project.restore()


def test_experiment_registers_nothing(project: Project) -> None:
    before = version_count(project)
    project.run("dvc", "exp", "run", "--set-param", "models.lenet.epochs=3")
    assert version_count(project) == before
    assert gate(project)["experiment"]


def test_failed_validation_names_the_expectation(project: Project) -> None:
    project.run("git", "checkout", "--quiet", "--", ".")
    project.edit_params(**{"validate.min_per_class_and_split": 1000})
    failed = project.run("dvc", "repro", "validate", check=False)
    assert failed.returncode != 0
    assert "1000" in failed.stderr + failed.stdout
    assert "Traceback" not in failed.stderr + failed.stdout
    assert not (project.root / "validation/passed.json").exists()
