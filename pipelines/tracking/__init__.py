"""pipelines/tracking."""
