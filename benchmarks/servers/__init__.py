"""What `benchmarks/serving.py` measures beside this project: each server as its users would write it."""
