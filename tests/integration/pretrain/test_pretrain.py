"""`python -m pipelines.pretrain` in small: it learns, and a killed run equals an unbroken one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipelines.pretrain.learning import start_residuals_at_zero, switch_off_dropout
from pipelines.weights.drawn import load_drawn, read_card, read_drawn
from tests.support.networks import small_classifier

REPOSITORY = Path(__file__).parents[3]
EPOCHS = 10
SMALL: dict[str, Any] = {"filters": [16, 32, 64], "convolutions": [1, 1, 1]}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with parameters in which VGG is small."""
    folder = tmp_path_factory.mktemp("project")
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    params["models"]["vgg"]["options"] = SMALL
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return folder


def command(out: str, *more: str) -> Sequence[str]:
    """Two thousand pictures, of which half are trained on."""
    return (
        *(sys.executable, "-m", "pipelines.pretrain", "vgg", "--pictures", "2000", "--batch-size", "50"),
        *("--phases", f"32:{EPOCHS - 2},64:2", "--learning-rate", "0.005", "--out", out, *more),
    )


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"}


@pytest.fixture(scope="module")
def unbroken(project: Path) -> Path:
    """The file of a run that nothing stopped."""
    subprocess.run(
        command("unbroken", "--folder", "first"),
        cwd=project,
        env=environment(),
        check=True,
        timeout=400,
    )
    return project / "unbroken" / "vgg.safetensors"


def test_it_learns_where_landmarks_are(unbroken: Path, project: Path) -> None:
    card = read_card(unbroken)
    assert (card.architecture, card.pictures, card.steps) == ("vgg", 2000, EPOCHS * 20)
    assert list(card.sizes_px) == [32, 64]
    parts = [np.load(path) for path in (project / "first" / "pictures").glob("*.npz")]
    landmarks = np.concatenate([part["landmarks"] for part in parts]).reshape(2000, -1, 2)
    learned, shown = landmarks[:1000], landmarks[1000:]
    of_the_mean = np.linalg.norm(shown - learned.mean(axis=0), axis=2).mean()
    assert card.figures["landmark_error"] < 0.95 * of_the_mean


def test_a_killed_run_continues_to_the_same_weights(unbroken: Path, project: Path) -> None:
    second = project / "second"
    second.mkdir()
    (second / "pictures").symlink_to(project / "first" / "pictures")
    arguments = command("resumed", "--folder", "second")
    with subprocess.Popen(
        arguments, cwd=project, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "epoch 1 " in line and "landmark_error" in line:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    with np.load(second / "vgg.npz", allow_pickle=False) as state:
        facts = json.loads(state["facts"].tobytes())
        # These names stay, so that the checkpoint of an older checkout can be continued.
        assert set(facts) == {"key", "epochs", "processor_s"}
        assert {name.split("_")[0] for name in state.files} == {"facts", "model", "optimizer"}
        assert facts["epochs"] >= 1
    done = subprocess.run(
        arguments,
        cwd=project,
        env=environment(),
        check=True,
        timeout=400,
        capture_output=True,
        text=True,
    )
    assert "epoch 1 " not in done.stdout
    for expected, got in zip(
        read_drawn(unbroken), read_drawn(project / "resumed" / "vgg.safetensors"), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def test_a_run_goes_on_from_the_backbone_of_an_earlier_one(unbroken: Path, project: Path) -> None:
    earlier = read_card(unbroken)
    folder = project / "third"
    folder.mkdir()
    (folder / "pictures").symlink_to(project / "first" / "pictures")
    # One step of a rate that changes nothing: what is written is what was read.
    done = subprocess.run(
        [
            *command("further", "--folder", "third", "--start", str(unbroken)),
            *("--phases", "64:1", "--learning-rate", "1e-12", "--weight-decay", "0"),
        ],
        cwd=project, env=environment(), timeout=400, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    further = project / "further" / "vgg.safetensors"
    card = read_card(further)
    assert card.steps == earlier.steps + 20
    assert list(card.sizes_px) == [32, 64, 64]
    assert card.processor_s > earlier.processor_s
    kernels = [
        (before, after)
        for before, after in zip(read_drawn(unbroken), read_drawn(further), strict=True)
        if before.ndim == 4  # batch normalisation's statistics move with every picture
    ]
    assert kernels
    for before, after in kernels:
        np.testing.assert_allclose(after, before, atol=1e-6)


def test_a_backbone_that_does_not_fit_is_refused(unbroken: Path, project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.pretrain", "mobilenet_v2", "--start", str(unbroken)],
        cwd=project, env=environment(), timeout=400, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "--start" in done.stderr
    assert "vgg" in done.stderr


def test_a_network_takes_the_file_and_keeps_its_head(unbroken: Path) -> None:
    classifier = small_classifier("vgg", options=SMALL)
    head = [np.array(weight) for layer in classifier.head for weight in layer.weights]
    load_drawn(classifier.backbone, unbroken)
    for variable, expected in zip(classifier.backbone.weights, read_drawn(unbroken), strict=True):
        np.testing.assert_array_equal(np.array(variable), expected)
    for layer_weight, before in zip(
        (weight for layer in classifier.head for weight in layer.weights), head, strict=True
    ):
        np.testing.assert_array_equal(np.array(layer_weight), before)


def test_a_network_of_another_size_refuses_the_file(unbroken: Path) -> None:
    classifier = small_classifier("vgg", options={"filters": [8, 12], "convolutions": [1, 2]})
    with pytest.raises(ValueError, match="shapes"):
        load_drawn(classifier.backbone, unbroken)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--phases", phases) for phases in ("64:1,32:1", "48:1,64:1", "64:0", "all")),
        *(("--pictures", count) for count in ("0", "1000")),
        *(("--batch-size", count) for count in ("0", "1001")),
    ],
)
def test_options_that_do_not_fit_are_refused(project: Path, option: str, value: str) -> None:
    done = subprocess.run(
        command("refused", option, value),
        cwd=project,
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {option}: got {value}")


@pytest.mark.parametrize("name", ["lenet", "vit"])
def test_a_network_that_depends_on_the_side_is_refused(project: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.pretrain", name],
        cwd=project,
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: architecture: got {name}")
    assert not (project / ".pretraining").exists()


def test_a_checkpoint_of_another_network_is_refused(unbroken: Path, project: Path, tmp_path: Path) -> None:
    """The same recipe with other options in params.yaml."""
    params = yaml.safe_load((project / "params.yaml").read_text(encoding="utf-8"))
    params["models"]["vgg"]["options"] = {**SMALL, "filters": [8, 32, 64]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    done = subprocess.run(
        command("refused", "--folder", str(project / "first")),
        cwd=tmp_path,
        env=environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: training vgg")
    assert f"remove {project / 'first' / 'vgg.npz'} and train again" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_checkpoint_is_replaced(unbroken: Path, project: Path) -> None:
    folder = project / "damaged"
    folder.mkdir()
    (folder / "pictures").symlink_to(project / "first" / "pictures")
    (folder / "vgg.npz").write_bytes(b"PK\x03\x04 and no more")
    done = subprocess.run(
        command("replaced", "--folder", "damaged"),
        cwd=project,
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert "cannot be read" in done.stdout
    for expected, got in zip(
        read_drawn(unbroken), read_drawn(project / "replaced" / "vgg.safetensors"), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def test_dropout_is_off_and_pictures_pass_as_they_are() -> None:
    """Also where a whole picture is left out of a block, as EfficientNet does."""
    import keras

    image = keras.Input((4, 4, 3))
    kept = keras.layers.Dropout(0.5, noise_shape=(None, 1, 1, 1))(keras.layers.Dropout(0.5)(image))
    network = keras.Model(image, kept)
    given = np.ones((64, 4, 4, 3), np.float32)
    assert not np.array_equal(network(given, training=True), given)
    switch_off_dropout(network)
    np.testing.assert_array_equal(network(given, training=True), given)


@pytest.mark.parametrize(
    ("name", "blocks"), [("mobilenet_v2", 10), ("resnet50", 16), ("efficientnet_b4", 25)]
)
def test_residual_blocks_begin_as_the_identity(name: str, blocks: int) -> None:
    """As many batch norms as the papers' blocks that add their input, the last of each block."""
    import keras

    backbone = small_classifier(name).backbone
    start_residuals_at_zero(backbone)
    norms = [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
    zero = [layer.name for layer in norms if not np.asarray(layer.gamma).any()]
    assert len(zero) == blocks
    assert all(re.search(r"_3_bn$|project_bn$", name, re.IGNORECASE) for name in zero)


def test_a_transformer_has_no_block_to_change() -> None:
    backbone = small_classifier("vit_pretrained").backbone
    before = [np.asarray(weight) for weight in backbone.weights]
    start_residuals_at_zero(backbone)
    for weight, value in zip(backbone.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)
