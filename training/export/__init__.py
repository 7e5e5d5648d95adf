"""Networks and training runs as files: `.npz`, ONNX and checkpoints."""
