"""MLflow: a Python model that takes pictures in base64, saved by `python serve.py FOLDER`.

`mlflow models serve` answers with it.
"""

from __future__ import annotations

import base64
import os
import sys
from typing import Any

import mlflow
from classifier import MODEL_VARIABLE, Classifier


class Emotion(mlflow.pyfunc.PythonModel):
    """The emotion in a picture."""

    def load_context(self, context: Any) -> None:
        """Once in every worker."""
        self._classifier = Classifier(context.artifacts["onnx"])

    def predict(
        self, context: Any, model_input: list[str], params: dict[str, Any] | None = None
    ) -> list[Any]:
        """One answer for each picture."""
        return self._classifier.answers(
            [self._classifier.read(base64.b64decode(text)) for text in model_input]
        )


if __name__ == "__main__":
    mlflow.pyfunc.save_model(
        sys.argv[1],
        python_model=Emotion(),
        artifacts={"onnx": os.environ[MODEL_VARIABLE]},
        # The environment is there already: see requirements.txt beside this file.
        pip_requirements=[],
    )
