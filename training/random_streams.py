"""Independent random generators from one seed: for initial weights, for training, and for the validation split.

Each is seeded by a child of the seed, as returned by `numpy.random.SeedSequence.spawn`.
"""

from __future__ import annotations

import numpy as np

_WEIGHTS, _TRAINING, _HOLD_OUT = range(3)


def weights_rng(seed: int) -> np.random.Generator:
    """Return the generator for initial weights."""
    return _child(seed, _WEIGHTS)


def training_rng(seed: int) -> np.random.Generator:
    """Return the generator for shuffling, sampling with replacement, augmentation and dropout."""
    return _child(seed, _TRAINING)


def hold_out_rng(seed: int) -> np.random.Generator:
    """Return the generator for the validation split of `fit`."""
    return _child(seed, _HOLD_OUT)


def _child(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
