"""A repository with data in versions, and a service's kept pictures with feedback and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from serving.contract import Box
from serving.observations.images import PictureFolder
from serving.observations.labels import Label, LabelStore
from serving.observations.records import Feedback, OtherFace
from serving.observations.store import Batch, Store
from tests.support.dvc_project import DvcProject, new_project
from tests.support.observing import NOW, id_of, observation
from tests.support.pictures import encoded

CLASSES = ("angry", "happy", "sad")


def noise(seed: int, *, side: int = 24) -> NDArray[np.uint8]:
    """A picture that no other seed has, uint8 [side, side, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


@dataclass
class KeptPictures:
    """What a service has kept of people who sent feedback."""

    root: Path
    ids: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The service's settings."""
        return {
            "MIEN_KEEP_IMAGES": "1",
            "MIEN_KEEP_IMAGES_DIR": str(self.root / "pictures"),
            "MIEN_DATABASE_URL": f"sqlite:///{self.root}/observations.db",
        }

    def add(
        self,
        image: NDArray[np.uint8] | None,
        emotion: str | None,
        *,
        box: Box | None = None,
        others: Mapping[Box, str | None] = MappingProxyType({}),
    ) -> tuple[str, Path]:
        """Store one answer, with its picture and its feedback if given; return its id and its file.

        `others` are boxes of further faces, with the feedback on each.
        """
        number = len(self.ids)
        id = id_of(number)
        name = None
        if image is not None:
            folder = PictureFolder(self.root / "pictures", fraction=1.0)
            name = folder.write(encoded(image), id=id, time=NOW)
        store = Store(self.environment["MIEN_DATABASE_URL"])
        try:
            faces = tuple(OtherFace(predicted="happy", confidence=0.5, box=each) for each in others)
            row = observation(number, id=id, box=box, picture=name, other_faces=faces)
            store.write(Batch(observations=[row]))
            for face, true in enumerate((emotion, *others.values())):
                if true is not None:
                    store.feedback(Feedback(observation_id=id, face=face, time=NOW + number, emotion=true))
        finally:
            store.close()
        self.ids.append(id)
        return id, self.root / "pictures" / (name or "none")

    def label(self, id: str, *labels: str) -> None:
        """Have people label an answer, each with one of these."""
        store = LabelStore(self.environment["MIEN_DATABASE_URL"], needed=2)
        try:
            for number, label in enumerate(labels):
                store.put(Label(observation_id=id, labeller=f"person {number}", time=NOW, label=label))
        finally:
            store.close()


def project_with_data(root: Path, *, people: int = 12) -> DvcProject:
    """A project whose data are one picture of each person and class; `seed_of` says which."""
    project = new_project(root)
    for label in CLASSES:
        for person in range(people):
            path = root / "data" / label / f"id{person:03}_{label}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encoded(noise(seed_of(person, label))))
    project.run("dvc", "add", "--quiet", "data")
    project.commit("Data")
    return project


def seed_of(person: int, label: str) -> int:
    """Of a person's picture in the data."""
    return 1000 + 10 * person + CLASSES.index(label)
