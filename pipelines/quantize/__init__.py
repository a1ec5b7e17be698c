"""The `quantize` stage: int8 weights and, where it is faster, int8 activations for a float32 ONNX file.

rewriting/        replace operators by fewer equivalent ones, so that quantisation gains more
mixed_precision   choose the nodes that stay in float32, by rule
calibration       observe activations on validation pictures, and choose the ranges that int8 covers
graph             an ONNX graph that can be queried and changed
qdq               call ONNX Runtime's quantiser
conversion        all steps, and the comparison with the float32 model
"""
