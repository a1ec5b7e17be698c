"""What a network looked at: which pictures to show, heatmaps from Keras, and how they are drawn.

selection   predictions → the faces worth showing
answers     an ONNX file → classes, probabilities, heatmaps
heatmaps    Keras model and pictures → Grad-CAM or attention rollout (the only part that needs TensorFlow)
agreement   Keras' heatmaps against those of the ONNX file
drawing     picture and heatmap → an overlay
panels      overlays and labels → one PNG
gallery     the panels of the stage, and their record
"""
