"""`fer` behind the smallest FastAPI handler. `uvicorn serve:app --workers 2`.

Haar's cascade and mini-XCEPTION in TensorFlow Lite, as `FER()` sets them up.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import cv2
import numpy as np
from fastapi import FastAPI, UploadFile
from fer.fer import FER

cv2.setNumThreads(1)
app = FastAPI()
# Its interpreter is shared by all objects of a process, and is not safe to share between threads.
detector, lock = FER(), Lock()


@app.post("/faces")
def classify_faces(file: UploadFile) -> list[dict[str, Any]]:
    """A form's field; every face in it."""
    image = cv2.imdecode(np.frombuffer(file.file.read(), np.uint8), cv2.IMREAD_COLOR)
    with lock:
        faces = detector.detect_emotions(image)
    return [{"box": [int(side) for side in face["box"]], "emotions": face["emotions"]} for face in faces]
