"""`python -m pipelines.labels`: probable label errors, as a sheet to look at and a table to edit.

command            finds them in the answers of an evaluated model, or of one network per fold; writes both
cross_validation   trains a network per fold and lets it answer the pictures that it did not see
folds              which pictures are in which fold: never one person in two
sheet              the most probable ones as one picture
"""
