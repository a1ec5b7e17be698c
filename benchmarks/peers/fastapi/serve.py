"""A bare FastAPI handler: no queue, no limits, no log, no metrics. `uvicorn serve:app --workers 2`.

`def` handlers run in FastAPI's pool of threads, as its documentation has it for work that blocks.
"""

from __future__ import annotations

from threading import local
from typing import Annotated, Any

from classifier import Classifier
from faces import FaceClassifier
from fastapi import Body, FastAPI, UploadFile

app = FastAPI()
classifier = Classifier()
face_classifier = local()
"""A detector for each thread: OpenCV's is not safe to share."""


@app.post("/classify")
def classify(content: Annotated[bytes, Body(media_type="application/octet-stream")]) -> dict[str, Any]:
    """The body as it is."""
    return classifier.classify(content)


@app.post("/form")
def classify_form(file: UploadFile) -> dict[str, Any]:
    """A form's field."""
    return classifier.classify(file.file.read())


@app.post("/faces")
def classify_faces(file: UploadFile) -> list[dict[str, Any]]:
    """A form's field; every face in it."""
    if not hasattr(face_classifier, "own"):
        face_classifier.own = FaceClassifier()
    faces: list[dict[str, Any]] = face_classifier.own.classify(file.file.read())
    return faces
