"""The network: activations, initial weights, layers, losses, and the multilayer perceptron made of them."""
