"""From a network's probabilities to the answers that clients read."""

from typing import Any

import numpy as np

from training.types import Floats


def predictions(probabilities: Floats, labels: tuple[str, ...], top_k: int | None = None) -> list[dict[str, Any]]:
    """Write rows of probabilities (n, classes) as label, confidence, and the probabilities by label, highest first."""
    orders = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k].tolist()
    return [
        {
            "label": labels[order[0]],
            "confidence": values[order[0]],
            "probabilities": {labels[place]: values[place] for place in order},
        }
        for order, values in zip(orders, probabilities.tolist(), strict=True)
    ]
