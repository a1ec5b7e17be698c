"""Scoring a folder of any size with the service's own code; `python -m serving.score` is its command line.

listing      the files of a folder, in path order, fixed when a run starts
scorer       files → tables, on all cores, and a whole folder → one Parquet file
shards       tables → one Parquet file, through shards that survive kill −9
command      the command line
"""
