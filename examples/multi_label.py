"""Multi-label classification: each digit has several labels at once, with one sigmoid output for each."""

import numpy as np

from training import MLP, MLPConfig, data

LABELS = {"even": (0, 2, 4, 6, 8), "prime": (2, 3, 5, 7), "has a loop": (0, 6, 8, 9)}


def main() -> float:
    """Train on 4,000 digits and print the share of the labels of 1,000 others that are right."""
    digits = data.load_dataset("starter").train
    y = np.stack([np.isin(digits.labels, members) for members in LABELS.values()], axis=1)  # (5000, 3)

    network = MLP(MLPConfig(layers=(784, 64, 3), output="sigmoid"))
    x = network.config.input.to_features(digits.images)
    network.fit(x[:4000], y[:4000], loss="binary_cross_entropy", epochs=8, learning_rate=0.002)

    right = (network.predict(x[4000:]) > 0.5) == y[4000:]
    for label, share in zip(LABELS, right.mean(axis=0), strict=True):
        print(f"{label}: {share:.2%} right")
    return network.score(x[4000:], y[4000:])


if __name__ == "__main__":
    main()
