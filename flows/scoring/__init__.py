"""The scoring flow.

flow        its parameters and steps
sources     the pictures to score: a folder, a table of paths, an S3 prefix
chunks      scores one chunk with a model that each process loads once; progress of the batch
engines     where chunks are scored
drift       drift of the batch against the model's reference
"""
