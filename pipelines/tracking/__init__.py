"""MLflow as the pipeline uses it: where it is, its runs, the registry of versions, a store that was moved."""
