"""The one contract between training and serving: NumPy, OpenCV and the standard library only.

arrays          types of pictures and boxes
model           ModelContract, InputSpec: the metadata inside the ONNX file
image_headers   bytes → header of the file: format, size, frames, orientation
decoding        bytes → upright RGB picture, with the header checked first
faces           picture → face boxes (YuNet or Haar cascade)
preprocessing   picture (and face box) → the network's input; brightness, contrast, sharpness
"""

from serving.contract.arrays import Box, Image
from serving.contract.decoding import decode, decode_with_header
from serving.contract.faces import (
    FACE_MODEL_VARIABLE,
    Face,
    FaceDetector,
    FaceSearch,
    detector_file,
    find_detector,
    largest_face,
)
from serving.contract.image_headers import ImageHeader, read_header
from serving.contract.model import (
    CONTRACT_VERSIONS,
    EMBEDDING,
    HEATMAP,
    IMAGE,
    METADATA_KEY,
    NOVELTY,
    OUTPUTS,
    PROBABILITIES,
    ConformalThreshold,
    DetectorFile,
    InputSpec,
    ModelContract,
    NoveltyOutput,
    TensorInfo,
    check_signature,
    class_name_problem,
)
from serving.contract.preprocessing import ImageStatistics, crop_square, image_statistics, preprocess
from serving.errors import ContractError, ContractMissing, FaceDetectorError, ImageError, ImageUndecodable

__all__ = [
    "CONTRACT_VERSIONS",
    "EMBEDDING",
    "FACE_MODEL_VARIABLE",
    "HEATMAP",
    "IMAGE",
    "METADATA_KEY",
    "NOVELTY",
    "OUTPUTS",
    "PROBABILITIES",
    "Box",
    "ConformalThreshold",
    "ContractError",
    "ContractMissing",
    "DetectorFile",
    "Face",
    "FaceDetector",
    "FaceDetectorError",
    "FaceSearch",
    "Image",
    "ImageError",
    "ImageHeader",
    "ImageStatistics",
    "ImageUndecodable",
    "InputSpec",
    "ModelContract",
    "NoveltyOutput",
    "TensorInfo",
    "check_signature",
    "class_name_problem",
    "crop_square",
    "decode",
    "decode_with_header",
    "detector_file",
    "find_detector",
    "image_statistics",
    "largest_face",
    "preprocess",
    "read_header",
]
