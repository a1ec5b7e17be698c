"""Turn the originals in data/ into what the network takes: cropped, resized, split, without duplicates.

    python -m pipelines.prepare

Reads data/<class>/*, data/{train,val,test}/<class>/* or data/fer2013.csv (docs/dataset.md); writes
prepared/ and reports/prepare.json. docs/benchmarks.md has how fast.
"""

from __future__ import annotations
