"""BentoML: one service with two workers. `bentoml serve serve:Emotion`."""

from __future__ import annotations

import os
from typing import Annotated, Any

import bentoml
from bentoml.validators import ContentType
from classifier import Classifier


@bentoml.service(workers=int(os.environ["MIEN_PEER_WORKERS"]))
class Emotion:
    """The emotion in a picture."""

    def __init__(self) -> None:
        self._classifier = Classifier()

    @bentoml.api
    def classify(self, picture: Annotated[bytes, ContentType("image/jpeg")], /) -> dict[str, Any]:
        """The body as it is."""
        return self._classifier.classify(picture)
