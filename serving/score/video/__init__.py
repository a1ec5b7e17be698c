"""Scoring a video: faces are tracked, and each has a smoothed line of emotions over time.

clip         a file → upright frames with their true times
faces        frames → faces with probabilities, on all cores
tracking     faces of successive frames → tracks
timeline     the Parquet file: faces with track and smoothed probabilities; its writer and its reader
scoring      a clip → one timeline, through shards that survive kill −9
lines        a timeline → one line per track, short enough to draw
page         a timeline → an HTML page that needs no other file
annotation   a clip and its timeline → a WebM file with boxes and labels
"""
