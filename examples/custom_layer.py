"""Layers of your own: 2D convolution and max pooling, as two classes and two table entries.

A network with them is trained, saved and loaded like any other. `MLPConfig.stem` names them with their options.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from training import MLP, MLPConfig, data, print_line
from training.nn.activations import Backward
from training.nn.layers import LAYERS, Layer, Shape
from training.types import Floats


class Conv2D(Layer):
    """Convolution of images (height, width, channels) with `filters` square kernels, without padding (LeCun 1989).

    Each patch of the image is a row of a matrix, so that the convolution is one matrix product (im2col).
    """

    def __init__(self, input_shape: Shape, filters: int, kernel_size: int) -> None:
        """Set the number and the size of the kernels. Raises ValueError for kernels larger than the image."""
        height, width, self.channels = input_shape
        if not 1 <= kernel_size <= min(height, width) or filters < 1:
            raise ValueError(f"{filters} kernels of size {kernel_size} do not fit images of {height}×{width}")
        self.kernel_size = kernel_size
        super().__init__(input_shape, (height - kernel_size + 1, width - kernel_size + 1, filters))

    def parameter_shapes(self) -> dict[str, Shape]:
        """Return the shapes of the kernels, one per column, and of their biases."""
        filters = self.output_shape[2]
        return {"weight": (self.kernel_size**2 * self.channels, filters), "bias": (filters,)}

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:  # noqa: ARG002
        """Return (y, backward)."""
        size, (out_height, out_width, filters) = self.kernel_size, self.output_shape
        weight, images = self.parameters["weight"], x.reshape(-1, *self.input_shape)
        windows = sliding_window_view(images, (size, size), axis=(1, 2))  # (n, rows, columns, channels, size, size)
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, len(weight))
        y = patches @ weight + self.parameters["bias"]

        def backward(dy: Floats) -> Floats:
            rows = dy.reshape(-1, filters)
            np.matmul(patches.T, rows, out=self.gradients["weight"])
            np.sum(rows, axis=0, out=self.gradients["bias"])
            if not self.needs_input_gradient:
                return dy
            d_patches = (rows @ weight.T).reshape(len(x), out_height, out_width, size, size, self.channels)
            dx = np.zeros_like(images)
            for i in range(size):
                for j in range(size):
                    dx[:, i : i + out_height, j : j + out_width] += d_patches[:, :, :, i, j]
            return dx.reshape(len(x), -1)

        return y.reshape(len(x), -1), backward


class MaxPool2D(Layer):
    """The maximum of each `size`×`size` block of images (height, width, channels)."""

    def __init__(self, input_shape: Shape, size: int) -> None:
        """Set the size of the blocks. Raises ValueError if they do not divide the image."""
        height, width, channels = input_shape
        if size < 1 or height % size or width % size:
            raise ValueError(f"blocks of {size} do not divide images of {height}×{width}")
        self.size = size
        super().__init__(input_shape, (height // size, width // size, channels))

    def forward(self, x: Floats, rng: np.random.Generator | None = None) -> tuple[Floats, Backward]:  # noqa: ARG002
        """Return (y, backward)."""
        (rows, columns, channels), size = self.output_shape, self.size
        blocks = x.reshape(len(x), rows, size, columns, size, channels).transpose(0, 1, 3, 5, 2, 4)
        blocks = blocks.reshape(len(x), rows, columns, channels, size * size)
        index = blocks.argmax(axis=-1)[..., np.newaxis]

        def backward(dy: Floats) -> Floats:
            dx = np.zeros_like(blocks)
            np.put_along_axis(dx, index, dy.reshape(index.shape), axis=-1)
            dx = dx.reshape(len(x), rows, columns, channels, size, size).transpose(0, 1, 4, 2, 5, 3)
            return dx.reshape(len(x), -1)

        return np.take_along_axis(blocks, index, axis=-1).reshape(len(x), -1), backward


def main() -> float:
    """Train a small convolutional network on 4,000 digits and return the accuracy on 1,000 others."""
    LAYERS.update(conv2d=Conv2D, max_pool2d=MaxPool2D)
    digits = data.load_dataset("starter").train
    stem = (("conv2d", 4, 5), ("activation", "relu"), ("max_pool2d", 2))
    network = MLP(MLPConfig(layers=(784, 32, 10), stem=stem))
    x, labels = network.config.input.to_features(digits.images), digits.labels
    network.summary()
    network.fit(x[:4000], labels[:4000], epochs=3, batch_size=64, learning_rate=0.003, callbacks=[print_line])
    return network.score(x[4000:], labels[4000:])


if __name__ == "__main__":
    print(f"accuracy {main():.2%}")
