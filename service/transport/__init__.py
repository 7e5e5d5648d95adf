"""Between the socket and the application: connections, limits, and the fast path."""
