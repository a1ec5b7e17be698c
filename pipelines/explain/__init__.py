"""Heatmaps of a network: which pictures to show, the maps from Keras, and how they are drawn.

selection   predictions → the faces worth showing
answers     an ONNX file → classes, probabilities, heatmaps; comparison of its heatmaps with Keras'
heatmaps    Keras model and pictures → Grad-CAM or attention rollout (the only part that needs TensorFlow)
panels      picture and heatmap → an overlay; overlays and labels → one PNG
gallery     the panels of the stage, and their record
"""
