"""From images and tensors to predictions: decoding, the V1 and V2 inference protocols, and explanations."""
