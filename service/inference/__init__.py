"""The V1 and V2 inference protocols: their requests, answers and tensors."""
