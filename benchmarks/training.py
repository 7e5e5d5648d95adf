"""Seconds per epoch of `training` beside its peers and the floor, interleaved in one run.

    python benchmarks/training.py [--threads 1] [--network small|large] [--rounds 3] [--only ours,floor,torch]

Everything trains the same network on MNIST's 60,000 images: ReLU, softmax cross-entropy, Adam, batches of 128,
float32. The floor is the matrix products of one epoch alone, with the same shapes. Each entry runs in a process of its
own, one after the other, and the rounds repeat that, so that a machine whose speed drifts hurts all alike. Peers that
are not installed are left out: pip install torch jax scikit-learn keras.
"""

import argparse
import importlib.util
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NETWORKS = {"small": (784, 128, 64, 10), "large": (784, 1024, 1024, 10)}
BATCH, STEPS = 128, 469

Layers = tuple[int, ...]
Epoch = Callable[[], float]
"""Trains one epoch and answers its seconds."""


def examples() -> tuple[Any, Any]:
    """Give MNIST's training images as rows of float32, and their labels."""
    from training.data import open_source
    from training.preprocess import InputForm

    train = open_source("mnist").train
    return InputForm().features(train.images), train.labels


def timed(run: Callable[[], object]) -> Epoch:
    """Make a function that runs and answers how long it took."""

    def epoch() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    return epoch


def floor(layers: Layers, threads: int) -> Epoch:  # noqa: ARG001 -- one type for the table
    """Multiply what an epoch multiplies, and do nothing else."""
    import numpy as np

    rng = np.random.default_rng(0)
    activations = [rng.standard_normal((BATCH, size), dtype=np.float32) for size in layers]
    weights = [rng.standard_normal(shape, dtype=np.float32) for shape in itertools.pairwise(layers)]
    gradients = [np.empty_like(weight) for weight in weights]

    def run() -> None:
        for _ in range(STEPS):
            for place, weight in enumerate(weights):
                np.matmul(activations[place], weight, out=activations[place + 1])
            for place in range(len(weights) - 1, -1, -1):
                np.matmul(activations[place].T, activations[place + 1], out=gradients[place])
                if place:
                    np.matmul(activations[place + 1], weights[place].T, out=activations[place])

    return timed(run)


def ours(layers: Layers, threads: int) -> Epoch:  # noqa: ARG001 -- one type for the table
    """Train with this project's `fit`."""
    from training import MLP, FitConfig, MLPConfig, fit

    x, y = examples()
    network = MLP(MLPConfig(layers), 0)
    return lambda: fit(network, x, y, FitConfig(epochs=1, batch_size=BATCH))[0].seconds


def textbook(layers: Layers, threads: int) -> Epoch:  # noqa: ARG001 -- one type for the table
    """Train with the loop that a textbook would write, in NumPy's default float64."""
    import numpy as np

    pixels, labels = examples()
    x, targets = pixels.astype(np.float64), np.eye(10)[labels]
    rng = np.random.default_rng(0)
    shapes = list(itertools.pairwise(layers))
    weights = [rng.normal(0, np.sqrt(2 / shape[0]), shape) for shape in shapes]
    biases = [np.zeros(shape[1]) for shape in shapes]
    moments = [[np.zeros_like(p), np.zeros_like(p)] for p in weights + biases]
    count = 0

    def run() -> None:
        nonlocal count
        order = rng.permutation(len(x))
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            values = [x[rows]]
            for place, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
                z = values[-1] @ weight + bias
                values.append(np.maximum(z, 0) if place < len(weights) - 1 else z)
            exponentials = np.exp(values[-1] - values[-1].max(axis=1, keepdims=True))
            delta = (exponentials / exponentials.sum(axis=1, keepdims=True) - targets[rows]) / len(rows)
            weight_gradients: list[Any] = []
            bias_gradients: list[Any] = []
            for place in range(len(weights) - 1, -1, -1):
                weight_gradients.insert(0, values[place].T @ delta)
                bias_gradients.insert(0, delta.sum(axis=0))
                if place:
                    delta = (delta @ weights[place].T) * (values[place] > 0)
            count += 1
            gradients = weight_gradients + bias_gradients
            for parameter, gradient, moment in zip(weights + biases, gradients, moments, strict=True):
                moment[0] = 0.9 * moment[0] + 0.1 * gradient
                moment[1] = 0.999 * moment[1] + 0.001 * gradient**2
                corrected = moment[0] / (1 - 0.9**count), moment[1] / (1 - 0.999**count)
                parameter -= 0.001 * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)

    return timed(run)


def torch_eager(layers: Layers, threads: int, *, compiled: bool = False) -> Epoch:
    """Train with PyTorch: fused Adam, data as one tensor, shuffled by index."""
    import torch

    torch.set_num_threads(threads)
    x, y = (torch.from_numpy(array) for array in examples())
    modules: list[Any] = []
    for fan_in, fan_out in itertools.pairwise(layers):
        modules += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    network: Any = torch.nn.Sequential(*modules[:-1])
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    forward = torch.compile(network) if compiled else network

    def run() -> None:
        order = torch.randperm(len(x))
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(forward(x[rows]), y[rows]).backward()
            optimizer.step()

    return timed(run)


def torch_compiled(layers: Layers, threads: int) -> Epoch:
    """Train with PyTorch, the network compiled."""
    return torch_eager(layers, threads, compiled=True)


def jax_scan(layers: Layers, threads: int) -> Epoch:  # noqa: ARG001 -- threads are limited from outside
    """Train with JAX: the whole epoch one jitted scan, Adam written out."""
    import jax
    import jax.numpy as jnp

    x, y = (jax.device_put(array) for array in examples())
    keys = jax.random.split(jax.random.key(0), len(layers))
    shapes = list(itertools.pairwise(layers))
    weights = [jax.random.normal(key, shape) * (2 / shape[0]) ** 0.5 for key, shape in zip(keys, shapes, strict=False)]
    parameters = [(weight, jnp.zeros(weight.shape[1])) for weight in weights]

    def loss(parameters: Any, rows: Any) -> Any:
        value = x[rows]
        for weight, bias in parameters[:-1]:
            value = jax.nn.relu(value @ weight + bias)
        logits = value @ parameters[-1][0] + parameters[-1][1]
        return -jax.nn.log_softmax(logits)[jnp.arange(BATCH), y[rows]].mean()

    def step(state: Any, rows: Any) -> Any:
        parameters, first, second, count = state
        gradients = jax.grad(loss)(parameters, rows)
        count += 1
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)

        def moved(p: Any, m: Any, v: Any) -> Any:
            return p - 0.001 * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8)

        return (jax.tree.map(moved, parameters, first, second), first, second, count), None

    @jax.jit
    def epoch(state: Any, key: Any) -> Any:
        order = jax.random.permutation(key, len(x))
        rows = jnp.concatenate([order, order[: STEPS * BATCH - len(x)]]).reshape(STEPS, BATCH)
        return jax.lax.scan(step, state, rows)[0]

    zeros = jax.tree.map(jnp.zeros_like, parameters)
    state: Any = (parameters, zeros, zeros, 0.0)

    def run() -> None:
        nonlocal state
        state = jax.block_until_ready(epoch(state, jax.random.key(1)))

    return timed(run)


def sklearn(layers: Layers, threads: int) -> Epoch:  # noqa: ARG001 -- threads are limited from outside
    """Train with scikit-learn's MLPClassifier."""
    from sklearn.neural_network import MLPClassifier

    x, y = examples()
    classes = list(range(10))
    model = MLPClassifier(hidden_layer_sizes=layers[1:-1], batch_size=BATCH, alpha=0)
    return timed(lambda: model.partial_fit(x, y, classes=classes))


def keras(layers: Layers, threads: int) -> Epoch:  # noqa: ARG001 -- threads are limited from outside
    """Train with Keras 3 on JAX, its fastest backend on a CPU."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras as k

    x, y = examples()
    inner = [k.layers.Dense(size, activation="relu") for size in layers[1:-1]]
    model = k.Sequential([k.layers.Input((784,)), *inner, k.layers.Dense(10)])
    model.compile("adam", k.losses.SparseCategoricalCrossentropy(from_logits=True))
    return timed(lambda: model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0))


ENTRIES: dict[str, tuple[Callable[[Layers, int], Epoch], str]] = {
    "floor": (floor, "numpy"),
    "ours": (ours, "numpy"),
    "textbook": (textbook, "numpy"),
    "jax": (jax_scan, "jax"),
    "torch": (torch_eager, "torch"),
    "torch compiled": (torch_compiled, "torch"),
    "scikit-learn": (sklearn, "sklearn"),
    "keras": (keras, "keras"),
}


def measure(name: str, layers: Layers, threads: int, epochs: int) -> None:
    """Run one entry in this process: an epoch to warm up, then the measured ones; print JSON."""
    epoch = ENTRIES[name][0](layers, threads)
    epoch()
    seconds = [epoch() for _ in range(epochs)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"seconds": seconds, "mebibytes": memory}))


def run_entry(name: str, network: str, threads: int, epochs: int) -> dict[str, Any] | None:
    """Run one entry in a process of its own, on as many cores as it has threads."""
    environment = os.environ | {f"{library}_NUM_THREADS": str(threads) for library in ("OPENBLAS", "OMP", "MKL")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    # -P: this file's own name must not hide the package.
    cores = ",".join(map(str, range(threads)))
    command = ["taskset", "--cpu-list", cores, sys.executable, "-P", __file__, "--entry", name, "--network", network]
    command += ["--threads", str(threads), "--epochs", str(epochs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Interleave the entries over the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="small")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--only", default=",".join(ENTRIES))
    parser.add_argument("--entry", help=argparse.SUPPRESS)
    given = parser.parse_args()
    layers = NETWORKS[given.network]
    if given.entry:
        measure(given.entry, layers, given.threads, given.epochs)
        return
    names = [name for name in given.only.split(",") if importlib.util.find_spec(ENTRIES[name][1])]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    memory: dict[str, int] = {}
    for _ in range(given.rounds):
        for name in names:
            if result := run_entry(name, given.network, given.threads, given.epochs):
                seconds[name] += result["seconds"]
                memory[name] = result["mebibytes"]
    medians = {name: statistics.median(values) for name, values in seconds.items() if values}
    print(f"{'-'.join(map(str, layers))}, Adam, batch {BATCH}, {given.threads} thread(s), seconds per epoch")
    print("| | median | min | max | × floor | × ours | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    for name, median in sorted(medians.items(), key=lambda item: item[1]):
        spread = f"{min(seconds[name]):.3f} | {max(seconds[name]):.3f}"
        ratios = f"{median / medians['floor']:.2f} | {median / medians['ours']:.2f}"
        print(f"| {name} | {median:.3f} | {spread} | {ratios} | {memory[name]} |")


if __name__ == "__main__":
    main()
