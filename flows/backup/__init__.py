"""Save what git does not hold, and bring it back into a fresh clone."""
