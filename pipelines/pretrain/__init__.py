"""`python -m pipelines.pretrain ARCHITECTURE`: pretrains a backbone on drawn faces with dense labels.

pictures   draws people who are in no sample, with action units, landmarks and pose
learning   trains a backbone to read these from the picture, from small pictures to large ones
command    the command: draws, trains, writes the backbone for `weights.source: drawn`
"""
