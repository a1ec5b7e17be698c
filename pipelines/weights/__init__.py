"""Where pretrained weights may lie, and how they get here.

local    a folder of the user's, what is here already, the caches of Keras and Hugging Face
remote   one quick question whether there is a network, then downloads with checks
intact   whether a file is whole
settle   the stage's output, replaced only when it differs

None of it imports Keras, unless there is something to download.
"""
