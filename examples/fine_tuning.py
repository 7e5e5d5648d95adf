"""Fine-tuning: a trained network learns mirrored digits and keeps what it knows."""

import tempfile
from pathlib import Path

import numpy as np

from training import MLP, MLPConfig, data, load, print_line, save


def main() -> tuple[float, float]:
    """Train, save, load, fine-tune on 1,000 mirrored digits, and print both accuracies before and after."""
    digits = data.load_dataset("starter").train
    network = MLP(MLPConfig(layers=(784, 64, 10)))
    x, mirrored = (network.config.input.to_features(images) for images in (digits.images, digits.images[:, :, ::-1]))
    y = digits.labels
    network.fit(x[:4000], y[:4000], epochs=6, callbacks=print_line)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.npz"
        save(network, path)
        tuned = load(path)
    new, old = slice(0, 1000), slice(1000, 3000)  # old examples, too, or the network forgets them
    tuned.fit(
        np.concatenate([mirrored[new], x[old]]),
        np.concatenate([y[new], y[old]]),
        epochs=10,
        learning_rate=0.002,
    )

    held_out = slice(4000, None)
    for name, rows in (("upright", x), ("mirrored", mirrored)):
        before, after = (each.score(rows[held_out], y[held_out]) for each in (network, tuned))
        print(f"{name}: {before:.2%} before, {after:.2%} after")
    return tuned.score(x[held_out], y[held_out]), tuned.score(mirrored[held_out], y[held_out])


if __name__ == "__main__":
    main()
