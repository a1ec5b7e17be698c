"""pipelines/evaluate."""
