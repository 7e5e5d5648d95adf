"""How much faster the recipe `nielsen` is than the loop that it comes from, which takes one example at a time.

python -P benchmarks/per_example_loop.py
"""

import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from training import Experiment, recipes


def sigmoid(z: Any) -> Any:
    """Squeeze into (0, 1)."""
    return 1 / (1 + np.exp(-z))


def loop_epoch(x: Any, targets: Any, weights: list[Any], biases: list[Any], rng: np.random.Generator) -> float:
    """Train one epoch example by example, as chapter 1 explains it: columns, outer products, sums over the batch."""
    started = time.perf_counter()
    order = rng.permutation(len(x))
    for start in range(0, len(x), 10):
        weight_sums = [np.zeros_like(weight) for weight in weights]
        bias_sums = [np.zeros_like(bias) for bias in biases]
        for row in order[start : start + 10]:
            values = [x[row][:, None]]
            for weight, bias in zip(weights, biases, strict=True):
                values.append(sigmoid(weight @ values[-1] + bias))
            delta = (values[-1] - targets[row][:, None]) * values[-1] * (1 - values[-1])
            for place in range(len(weights) - 1, -1, -1):
                weight_sums[place] += delta @ values[place].T
                bias_sums[place] += delta
                if place:
                    delta = (weights[place].T @ delta) * values[place] * (1 - values[place])
        for weight, weight_sum, bias, bias_sum in zip(weights, weight_sums, biases, bias_sums, strict=True):
            weight -= 3.0 / 10 * weight_sum
            bias -= 3.0 / 10 * bias_sum
    return time.perf_counter() - started


def main() -> None:
    """Take turns, an epoch each, and print both and their ratio."""
    experiment = Experiment(recipes.get("nielsen").replace(epochs=6))
    train = experiment.splits.train
    x = train.images.reshape(len(train), 784) / 255
    targets, rng = np.eye(10)[train.labels], np.random.default_rng(0)
    weights = [rng.standard_normal(shape) for shape in ((30, 784), (10, 30))]
    biases = [rng.standard_normal((size, 1)) for size in (30, 10)]
    loops, ours = [], []
    for epoch in experiment.epochs():
        ours.append(epoch.seconds)
        if len(loops) < 3:
            loops.append(loop_epoch(x, targets, weights, biases, rng))
    loop, mine = statistics.median(loops), statistics.median(ours)
    print(f"the loop {loop:.2f} s an epoch, ours {mine:.3f} s: {loop / mine:.1f} times faster")


if __name__ == "__main__":
    main()
