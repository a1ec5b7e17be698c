"""The `validate` stage: checks the prepared pictures with Great Expectations.

checks   tables (the manifest with derived columns, counts of classes) and the expectations about them
suite    runs the expectations and writes Data Docs, Great Expectations' pages in a frame that works offline
"""
