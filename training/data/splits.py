"""Splits of examples into parts that look alike."""

import numpy as np

from training.arrays import Labels
from training.errors import DataError


def stratified_split(labels: Labels, share: float, rng: np.random.Generator) -> tuple[Labels, Labels]:
    """Draw `share` of the rows of each class; answer (the other rows, the drawn rows), both in ascending order.

    Each class gives its share rounded, but keeps at least one row. Raises DataError when nothing would be drawn.
    """
    drawn = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = min(round(share * len(rows)), len(rows) - 1)
        drawn.append(rng.permutation(rows)[:count])
    held_out = np.sort(np.concatenate(drawn))
    if not len(held_out):
        raise DataError(f"a share of {share} of {len(labels)} examples leaves none to hold out")
    return np.setdiff1d(np.arange(len(labels)), held_out, assume_unique=True), held_out
