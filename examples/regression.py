"""Regression: a network with a linear output learns a curve from noisy points."""

import numpy as np

from training import MLP, MLPConfig


def main() -> float:
    """Fit sin(2x) and print R² on points without noise."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (400, 1))
    y = np.sin(2 * x) + rng.normal(0, 0.1, x.shape)

    network = MLP(MLPConfig(layers=(1, 32, 32, 1), activation="tanh", output="linear", initializer="glorot"))
    history = network.fit(
        x,
        y,
        loss="mean_squared_error",
        epochs=150,
        batch_size=40,
        learning_rate=0.01,
        schedule="cosine",
        validation_share=0.2,
        patience=50,
        keep_best=True,
    )

    grid = np.linspace(-2, 2, 101)[:, np.newaxis]
    r2 = network.score(grid, np.sin(2 * grid))
    print(f"{len(history)} epochs, loss {history[-1].train.loss:.4f}, R² {r2:.4f}")
    return r2


if __name__ == "__main__":
    main()
