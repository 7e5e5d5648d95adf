"""The learning loop in figures: an odd way to write a digit, 50 corrections, one job, all of it over HTTP.

    GLYPHSERVE_DATA_DIR=… python -m benchmarks.learning_loop

starts a server with its worker on a fresh home, lets it read sevens as a mirror shows them, sends 50 corrections of
MNIST's training sevens, lets one job of the recipe `corrections` learn, and reads the mirrored sevens of the test set
and all test images again. `--seeds 3` draws other corrections and trains from another seed each time.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.service.conftest import running_server
from tests.service.learning_loop import correct, learn, mirrored, share_right
from training import Dataset
from training.data import open_source

CORRECTIONS = 50


def main() -> None:
    """Print a line a seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    source = open_source("mnist")
    assert source.test
    print(
        "| seed | odd sevens before | after | MNIST test before | after | lost points | corrections s | job s | gate |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as home:
            print(loop(source.train, source.test, seed, Path(home) / "home"), flush=True)


def loop(train: Dataset, test: Dataset, seed: int, home: Path) -> str:
    """Go round once; answer the row of the table."""
    sevens = np.flatnonzero(train.labels == 7)
    drawn = np.random.default_rng(seed).permutation(sevens)[:CORRECTIONS]
    odd = mirrored(test.images[test.labels == 7])
    rights, labels = ["7"] * len(odd), [str(label) for label in test.labels]
    with running_server(home) as server:
        before = share_right(server, odd, rights), share_right(server, test.images, labels)
        started = time.perf_counter()
        correct(server, mirrored(train.images[drawn]), "7")
        sent = time.perf_counter()
        job = learn(server, seed=seed)
        learned = time.perf_counter()
        after = share_right(server, odd, rights), share_right(server, test.images, labels)
    figures = (
        f"{seed} | {before[0]:.2%} | {after[0]:.2%} | {before[1]:.2%} | {after[1]:.2%}",
        f"{100 * (before[1] - after[1]):.2f} | {sent - started:.1f} | {learned - sent:.1f} | {job['detail']}",
    )
    return f"| {' | '.join(figures)} |"


if __name__ == "__main__":
    main()
