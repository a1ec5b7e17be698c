"""Drift: compares the live model's recent answers with its own answers on held-out pictures.

    data         the reference stored with the model, and the window: observations or a batch's scores
    catalog      what each column means: its name for people, an explanation, its possible values
    columns      both side by side: image statistics, answers, principal components of the embedding
    thresholds   distances between two samples, and how large they are by chance: a bootstrap over people
    quality      how often the model is right: with feedback, and estimated without
    report       Evidently: the scores and the page; the only module that imports it
    result       the result, and the request to compute one
    compute      computes a result in a separate process: `python -m serving.drift.compute`
    runner       starts that process and reads its result
    store        results in the database, and the lease to compute the next one
    monitor      keeps the result of a running service up to date

docs/drift.md explains each test and each threshold.
"""
