"""`python -m benchmarks.models ARCHITECTURE`: a network with random weights as an ONNX file; about 20 s.

Weights do not matter for speed, but predictions must differ between pictures, see `_spread`. The file
is made by the project's own export and kept in `.mien/benchmarks/`, which git ignores, so that the next
benchmark finds it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipelines.core.cli import quiet_libraries
from pipelines.core.paths import onnx_model

FOLDER = Path(".mien/benchmarks")
CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
# The operator set of conf/base.yaml.
_OPSET = 18


def exported(architecture: str, *, side_px: int) -> Path:
    """The file, made by a process of its own when it is not there: TensorFlow stays out of this one."""
    path = _path(architecture, side_px)
    if not path.is_file():
        command = [sys.executable, "-m", "benchmarks.models", architecture, "--side-px", str(side_px)]
        # Its output does not belong to the printed table.
        subprocess.run(command, check=True, stdout=sys.stderr)
    return path


def recorded_or_exported(model: str, *, side_px: int) -> Path:
    """A model's file.

    Args:
        model: an ONNX file with a contract, or an architecture: what `make run` left of it in `onnx/`, and
            random weights where it left nothing.
        side_px: of the network's input, where weights are random.
    """
    if model.endswith(".onnx"):
        return Path(model)
    recorded = onnx_model(model)
    return recorded if recorded.is_file() else exported(model, side_px=side_px)


def _path(architecture: str, side_px: int) -> Path:
    return FOLDER / f"{architecture}-{side_px}px.onnx"


def main() -> None:
    """Export what the command line names."""
    parser = argparse.ArgumentParser(description="A network with random weights as an ONNX file.")
    parser.add_argument("architecture")
    parser.add_argument("--side-px", type=int, default=96)
    arguments = parser.parse_args()
    quiet_libraries()
    content = _export(arguments.architecture, side_px=arguments.side_px)
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = _path(arguments.architecture, arguments.side_px)
    temporary = path.with_suffix(".part")
    temporary.write_bytes(content)
    temporary.replace(path)
    print(f"{path}: {len(content) / 1e6:.1f} MB")


def _export(architecture: str, *, side_px: int) -> bytes:
    from pipelines.core.params import HeadParams, ModelParams
    from pipelines.export.inference import inference_function
    from pipelines.export.stage import converted
    from pipelines.model.keras_classifier import build_classifier
    from pipelines.model.tensorflow_runtime import load_tensorflow
    from serving.contract import InputSpec, ModelContract

    load_tensorflow(gpu=False)
    classifier = build_classifier(
        architecture,
        ModelParams(epochs=1, learning_rate=1e-3),
        head=HeadParams(hidden=[128], dropout=0.3),
        height=side_px,
        width=side_px,
        classes=len(CLASSES),
    )
    _spread(classifier.model)
    contract = ModelContract(
        classes=CLASSES,
        input=InputSpec(height=side_px, width=side_px),
        architecture=architecture,
        weights="scratch",
        temperature=1.0,
        dataset="0" * 64,
    )
    function = inference_function(classifier, temperature=1.0, height=side_px, width=side_px)
    return converted(function, contract, opset=_OPSET)


def _spread(model: Any) -> None:
    """Draw every kernel again, with the variance that ReLUs keep (He et al., 2015).

    Keras' own fades out in a depthwise network whose batch norms have seen nothing: MobileNetV2 then answers
    one seventh for each class and every picture, and a comparison of answers would mean nothing.
    """
    import numpy as np

    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.path.endswith("kernel"):
            depthwise = "depthwise" in weight.path.lower()
            inputs = np.prod(weight.shape[:2] if depthwise else weight.shape[:-1])
            weight.assign(random.normal(0, np.sqrt(2 / inputs), weight.shape))


if __name__ == "__main__":
    main()
