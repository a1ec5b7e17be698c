"""The `evaluate` stage: metrics of an exported model on the test split, and on pictures of other datasets."""
