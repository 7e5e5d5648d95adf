"""What a recipe gains from a teacher: the same short training with and without one, judged on what it holds out.

GLYPHSERVE_DATA_DIR=… python -m benchmarks.distillation fast --epochs 15 --try 0.9,1 --try 0.9,2

Each `--try` is a share and a temperature. Held-out examples are read as they are, and four times deformed as the recipe
deforms those that it learns from, which tells more: there are four times as many, and they are harder. The losses are
those at the temperature that is best for each network, as a release gets one. The test examples are not read.
"""

import argparse
import time

import numpy as np

from training import Experiment, Recipe, recipes
from training.cli.blas import reexec_with_faster_core_type
from training.evaluation.calibration import fit_temperature, negative_log_likelihood
from training.nn.mlp import MLP
from training.types import Floats, Labels

TIMES = 4


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--teacher", default="accurate")
    parser.add_argument("--try", dest="tries", action="append", default=[], metavar="SHARE,TEMPERATURE")
    options = parser.parse_args()
    reexec_with_faster_core_type()
    once = {"schedule": "cosine", "schedule_options": {"warm_up": 0.02}}  # a short training has one cycle
    plain = recipes.get(options.recipe).replace(epochs=options.epochs, teachers=(), **once)
    print("| recipe | teacher | held out, wrong | mean loss | deformed, wrong | mean loss | CPU seconds |")
    print("|---|---|---|---|---|---|---|")
    print(row(plain, "none"), flush=True)
    for share, temperature in (map(float, text.split(",")) for text in options.tries):
        taught = plain.replace(teachers=options.teacher, teacher_share=share, teacher_temperature=temperature)
        print(row(taught, f"{options.teacher}, share {share:g}, temperature {temperature:g}"), flush=True)


def row(recipe: Recipe, teacher: str) -> str:
    """Train by a recipe and tell what came of it."""
    experiment, began = Experiment(recipe), time.process_time()
    for _ in experiment.epochs():
        pass
    seconds = time.process_time() - began
    held_out, augment = experiment.splits.validation, recipe.make_augment()
    assert held_out
    assert augment
    x, labels, rng = recipe.network.input.to_features(held_out.images), held_out.labels, np.random.default_rng(7)
    as_they_are = judged(experiment.network, x, labels)
    deformed = np.concatenate([augment(x, rng) for _ in range(TIMES)])
    harder = judged(experiment.network, deformed, np.tile(labels, TIMES))
    return f"| {recipe.name} | {teacher} | {as_they_are} | {harder} | {seconds:.0f} |"


def judged(network: MLP, x: Floats, labels: Labels) -> str:
    """Count what a network misreads, and give its mean loss at the temperature that is best for it."""
    logits = np.concatenate([network.forward(x[start : start + 1000])[0] for start in range(0, len(x), 1000)])
    wrong = np.count_nonzero(logits.argmax(axis=1) != labels)
    return (
        f"{wrong} of {len(labels):,} | {negative_log_likelihood(logits, labels, fit_temperature(logits, labels)):.4f}"
    )


if __name__ == "__main__":
    main()
