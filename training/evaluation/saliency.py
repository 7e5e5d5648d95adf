"""Per-pixel attribution, gradient × input, for one class of each image (Shrikumar et al. 2016).

The gradient is that of the class's logit: probabilities near 1 saturate.
"""

from copy import copy
from dataclasses import replace

import numpy as np

from training.nn.layers import forward_through
from training.nn.mlp import MLP
from training.types import Floats, Labels, Pixels


def input_gradient(network: MLP, x: Floats, classes: Labels) -> Floats:
    """Return the gradient of the logit of `classes[i]` with respect to row x[i], shape (n, layers[0]).

    In a network with a single output, class 0 has the negative logit of class 1. Like every backward pass this
    overwrites `network.gradients`; it is safe while other threads predict.
    """
    first = copy(network.layers[0])  # shares its arrays; in a network it does not compute its input gradient
    first.needs_input_gradient = True
    logits, backward = forward_through([first, *network.layers[1:]], x)
    direction = np.zeros_like(logits)
    rows = np.arange(len(x))
    if logits.shape[1] == 1:
        direction[:, 0] = np.where(classes == 1, 1, -1)
    else:
        direction[rows, classes] = 1
    return backward(direction)


def gradient_times_input(network: MLP, glyphs: Pixels, classes: Labels) -> Floats:
    """Return the contribution of each pixel of glyphs, uint8 (n, 28, 28), to the logit of its class: (n, 28, 28).

    Positive values support the class. Pixels outside the network's crop are 0; those of a block share its gradient.
    """
    form, dtype = network.config.input, network.parameters.dtype
    gradient = input_gradient(network, form.to_features(glyphs).astype(dtype, copy=False), classes)
    single = replace(form, block=1)
    pixels = single.to_image(single.to_features(glyphs).astype(dtype, copy=False))
    return form.to_image(gradient / form.block**2) * pixels
