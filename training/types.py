"""Array types used in all modules."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
"""float32 or float64; functions return the type of their input."""

Labels = NDArray[np.integer[Any]]
"""Class numbers 0 … k−1, one for each example, shape (n,)."""

Targets = NDArray[Any]
"""Class numbers (n,), or numbers (n, k)."""

Pixels = NDArray[np.uint8]
"""Gray values 0 (background) … 255 (ink), shape (n, height, width)."""
