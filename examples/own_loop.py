"""An own training loop: forward pass, loss gradient, backward pass and update, with a network of the library."""

import numpy as np

from training import MLP, MLPConfig, data

EPOCHS, BATCH_SIZE, LEARNING_RATE, MOMENTUM = 6, 64, 0.05, 0.9


def main() -> float:
    """Train by gradient descent with momentum on 4,000 digits and print the accuracy on 1,000 others."""
    digits = data.load_dataset("starter").train
    network = MLP(MLPConfig(layers=(784, 64, 10), dropout=0.1))
    x, labels = network.config.input.to_features(digits.images), digits.labels
    one_hot = np.eye(10, dtype=np.float32)[labels]

    rng = np.random.default_rng(0)
    velocity = np.zeros_like(network.parameters)  # all weights and biases are one vector
    for epoch in range(1, EPOCHS + 1):
        order = rng.permutation(4000)
        for start in range(0, 4000, BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            logits, backward = network.forward(x[rows], rng)  # training mode, because of the generator
            probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
            probabilities /= probabilities.sum(axis=1, keepdims=True)
            backward((probabilities - one_hot[rows]) / len(rows))  # writes network.gradients
            velocity *= MOMENTUM
            velocity += network.gradients
            network.parameters -= LEARNING_RATE * velocity
        print(f"epoch {epoch}: accuracy {network.score(x[4000:], labels[4000:]):.2%}")
    return network.score(x[4000:], labels[4000:])


if __name__ == "__main__":
    main()
