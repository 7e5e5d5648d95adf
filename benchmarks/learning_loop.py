"""The learning loop in figures: an odd way to write a digit, 50 corrections, one job, all of it over HTTP.

    GLYPHSERVE_DATA_DIR=… python -m benchmarks.learning_loop

starts a server with its worker on a fresh home, lets it read sevens as a mirror shows them, sends 50 corrections of
MNIST's training sevens, lets one job of the recipe `corrections` learn, and reads the mirrored sevens of the test set
and all test images again. `--seeds 3` draws other corrections and trains from another seed each time; `--way` and
`--digit` choose another odd way (mirrored, upside_down, lying) and another digit.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.service.conftest import running_server
from tests.service.learning_loop import ODD_WAYS, correct, learn, share_right
from training import Dataset
from training.data import load_dataset

CORRECTIONS = 50


def main() -> None:
    """Print a line a seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--way", choices=ODD_WAYS, default="mirrored")
    parser.add_argument("--digit", type=int, choices=range(10), default=7)
    options = parser.parse_args()
    source = load_dataset("mnist")
    assert source.test
    print(
        "| seed | way | digit | odd ones before | after | MNIST before | after | lost points | sent s | job s | gate |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as home:
            print(loop(source.train, source.test, seed, options.way, options.digit, Path(home) / "home"), flush=True)


def loop(train: Dataset, test: Dataset, seed: int, way: str, digit: int, home: Path) -> str:
    """Go round once; answer the row of the table."""
    write = ODD_WAYS[way]
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(train.labels == digit))[:CORRECTIONS]
    odd = write(test.images[test.labels == digit])
    rights, labels = [str(digit)] * len(odd), [str(label) for label in test.labels]
    with running_server(home) as server:
        before = share_right(server, odd, rights), share_right(server, test.images, labels)
        started = time.perf_counter()
        correct(server, write(train.images[drawn]), str(digit))
        sent = time.perf_counter()
        job = learn(server, seed=seed)
        learned = time.perf_counter()
        after = share_right(server, odd, rights), share_right(server, test.images, labels)
    figures = (
        f"{seed} | {way} | {digit} | {before[0]:.2%} | {after[0]:.2%} | {before[1]:.2%} | {after[1]:.2%}",
        f"{100 * (before[1] - after[1]):.2f} | {sent - started:.1f} | {learned - sent:.1f} | {job['detail']}",
    )
    return f"| {' | '.join(figures)} |"


if __name__ == "__main__":
    main()
