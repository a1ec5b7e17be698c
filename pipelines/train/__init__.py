"""Parts of the `train` stage, each on its own.

input          prepared pictures → uint8 arrays in memory or on disk; batches for Keras
augmentation   random flips, rotations, zooms and shifts as one affine resampling
plan           phases: from scratch one, from pretrained weights head first, then the top
schedule       learning rate, step by step
stopping       early stopping, its state explicit
metrics        validation loss, accuracy and macro-F1
checkpoint     everything a killed run needs to go on, in one file
loop           epochs of one network, resumable
progress       images/s and time left
runlog         the MLflow run
outputs        weights, record and history

Only `loop` and `input` touch Keras, inside their functions.
"""
