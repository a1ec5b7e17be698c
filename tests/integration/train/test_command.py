"""`python -m pipelines.train` as a process: killed, interrupted, given bad input, on two devices."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipelines.core.params import load_params
from pipelines.train.stage import train_architecture
from tests.support.processes import interrupted_at
from tests.support.training_project import REPOSITORY, make_project, run_stage, start_stage


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One MLflow database for the whole file: making its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


def weights_of(root: Path) -> dict[str, np.ndarray]:
    arrays = {}
    with h5py.File(root / "models" / "lenet" / "model.weights.h5") as file:
        file.visititems(
            lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
    return arrays


def test_a_killed_run_goes_on_after_its_last_finished_epoch_and_ends_the_same(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = make_project(tmp_path / "whole"), make_project(tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.chdir(whole)
        patch.setenv("MLFLOW_TRACKING_URI", store)
        train_architecture("lenet", load_params())

    with start_stage(killed, "lenet", MLFLOW_TRACKING_URI=store) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "epoch 3" in line:
                process.send_signal(signal.SIGKILL)
                break
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "models").exists()
    code, out, err = run_stage(killed, "lenet", MLFLOW_TRACKING_URI=store)

    assert code == 0, err
    assert "resuming after epoch 2" in out or "resuming after epoch 3" in out
    for name in ("history.csv", "training.json"):
        path = Path("models") / "lenet" / name
        assert (whole / path).read_bytes() == (killed / path).read_bytes()
    expected, got = weights_of(whole), weights_of(killed)
    assert expected.keys() == got.keys()
    for name in expected:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-5, atol=1e-6)
    assert not (killed / ".checkpoints" / "lenet").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("alexnet",), "'alexnet' is unknown, expected one of"),
        (("lenet",), "dataset.json"),
    ],
    ids=["unknown-architecture", "nothing-prepared"],
)
def test_bad_input_is_one_line_and_exit_status_1(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    root = make_project(tmp_path / "a")
    (root / "prepared" / "dataset.json").unlink()
    code, _, err = run_stage(root, *arguments)
    assert code == 1
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert not (root / "models").exists()


def test_an_absent_mlflow_server_is_reported_before_training(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    root = make_project(tmp_path / "a")
    code, out, err = run_stage(root, "lenet", MLFLOW_TRACKING_URI=address)
    assert (code, out) == (75, "")  # a failure that may pass
    assert address in err
    # The project is not a git repository, which is one warning.
    assert len([line for line in err.splitlines() if not line.startswith("warning: ")]) == 1
    assert not (root / "models").exists()


def test_an_interrupt_ends_the_run_with_a_word_on_how_to_go_on(tmp_path: Path, store: str) -> None:
    root = make_project(tmp_path / "a", models__lenet__epochs=500)
    with start_stage(root, "lenet", MLFLOW_TRACKING_URI=store) as process:
        err = interrupted_at(process, "epoch 2")
    assert process.returncode == 1
    assert "interrupted; the same command goes on" in err
    assert "Traceback" not in err


def test_two_devices_share_every_batch(tmp_path: Path, store: str) -> None:
    """Two logical CPUs stand for two GPUs."""
    root = make_project(tmp_path / "a", models__lenet__epochs=3)
    on_two = (
        "import sys, tensorflow as tf;"
        "cpu = tf.config.list_physical_devices('CPU')[0];"
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2);"
        "import pipelines.train.stage as stage; real = stage.set_up;"
        "two = lambda: tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1']);"
        "stage.set_up = lambda *a, **k: (real(*a, **k), two())[1];"
        "sys.argv = ['train', 'lenet']; stage.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", on_two],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "MLFLOW_TRACKING_URI": store},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((root / "models" / "lenet" / "training.json").read_text())
    assert record["epochs_run"] == 3
    assert record["best"]["val_accuracy"] > 0.5
