"""The `weights` stage: finds pretrained weights on this machine or downloads them.

local        the user's folder, earlier results, the caches of Keras and Hugging Face; completeness of files
remote       a quick check for a network connection, then downloads with checks
pretrained   loads weights into a network
stage        the stage's output, replaced only when it differs

Keras is imported only for a download.
"""
