"""Measure one entry of `peers.py` in this process; `benchmarks/training.py` starts it.

    python -P benchmarks/measure_peer.py ours [--layers 784,128,64,10] [--threads 1] [--epochs 3] [--until 0.98]

Prints one JSON object: the seconds of each epoch after one to warm up, or with `--until` the seconds of training from
the first step, compilation included, until that share of MNIST's test digits is read rightly (looked at after each
epoch); the seconds of the import beyond NumPy's; the peak memory.
"""

import argparse
import importlib
import json
import os
import resource
import time
from collections.abc import Callable
from typing import Any

from benchmarks.peers import ENTRIES, MOST_EPOCHS, Contestant, examples


def seconds_of(run: Callable[[], object]) -> float:
    """Run and answer how long it took."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def seconds_until(wanted: float, contestant: Contestant) -> float | None:
    """Train until the test digits are read well enough; None when that does not happen within MOST_EPOCHS."""
    x, labels = examples("test")
    seconds = 0.0
    for _ in range(MOST_EPOCHS):
        seconds += seconds_of(contestant.epoch)
        if contestant.predict and float((contestant.predict(x) == labels).mean()) >= wanted:
            return seconds
    return None


def main() -> None:
    """Measure one entry and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=ENTRIES)
    parser.add_argument("--layers", default="784,128,64,10")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--until", type=float)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    make, module = ENTRIES[given.name]
    os.environ["KERAS_BACKEND"] = "jax"  # its fastest on a CPU
    importlib.import_module("numpy")
    figures: dict[str, Any] = {"import": seconds_of(lambda: importlib.import_module(module))}
    contestant = make(tuple(map(int, given.layers.split(","))), given.threads, given.seed)
    if given.until:
        figures["until"] = seconds_until(given.until, contestant)
    else:
        contestant.epoch()
        figures["seconds"] = [seconds_of(contestant.epoch) for _ in range(given.epochs)]
    figures["mebibytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
