"""The parts of `pipelines.validate`.

tables   what the expectations look at: the manifest with derived columns, and counts of classes
checks   the expectations, each with its severity and its meaning in plain words
docs     Data Docs: Great Expectations' pages in a frame that works offline
"""
