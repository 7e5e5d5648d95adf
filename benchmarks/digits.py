"""How many of MNIST's 10,000 test digits are misread: by our released models, by scikit-learn, by published networks.

GLYPHSERVE_DATA_DIR=… python -P benchmarks/digits.py [--models models] [--scikit-learn]

Ours are read from their stored files. `--scikit-learn` trains its MLPClassifier (by its defaults, stopping early) in
the shapes of ours, some minutes. What is published is quoted: plain multilayer perceptrons without convolutions.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from training import Dataset, evaluate, load
from training.data import load_dataset

PUBLISHED = (
    ("LeCun et al. 1998", "784-300-100-10", "3.05 %"),
    ("Simard, Steinkraus and Platt 2003, elastic deformations", "784-800-10", "0.7 %"),
    ("Cireşan et al. 2010, deformations, GPU", "784-1000-500-10", "0.49 %"),
    ("Cireşan et al. 2010, deformations, 114 GPU hours", "784-2500-2000-1500-1000-500-10", "0.35 %"),
    ("Srivastava et al. 2014, dropout, no deformations", "784-8192-8192-10", "0.95 %"),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", type=Path, default=Path(__file__).parents[1] / "models")
    parser.add_argument("--scikit-learn", action="store_true", help="train its MLPClassifier, too")
    options = parser.parse_args()
    source = load_dataset("mnist")
    assert source.test
    print("| network | layers | error | parameters | file |\n|---|---|---|---|---|")
    for row in ours(options.models, source.test):
        print(row, flush=True)
    if options.scikit_learn:
        for hidden in ((128, 64), (256, 128)):
            print(scikit_learn(source.train, source.test, hidden), flush=True)
    for who, layers, error in PUBLISHED:
        print(f"| {who} | {layers} | {error} | | |")


def ours(models: Path, test: Dataset) -> Iterator[str]:
    """Give a row for each released model."""
    for weights in sorted(models.glob("*/*/weights.npz")):
        network = load(weights)
        layers = "-".join(map(str, network.config.layers))
        error = 1 - evaluate(network, test).accuracy
        size = f"{len(network.parameters):,} | {weights.stat().st_size / 1e6:.2f} MB"
        name = f"**{weights.parts[-3]}**, version {weights.parts[-2]}"
        yield f"| {name} | {layers} | {error:.2%} | {size} |"


def scikit_learn(train: Dataset, test: Dataset, hidden: tuple[int, ...]) -> str:
    """Train its MLPClassifier and answer its row."""
    from sklearn.neural_network import MLPClassifier

    started = time.perf_counter()
    network = MLPClassifier(hidden, early_stopping=True, random_state=0)
    network.fit(train.images.reshape(len(train), -1) / 255, train.labels)
    error = 1 - network.score(test.images.reshape(len(test), -1) / 255, test.labels)
    layers = "-".join(map(str, (784, *hidden, 10)))
    return f"| scikit-learn `MLPClassifier`, {time.perf_counter() - started:.0f} s | {layers} | {error:.2%} | | |"


if __name__ == "__main__":
    main()
