"""From a trained Keras network to one ONNX file.

calibration   the temperature, fitted on validation logits
heatmaps      Grad-CAM in closed form and attention rollout, as graph operations
inference     pictures → probabilities, heatmap, embedding: the function that is exported
conversion    that function → ONNX, the same bytes every time
canonical     names and order that the graph alone decides
pictures      prepared pictures as arrays
parity        how far two sets of answers lie apart, on which pictures
comparison    the file in ONNX Runtime against Keras
"""
