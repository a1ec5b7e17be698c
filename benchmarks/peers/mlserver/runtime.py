"""MLServer: a custom runtime, pictures in base64 by the Open Inference Protocol.

`mlserver start .`, with the settings beside this file.
"""

from __future__ import annotations

import json

from classifier import Classifier
from mlserver import MLModel
from mlserver.codecs import Base64Codec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Emotion(MLModel):
    """The emotion in a picture."""

    async def load(self) -> bool:
        """Once in every worker."""
        self._classifier = Classifier()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One answer for each picture of the input."""
        pictures = Base64Codec.decode_input(payload.inputs[0])
        answers = self._classifier.answers([self._classifier.read(picture) for picture in pictures])
        output = StringCodec.encode_output(
            "answer", [json.dumps(answer) for answer in answers], use_bytes=False
        )
        return InferenceResponse(model_name=self.name, outputs=[output])
