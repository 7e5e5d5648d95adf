"""Training beside its peers and the floor, interleaved in one run.

    python benchmarks/training.py [--threads 1] [--network small|large] [--rounds 3] [--only ours,floor,torch]
    python benchmarks/training.py --until 0.98 [--rounds 10]

Everything trains the same network on MNIST's 60,000 images: ReLU, softmax cross-entropy, Adam, batches of 128,
float32. The floor is the matrix products of one epoch alone, with the same shapes. Each entry (see `peers.py`) runs in
a process of its own, one after the other, and the rounds repeat that, so that a machine whose speed drifts hurts all
alike. With `--until` it is the time of training to that accuracy on the test digits, another seed each round, and
beside Adam with its usual settings the recipe made for this. Peers that are not installed are left out:
pip install torch jax scikit-learn keras.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from peers import BATCH, ENTRIES

NETWORKS = {"small": (784, 128, 64, 10), "large": (784, 1024, 1024, 10)}

Figures = list[dict[str, Any]]
"""What `measure_peer.py` printed, a round each."""


def run_entry(name: str, given: argparse.Namespace, seed: int) -> dict[str, Any] | None:
    """Run one entry in a process of its own, on as many cores as it has threads."""
    environment = os.environ | {f"{library}_NUM_THREADS": str(given.threads) for library in ("OPENBLAS", "OMP", "MKL")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    # -P: `training.py` in this folder must not hide the package.
    command = ["taskset", "--cpu-list", ",".join(map(str, range(given.threads))), sys.executable, "-P"]
    command += [str(Path(__file__).with_name("measure_peer.py")), name, "--threads", str(given.threads)]
    command += ["--layers", ",".join(map(str, NETWORKS[given.network])), "--seed", str(seed)]
    command += ["--until", str(given.until)] if given.until else ["--epochs", str(given.epochs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return dict(json.loads(done.stdout.splitlines()[-1]))


def print_epochs(figures: dict[str, Figures]) -> None:
    """Print the table of seconds per epoch."""
    seconds = {name: [value for one in rounds for value in one["seconds"]] for name, rounds in figures.items()}
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print("| | seconds per epoch | min | max | × floor | × ours | import s | peak MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for name, median in sorted(medians.items(), key=lambda item: item[1]):
        ratios = " | ".join(f"{median / medians[base]:.2f}" if base in medians else "" for base in ("floor", "ours"))
        spread = f"{min(seconds[name]):.3f} | {max(seconds[name]):.3f}"
        print(f"| {name} | {median:.3f} | {spread} | {ratios} | {costs(figures[name])} |")


def print_until(figures: dict[str, Figures], wanted: float) -> None:
    """Print the table of seconds to an accuracy."""
    print(f"| | reached {wanted:.1%} | median s | min | max | import s | peak MiB |")
    print("|---|---|---|---|---|---|---|")
    for name, rounds in figures.items():
        reached = [one["until"] for one in rounds if one["until"] is not None]
        spread = f"{statistics.median(reached):.2f} | {min(reached):.2f} | {max(reached):.2f}" if reached else " | | "
        print(f"| {name} | {len(reached)} of {len(rounds)} | {spread} | {costs(rounds)} |")


def costs(rounds: Figures) -> str:
    """Write the medians of what an entry costs beside time: its import beyond NumPy's, and memory."""
    imports, memory = (statistics.median(one[key] for one in rounds) for key in ("import", "mebibytes"))
    return f"{imports:.3f} | {memory:.0f}"


def main() -> None:
    """Interleave the entries over the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="small")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--until", type=float)
    parser.add_argument("--only")
    given = parser.parse_args()
    left_out = {"floor"} if given.until else {"sprint"}
    names = given.only.split(",") if given.only else [name for name in ENTRIES if name not in left_out]
    names = [name for name in names if importlib.util.find_spec(ENTRIES[name][1].partition(".")[0])]
    figures: dict[str, Figures] = {}
    for seed in range(given.rounds):
        for name in names:
            if result := run_entry(name, given, seed):
                figures.setdefault(name, []).append(result)
    layers = "-".join(map(str, NETWORKS[given.network]))
    print(f"{layers}, ReLU, Adam, batch {BATCH}, {given.threads} thread(s), medians of {given.rounds} rounds")
    if given.until:
        print_until(figures, given.until)
    else:
        print_epochs(figures)


if __name__ == "__main__":
    main()
