"""Models in memory: the versions that answer requests, candidates, batch-invariant inference and drift."""
