"""The one contract between training and serving: NumPy, OpenCV and the standard library only.

model           ModelContract, InputSpec: what travels inside the ONNX file
decoding        bytes → upright RGB picture, with the header checked first
faces           picture → face boxes (YuNet or Haar cascade)
preprocessing   picture (and face box) → the network's input
statistics      picture → brightness, contrast, sharpness
"""

from serving.contract.model import (
    CONTRACT_VERSION,
    EMBEDDING,
    HEATMAP,
    IMAGE,
    METADATA_KEY,
    OUTPUTS,
    PROBABILITIES,
    InputSpec,
    ModelContract,
    TensorInfo,
    check_signature,
)
from serving.contract.preprocessing import Box, Image, crop_square, preprocess
from serving.contract.statistics import ImageStatistics, image_statistics
from serving.errors import ContractError, ContractMissing, FaceDetectorError, ImageError

__all__ = [
    "CONTRACT_VERSION",
    "EMBEDDING",
    "HEATMAP",
    "IMAGE",
    "METADATA_KEY",
    "OUTPUTS",
    "PROBABILITIES",
    "Box",
    "ContractError",
    "ContractMissing",
    "FaceDetectorError",
    "Image",
    "ImageError",
    "ImageStatistics",
    "InputSpec",
    "ModelContract",
    "TensorInfo",
    "check_signature",
    "crop_square",
    "image_statistics",
    "preprocess",
]
