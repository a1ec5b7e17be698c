"""What the scoring flow is made of.

sources     what is to be scored: a folder, a table of paths, an S3 prefix
chunks      one chunk of it: fetched, scored with a model that each process loads once
engines     where chunks are scored
progress    how far the batch is
verdict     the batch against the model's reference
"""
