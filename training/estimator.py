"""The methods that MLP shares with scikit-learn's estimators and Keras's models.

`MLP` takes these functions as its methods. They import what they call when they are called, since training and
evaluation import the network.
"""

from __future__ import annotations

import math
import sys
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

if TYPE_CHECKING:
    from training.fit.config import FitConfig
    from training.fit.history import History
    from training.nn.mlp import MLP


def fit(self: MLP, x: Any, y: Any, config: FitConfig | None = None, **options: Any) -> History:
    """Train on examples and return the history; `training.fit` explains the arguments."""
    from training.fit.loop import fit

    return fit(self, x, y, config, **options)


def predict_classes(self: MLP, x: Any) -> np.ndarray:
    """Return the most probable label of each row, an entry of `classes_`; shape (n,)."""
    from training.evaluation.evaluate import predicted_classes

    return np.asarray(self.classes_[predicted_classes(self, x)])


def score(self: MLP, x: Any, y: Any) -> float:
    """Return the accuracy where y has labels, R² where it has numbers; see `training.evaluation.score`."""
    from training.evaluation.evaluate import score

    return score(self, x, y)


def summary(self: MLP) -> None:
    """Print a line for each layer: its output shape, the shapes of its arrays, and how many parameters it trains."""
    rows = [("layer", "output", "arrays", "parameters")]
    for index, layer in enumerate(self.layers):
        arrays = layer.state_dict()
        shapes = ", ".join(f"{name} {'×'.join(map(str, array.shape))}" for name, array in arrays.items())
        trained = sum(array.size for array in arrays.values() if np.may_share_memory(array, self.parameters))
        rows.append(
            (f"{index} {type(layer).__name__}", f"(n, {math.prod(layer.output_shape)})", shapes, f"{trained:,}")
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for *cells, trained_count in rows:
        left = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
        sys.stdout.write("  ".join([*left, trained_count.rjust(widths[-1])]) + "\n")
    vector = self.parameters
    sys.stdout.write(f"{len(vector):,} parameters, {vector.dtype}, {vector.nbytes / 1024:,.0f} KiB\n")


def represent(self: MLP) -> str:
    """Return the layers and activations, and other settings that differ from the defaults."""
    config, always = self.config, ("layers", "activation", "output")
    default = type(config)(config.layers)
    names = [f.name for f in fields(config)]
    shown = [name for name in names if name in always or getattr(config, name) != getattr(default, name)]
    settings = ", ".join(f"{name}={getattr(config, name)!r}" for name in shown)
    return f"MLP({settings}, parameters={len(self.parameters)})"


def refuse_clone(self: MLP) -> NoReturn:  # noqa: ARG001 -- a method
    """Tell users of `sklearn.base.clone` what to write instead."""
    raise TypeError(
        "an MLP is a network, not a scikit-learn estimator: use MLPClassifier(…) from training in pipelines and "
        "searches, copy.deepcopy(network) for a copy with its weights, and MLP(network.config) for an untrained one"
    )
