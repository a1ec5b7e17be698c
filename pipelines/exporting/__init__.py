"""From a trained Keras network to one ONNX file.

calibration   the temperature, fitted on validation logits
heatmaps      Grad-CAM in closed form and attention rollout, as graph operations
inference     pictures → probabilities, heatmap, embedding: the function that is exported
conversion    that function → ONNX, the same bytes every time
parity        the file in ONNX Runtime against Keras
"""
