"""pipelines/model."""
