"""`python -m pipelines.labels`: probable label errors, as a sheet to look at and a table to edit.

command   finds them in the answers of an evaluated model; writes the sheet and the table
sheet     the most probable ones as one picture
"""
