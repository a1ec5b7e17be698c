"""Scoring a folder of any size with the service's own code; `python -m serving.score` is its command line.

listing      the files of a folder, in path order, fixed when a run begins
scorer       chunks of files → tables, on all cores
parts        tables → one Parquet file, through parts that survive kill −9
run          a folder, chunk by chunk
"""
