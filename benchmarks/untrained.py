"""Networks that nobody trained, as versions to move about: each seed answers in its own way."""

from hashlib import sha256

import numpy as np

from service.registry.registry import Registry
from training import MLP, MLPConfig
from training.export.npz import to_bytes


def publish_untrained(registry: Registry, model: str, seed: int, layers: tuple[int, ...] = (784, 16, 10)) -> int:
    """Publish one, and answer the number of its version."""
    weights = to_bytes(MLP(MLPConfig(layers), np.random.default_rng(seed)))
    labels = [str(label) for label in range(layers[-1])]
    details = {"labels": labels, "weights_sha256": sha256(weights).hexdigest()}
    return registry.publish(model, weights, details).version
