"""The entries of `benchmarks/training.py`: this project, its peers and the floor, each as its users would write it.

Imports stand in the functions, so that a process loads what it measures and nothing else.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

BATCH, STEPS = 128, 469

Layers = tuple[int, ...]


MOST_EPOCHS = 30
"""After so many an accuracy that was not reached counts as out of reach."""


class Contestant(NamedTuple):
    """A network in training."""

    epoch: Callable[[], object]
    """Trains one epoch."""
    predict: Callable[[Any], Any] | None = None
    """Rows → class numbers."""


def examples(part: str = "train") -> tuple[Any, Any]:
    """Give MNIST's images of one part as rows of float32, and their labels."""
    from training.data import load_dataset
    from training.vision.input_spec import InputSpec

    dataset = getattr(load_dataset("mnist"), part)
    return InputSpec().to_features(dataset.images), dataset.labels


def floor(layers: Layers, threads: int, seed: int) -> Contestant:  # noqa: ARG001 -- one type for the table
    """Multiply what an epoch multiplies, and do nothing else."""
    import numpy as np

    rng = np.random.default_rng(seed)
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

    return Contestant(run)


def ours(layers: Layers, threads: int, seed: int) -> Contestant:  # noqa: ARG001 -- one type for the table
    """Train with this project."""
    from training import MLP, FitConfig, MLPConfig, TrainingState, train

    x, y = examples()
    network = MLP(MLPConfig(layers), seed)
    config = FitConfig(epochs=MOST_EPOCHS, batch_size=BATCH, seed=seed)
    epochs = train(TrainingState.start(network, config), (x, y), config)
    return Contestant(lambda: next(epochs), lambda rows: network.predict(rows).argmax(axis=1))


def textbook(layers: Layers, threads: int, seed: int) -> Contestant:  # noqa: ARG001 -- one type for the table
    """Train with the loop that a textbook would write, in NumPy's default float64."""
    import numpy as np

    pixels, labels = examples()
    x, targets = pixels.astype(np.float64), np.eye(10)[labels]
    rng = np.random.default_rng(seed)
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

    def predict(rows: Any) -> Any:
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            rows = np.maximum(rows @ weight + bias, 0)
        return (rows @ weights[-1] + biases[-1]).argmax(axis=1)

    return Contestant(run, predict)


def torch_eager(layers: Layers, threads: int, seed: int, *, compiled: bool = False) -> Contestant:
    """Train with PyTorch: fused Adam, data as one tensor, shuffled by index."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
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

    def predict(rows: Any) -> Any:
        with torch.no_grad():
            return network(torch.from_numpy(rows)).argmax(dim=1).numpy()

    return Contestant(run, predict)


def torch_compiled(layers: Layers, threads: int, seed: int) -> Contestant:
    """Train with PyTorch, the network compiled."""
    return torch_eager(layers, threads, seed, compiled=True)


def jax_scan(layers: Layers, threads: int, seed: int) -> Contestant:  # noqa: ARG001 -- one type for the table
    """Train with JAX: the whole epoch one jitted scan, Adam written out."""
    import jax
    import jax.numpy as jnp

    x, y = (jax.device_put(array) for array in examples())
    keys = jax.random.split(jax.random.key(seed), len(layers))
    shapes = list(itertools.pairwise(layers))
    weights = [jax.random.normal(key, shape) * (2 / shape[0]) ** 0.5 for key, shape in zip(keys, shapes, strict=False)]
    parameters = [(weight, jnp.zeros(weight.shape[1])) for weight in weights]

    def logits(parameters: Any, value: Any) -> Any:
        for weight, bias in parameters[:-1]:
            value = jax.nn.relu(value @ weight + bias)
        return value @ parameters[-1][0] + parameters[-1][1]

    def loss(parameters: Any, rows: Any) -> Any:
        return -jax.nn.log_softmax(logits(parameters, x[rows]))[jnp.arange(BATCH), y[rows]].mean()

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
    shuffles = itertools.count(seed)

    def run() -> None:
        nonlocal state
        state = jax.block_until_ready(epoch(state, jax.random.key(next(shuffles))))

    return Contestant(run, lambda rows: logits(state[0], rows).argmax(axis=1))


def sklearn(layers: Layers, threads: int, seed: int) -> Contestant:  # noqa: ARG001 -- one type for the table
    """Train with scikit-learn's MLPClassifier."""
    from sklearn.neural_network import MLPClassifier

    x, y = examples()
    classes = list(range(10))
    model = MLPClassifier(hidden_layer_sizes=layers[1:-1], batch_size=BATCH, alpha=0, random_state=seed)
    return Contestant(lambda: model.partial_fit(x, y, classes=classes), model.predict)


def keras(layers: Layers, threads: int, seed: int) -> Contestant:  # noqa: ARG001 -- one type for the table
    """Train with Keras 3 on JAX, its fastest backend on a CPU."""
    import keras as k

    x, y = examples()
    k.utils.set_random_seed(seed)
    inner = [k.layers.Dense(size, activation="relu") for size in layers[1:-1]]
    model = k.Sequential([k.layers.Input((784,)), *inner, k.layers.Dense(10)])
    model.compile("adam", k.losses.SparseCategoricalCrossentropy(from_logits=True))
    return Contestant(
        lambda: model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0),
        lambda rows: model.predict(rows, verbose=0).argmax(axis=1),
    )


def sprint(layers: Layers, threads: int, seed: int) -> Contestant:  # noqa: ARG001 -- one type for the table
    """Train with this project's recipe for 98 %, its own network: all its epochs count as one."""
    import numpy as np

    from training import MLP, fit, recipes

    x, y = examples()
    recipe = recipes.get("sprint").replace(seed=seed)
    network = MLP(recipe.network, seed)

    def seen(rows: Any) -> Any:
        return recipe.network.input.to_features(np.rint(rows * 255).astype(np.uint8).reshape(-1, 28, 28))

    features = seen(x)
    return Contestant(
        lambda: fit(network, features, y, recipe.fit), lambda rows: network.predict(seen(rows)).argmax(axis=1)
    )


ENTRIES: dict[str, tuple[Callable[[Layers, int, int], Contestant], str]] = {
    "floor": (floor, "numpy"),
    "ours": (ours, "training"),
    "sprint": (sprint, "training"),
    "textbook": (textbook, "numpy"),
    "jax": (jax_scan, "jax"),
    "torch": (torch_eager, "torch"),
    "torch compiled": (torch_compiled, "torch"),
    "scikit-learn": (sklearn, "sklearn.neural_network"),
    "keras": (keras, "keras"),
}
"""By name: how to make one, and the module whose import is timed."""
