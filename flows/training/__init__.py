"""flows/training."""
