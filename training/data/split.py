"""Stratified splits."""

from __future__ import annotations

import numpy as np

from training.errors import DataError
from training.types import Labels


def stratified_split(labels: Labels, share: float, rng: np.random.Generator) -> tuple[Labels, Labels]:
    """Draw a fraction `share` of the rows of each class; return (remaining rows, drawn rows), both ascending.

    The total is rounded by the largest-remainder method. Each class keeps at least one row. Raises DataError if
    nothing would be drawn.
    """
    classes, counts = np.unique(labels, return_counts=True)
    wanted = counts * share
    taken = np.minimum(np.floor(wanted), counts - 1).astype(int)
    left_over = min(round(share * len(labels)), int((counts - 1).sum())) - int(taken.sum())
    order = np.argsort(-(wanted - taken), kind="stable")
    taken[[index for index in order if taken[index] < counts[index] - 1][: max(left_over, 0)]] += 1
    if not taken.sum():
        raise DataError(f"a share of {share} of {len(labels)} examples leaves none to hold out")
    drawn = [
        rng.permutation(np.flatnonzero(labels == label))[:count] for label, count in zip(classes, taken, strict=True)
    ]
    held_out = np.sort(np.concatenate(drawn))
    return np.setdiff1d(np.arange(len(labels)), held_out, assume_unique=True), held_out
