"""The array types that the other rooms speak of."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
"""float32 or float64; what comes out has the type of what went in."""

Labels = NDArray[np.integer[Any]]
"""Class numbers 0 … k−1, one for each example, shape (n,)."""

Targets = NDArray[Any]
"""What is to be learned: class numbers (n,), or numbers (n, k)."""

Pixels = NDArray[np.uint8]
"""Gray values 0 (paper) … 255 (ink), shape (n, height, width)."""
