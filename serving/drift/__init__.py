"""Has the world moved? The live model's recent answers against its own on held-out pictures.

    reference    the table stored with the model
    window       its newest observations, sampled evenly at the database
    scores       a batch's scores as a window
    columns      the two side by side: image statistics, answers, principal components of the embedding
    distances    how far apart two samples are
    thresholds   how far they may be apart by chance: a bootstrap over people
    quality      how often the model is right: with feedback, and estimated without
    report       Evidently: the scores and the page; the only module that loads it
    compute      all of it in a process of its own: `python -m serving.drift.compute`
    child        starts that process and takes what it leaves
    ledger       results in the database, and who computes the next one
    keeper       keeps the result of a running service fresh

docs/drift.md says why each test and each threshold.
"""
