"""The part of a kept picture that becomes data for one of its faces.

data are used                    largest face         another face
whole (`prepare.crop: none`)     the network's crop   the network's crop
by face (`prepare.crop: face`)   the whole picture    a part in which `prepare` finds this face first

`prepare` crops to the largest face that it finds, so the whole picture would give another face the label of
the largest. The part is therefore searched with `prepare`'s own detector before it is used.
"""

from __future__ import annotations

from functools import cached_property

from pipelines.core.params import PrepareParams
from pipelines.core.source_images import face_model_file
from serving.contract import Box, FaceDetector, Image
from serving.contract.faces import find_detector, largest_face
from serving.contract.preprocessing import crop_square
from serving.observations.labels import LabelledPicture

_CONTEXTS = (1.0, 0.5)
"""Margins of the part, as fractions of the face's longer side; the first in which the face is found is used.
With 1 a larger face does not fit beside it, and detectors get the surroundings that they were trained on."""
_SAME = 0.5
"""Intersection over union from which two boxes show one face (Everingham et al., 2010, "The PASCAL Visual
Object Classes (VOC) Challenge", section 4.2)."""


class FaceCrops:
    """Cuts faces out of kept pictures as the data need them."""

    def __init__(self, params: PrepareParams, *, margin: float) -> None:
        """Store the rules.

        Args:
            params: how the data are prepared.
            margin: of the service's crops, as a fraction of the face's longer side.
        """
        self._params = params
        self._margin = margin

    def cut(self, image: Image, picture: LabelledPicture) -> Image | None:
        """Return the part that becomes data: `image` itself when that is the whole picture.

        Args:
            image: the upright picture, uint8 [h, w, 3].
            picture: whose face is cut out.

        Returns:
            uint8 [h, w, 3]; None if `prepare` would not find the face in its part of the picture.

        Raises:
            FaceDetectorError: `prepare`'s detector cannot be used here.
        """
        if picture.box is None:
            return image
        if self._params.crop == "none":
            return crop_square(image, picture.box, margin=self._margin)
        return image if picture.face == 0 else self._findable(image, picture.box)

    @cached_property
    def _detector(self) -> FaceDetector:
        return find_detector(self._params.detector, face_model_file())

    def _findable(self, image: Image, box: Box) -> Image | None:
        for context in _CONTEXTS:
            part = crop_square(image, box, margin=context)
            found = largest_face(self._detector, part)
            _, _, width, height = box
            expected = ((len(part) - width) // 2, (len(part) - height) // 2, width, height)
            if found is not None and _overlap(found, expected) >= _SAME:
                return part
        return None


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union, in [0, 1]."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right = min(one[0] + one[2], other[0] + other[2])
    bottom = min(one[1] + one[3], other[1] + other[3])
    shared = max(0, right - left) * max(0, bottom - top)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)
