"""`facex` behind the smallest FastAPI handler. `uvicorn serve:app --workers 2`.

Its pool has one classifier for each worker; another request waits for it.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import cv2
import numpy as np
from facex import PoolManager
from fastapi import FastAPI, UploadFile

cv2.setNumThreads(1)
app = FastAPI()
pool, lock = PoolManager(pool_size=1), Lock()


@app.post("/faces")
def classify_faces(file: UploadFile) -> list[dict[str, Any]]:
    """A form's field; every face in it."""
    image = cv2.imdecode(np.frombuffer(file.file.read(), np.uint8), cv2.IMREAD_COLOR)
    # Without the lock it raises an error while its classifier is in use.
    with lock:
        faces = pool.predict(image)
    return [
        {
            "box": [int(side) for side in face["bbox"]],
            "emotions": {name: float(value) for name, value in face["emot"].items()},
        }
        for face in faces
    ]
