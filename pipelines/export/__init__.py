"""From a trained Keras network to one ONNX file.

heatmaps      Grad-CAM in closed form and attention rollout, as graph operations
inference     pictures → probabilities, heatmap, embedding: that function, and its temperature
conformal     thresholds of prediction sets
novelty       how unlike the training's a picture is
flip_average  averages of a picture and its mirror image
conversion    that function → ONNX, the same bytes every time
canonical     names and order that the graph alone decides
pictures      prepared pictures as arrays
parity        how far two sets of answers lie apart, on which pictures
comparison    the file in ONNX Runtime against Keras
"""
