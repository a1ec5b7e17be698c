"""For `deploy/check-images`: a small model, and a picture that it takes for its first class."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.http_service import picture_of
from tests.support.serving_models import model_folder


def main() -> None:
    """Write the model into the first folder that is named and the picture into the second file."""
    model, picture = map(Path, sys.argv[1:])
    model.mkdir(parents=True)
    model_folder(model)
    picture.write_bytes(picture_of(0))


if __name__ == "__main__":
    main()
