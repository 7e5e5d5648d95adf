"""The uvicorn server: connections, timeouts, the fast path, and the API processes."""
