"""Training jobs: their queue, the worker that runs them, and the gate that their models pass."""
