"""What many clients of different kinds do to the service; an answer other than the expected one is a failure.

    python -m locust -f tests/load/locustfile.py --host http://127.0.0.1:8000 --headless -u 20 -r 5 -t 60s

Small faces and camera pictures, several faces, forms with many files, explanations, feedback, and files that
are no pictures. Without `--headless` Locust shows its page on port 8089. Started in the repository's root.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import cv2
import numpy as np
from locust import HttpUser, between, task

from tests.support.pictures import drawn_face, encoded, png, textured

SMALL = [encoded(drawn_face(side)) for side in (48, 64, 96)]
MEDIUM = [encoded(drawn_face(480), "JPEG"), encoded(drawn_face(400), "WEBP")]
CAMERA = encoded(
    cv2.resize(textured(1, width=600, height=450), (3000, 2250)).astype(np.uint8), "JPEG", quality=85
)
GROUP = encoded(np.tile(drawn_face(200), (2, 3, 1)), "JPEG")
BAD = {
    "empty": (b"", 422, "image-unusable"),
    "no picture": (b"Hello", 415, "image-format-unknown"),
    "truncated": (MEDIUM[0][:-500], 422, "image-unusable"),
    "too many pixels": (
        png(30_000, 30_000, depth=8, color=0, rows=[b"\0" * 30_000]), 413, "image-too-large",
    ),
}  # fmt: skip


class Person(HttpUser):
    """Sends pictures and sometimes feedback."""

    wait_time = between(0.05, 0.3)

    def on_start(self) -> None:
        self.answers: deque[dict[str, Any]] = deque(maxlen=20)

    @task(10)
    def small(self) -> None:
        self._detect(random.choice(SMALL), name="/detect small")

    @task(6)
    def one_face(self) -> None:
        self._detect(random.choice(SMALL), name="/detect faces=none", faces="none")

    @task(5)
    def medium(self) -> None:
        self._detect(random.choice(MEDIUM), name="/detect medium")

    @task(1)
    def camera(self) -> None:
        self._detect(CAMERA, name="/detect camera")

    @task(3)
    def group(self) -> None:
        self._detect(GROUP, name="/detect several faces", faces="all")

    @task(1)
    def batch(self) -> None:
        files = [("file", (f"{number}.png", data)) for number, data in enumerate((*SMALL, b"bad"))]
        with self.client.post("/detect/batch", files=files, catch_response=True) as answer:
            entries = answer.json()["results"] if answer.status_code == 200 else []
            if [sorted(entry) for entry in entries] != [["file", "result"]] * 3 + [["file", "problem"]]:
                answer.failure(f"{answer.status_code}: not three results and one problem")

    @task(2)
    def bad(self) -> None:
        kind, (data, status, problem) = random.choice(list(BAD.items()))
        form = {"file": ("photo.jpg", data)}
        with self.client.post("/detect", files=form, name=f"/detect {kind}", catch_response=True) as answer:
            if answer.status_code == status and str(answer.json()["type"]).endswith(problem):
                answer.success()
            else:
                answer.failure(f"{answer.status_code}, expected {status} {problem}")

    @task(1)
    def explain(self) -> None:
        self.client.post("/explain", data=random.choice(SMALL), headers={"Accept": "image/png"})

    @task(3)
    def feedback(self) -> None:
        if self.answers:
            answer = self.answers.popleft()
            emotion = random.choice(list(answer["probabilities"]))
            self.client.post("/feedback", json={"id": answer["id"], "emotion": emotion})

    def _detect(self, data: bytes, *, name: str, faces: str = "auto") -> None:
        with self.client.post(f"/detect?faces={faces}", data=data, name=name, catch_response=True) as answer:
            body = answer.json() if answer.status_code == 200 else {}
            probabilities = body.get("probabilities")
            if answer.status_code != 200:
                answer.failure(f"{answer.status_code}")
            elif probabilities is None:
                # With `all` a picture without a found face has none.
                if faces != "all":
                    answer.failure("there is no answer")
            elif abs(sum(probabilities.values()) - 1) > 1e-4:
                answer.failure("the probabilities do not sum to 1")
            else:
                self.answers.append(body)
