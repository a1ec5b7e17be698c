"""Parts of the `train` stage, each on its own.

input          prepared pictures → uint8 arrays in memory or on disk; batches for Keras
augmentation   random flips, rotations, zooms and shifts as one affine resampling
mixing         mixup and CutMix
schedule       phases, optimizers, the learning rate of every step, early stopping
metrics        validation loss, accuracy and macro-F1
checkpoint     everything a killed run needs to go on, in one file; pretraining uses it too
loop           epochs of one network, resumable
progress       images/s and time left
runlog         the MLflow run
outputs        weights, record and history
stage          all of it for one architecture; `pipelines.tune` uses its parts

Keras is imported inside functions only.
"""
