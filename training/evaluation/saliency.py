"""Which pixels spoke for an answer, and which against it: gradient × input (Shrikumar et al. 2016).

The gradient of a class's score by a pixel says what more ink there would do; times the ink that is there, it says what
that ink has done. The score is the class's logit, before the output activation: probabilities near 1 hardly move.
"""

from dataclasses import replace

import numpy as np

from training.nn.layers import Dense
from training.nn.mlp import MLP
from training.types import Floats, Labels, Pixels


def input_gradient(network: MLP, x: Floats, classes: Labels) -> Floats:
    """Answer how the score of `classes[i]` changes with each number of row x[i]: the shape of x, (n, layers[0]).

    A network with a single output, for class 1, gives class 0 the opposite score. Like every backward pass this
    overwrites `network.gradients`; what the network answers is not touched, so it may serve meanwhile.
    """
    logits, backward = network.forward(x)
    direction = np.zeros_like(logits)
    rows = np.arange(len(x))
    if logits.shape[1] == 1:
        direction[:, 0] = np.where(classes == 1, 1, -1)
    else:
        direction[rows, classes] = 1
    gradient = backward(direction)
    first = network.layers[0]
    if isinstance(first, Dense) and not first.input_gradient:  # it has stopped in front of its weights
        gradient = gradient @ first.weight.T
    return gradient


def gradient_times_input(network: MLP, glyphs: Pixels, classes: Labels) -> Floats:
    """Map what each pixel of glyphs, uint8 (n, 28, 28), has added to the score of its class: (n, 28, 28).

    Positive pixels spoke for the class, negative ones against it. Pixels beyond the network's own side are 0; those of
    a block share its gradient.
    """
    form, dtype = network.config.input, network.parameters.dtype
    gradient = input_gradient(network, form.features(glyphs).astype(dtype, copy=False), classes)
    single = replace(form, block=1)
    pixels = single.spread(single.features(glyphs).astype(dtype, copy=False))
    return form.spread(gradient / form.block**2) * pixels
