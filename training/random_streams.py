"""Independent random streams from one seed, for what must not be drawn from the same bits.

Each is a child of the seed as `numpy.random.SeedSequence.spawn` makes them: the first weights, the order and the
dropout masks of training, and the split into training and validation examples.
"""

from __future__ import annotations

import numpy as np

_WEIGHTS, _TRAINING, _HOLD_OUT = range(3)


def weights_rng(seed: int) -> np.random.Generator:
    """Return the generator for a network's first weights."""
    return _child(seed, _WEIGHTS)


def training_rng(seed: int) -> np.random.Generator:
    """Return the generator for shuffles, draws with replacement, deformations and dropout masks."""
    return _child(seed, _TRAINING)


def hold_out_rng(seed: int) -> np.random.Generator:
    """Return the generator for the validation share that `fit` holds out."""
    return _child(seed, _HOLD_OUT)


def _child(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
