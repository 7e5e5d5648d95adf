"""Training: optimizers, schedules, batches, the training loop and its history."""
