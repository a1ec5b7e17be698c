"""LitServe: two workers on the processor and its own number of API servers. `python serve.py PORT`."""

# No postponed annotations: LitServe compares the class that `request` is annotated with.
import base64
import os
import sys
from typing import Any

import litserve
from classifier import Classifier
from fastapi import Request


class Emotion(litserve.LitAPI):
    """The emotion in a picture."""

    def setup(self, device: str) -> None:
        """Once in every worker."""
        self._classifier = Classifier()

    def decode_request(self, request: Request) -> Any:
        """JSON with the picture in base64, as the documentation has pictures; it arrives here parsed."""
        return self._classifier.read(base64.b64decode(request["image_data"]))

    def predict(self, x: Any) -> Any:
        """The answer for one picture."""
        return self._classifier.answers([x])[0]

    def encode_response(self, output: Any) -> Any:
        """As it is."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Emotion(), accelerator="cpu", devices=1, workers_per_device=int(os.environ["MIEN_PEER_WORKERS"])
    )
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
