"""flows/repro."""
