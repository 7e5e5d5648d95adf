"""What is seen of a running service: metrics, logs and traces."""
