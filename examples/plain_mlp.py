"""A multilayer perceptron in plain NumPy: 784-128-64-10 with ReLU, softmax, cross-entropy and Adam.

`training` computes the same with the same settings; tests/training/test_examples.py compares the weights of both.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np

LAYERS = (784, 128, 64, 10)
BATCH_SIZE, LEARNING_RATE = 128, 0.001
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def initialize(rng):
    """Return [weight, bias] of each layer: weights from N(0, 2 / fan_in) (He et al. 2015), biases of zero."""
    weights = [rng.normal(0, np.sqrt(2 / fan_in), (fan_in, fan_out)) for fan_in, fan_out in pairwise(LAYERS)]
    return [[weight, np.zeros(weight.shape[1])] for weight in weights]


def forward(parameters, x):
    """Return the activations of all layers, from the input x (n, 784) to the probabilities (n, 10)."""
    activations = [x]
    for weight, bias in parameters[:-1]:
        activations.append(np.maximum(activations[-1] @ weight + bias, 0))
    weight, bias = parameters[-1]
    logits = activations[-1] @ weight + bias
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))  # the shift prevents overflow
    return [*activations, exp / exp.sum(axis=1, keepdims=True)]


def backward(parameters, activations, labels):
    """Return the gradients of the mean cross-entropy, in the shape of the parameters."""
    delta = (activations[-1] - np.eye(LAYERS[-1])[labels]) / len(labels)  # gradient by the logits
    gradients = []
    for (weight, _), inputs in zip(reversed(parameters), reversed(activations[:-1]), strict=True):
        gradients.insert(0, [inputs.T @ delta, delta.sum(axis=0)])
        delta = (delta @ weight.T) * (inputs > 0)  # through the weights and the ReLU below
    return gradients


def adam(parameters, gradients, moments, step):
    """Update the parameters and the two moments in place (Kingma and Ba 2015)."""
    for layer, layer_gradients, layer_moments in zip(parameters, gradients, moments, strict=True):
        for parameter, gradient, (first, second) in zip(layer, layer_gradients, layer_moments, strict=True):
            first += (1 - BETA1) * (gradient - first)
            second += (1 - BETA2) * (gradient**2 - second)
            rate = LEARNING_RATE / (1 - BETA1**step)
            parameter -= rate * first / (np.sqrt(second / (1 - BETA2**step)) + EPSILON)


def train(x, labels, epochs, weights_rng, order_rng):
    """Return the parameters after minibatch training on rows x (n, 784) and their labels (n,)."""
    parameters = initialize(weights_rng)
    moments = [[np.zeros((2, *parameter.shape)) for parameter in layer] for layer in parameters]
    step = 0
    for _ in range(epochs):
        order = order_rng.permutation(len(x))
        for start in range(0, len(x), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            step += 1
            adam(parameters, backward(parameters, forward(parameters, x[rows]), labels[rows]), moments, step)
    return parameters


def main():
    """Train on 4,000 digits and print the accuracy on 1,000 others."""
    digits = np.load(Path(__file__).parents[1] / "training" / "data" / "starter.npz")
    x, labels = digits["images"].reshape(-1, 784) / 255, digits["labels"]
    parameters = train(x[:4000], labels[:4000], 10, np.random.default_rng(0), np.random.default_rng(1))
    accuracy = float(np.mean(forward(parameters, x[4000:])[-1].argmax(axis=1) == labels[4000:]))
    print(f"{accuracy:.2%} of 1,000 test digits are classified correctly")
    return accuracy


if __name__ == "__main__":
    main()
