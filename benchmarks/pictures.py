"""The same digits stored and photographed in many ways: how often the network's answer stays the same.

python -P benchmarks/pictures.py [--digits 1000] [--source mnist] [--lossless] [--foreign] [--weights FILE]

Ways that lose nothing must leave every answer as it is, or the script ends with 1. `exact` counts the glyphs that come
back bit for bit; `right` holds the answers against the labels, `unread` counts what was refused. `--foreign` adds
scikit-learn's digits, written by other people for another scanner, if scikit-learn is there.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.photographed import PHOTOGRAPHED
from benchmarks.stored_ways import LOSSLESS, NEARLY, encoded, larger
from service.errors import ServiceError
from service.inference.images import ImageLimits, decode_glyph
from training import load
from training.data import load_dataset

RELEASES = Path(__file__).parents[1] / "models" / "mnist"
LIMITS = ImageLimits(max_bytes=2**20, max_pixels=4_000_000, max_side=4096)


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--digits", type=int, default=1000, help="how many digits each way stores")
    parser.add_argument("--source", default="mnist", help="mnist (its test images) or starter")
    parser.add_argument("--lossless", action="store_true", help="only the ways that lose nothing")
    parser.add_argument("--foreign", action="store_true", help="read scikit-learn's digits, too")
    parser.add_argument("--weights", type=Path, help="by default the newest release of the model mnist")
    options = parser.parse_args()
    newest = max((folder for folder in RELEASES.iterdir() if folder.name.isdigit()), key=lambda path: int(path.name))
    network = load(options.weights or newest / "weights.npz")

    def answers(glyphs: np.ndarray) -> np.ndarray:
        return np.asarray(network.predict(network.config.input.to_features(glyphs)).argmax(axis=1))

    source = load_dataset(options.source)
    digits = source.test or source.train
    images, labels = digits.images[: options.digits], digits.labels[: options.digits]
    expected = answers(images)
    print(f"{len(images)} digits of {options.source}; read as they are: {np.mean(expected == labels):.2%} right")
    print(f"{'way':40} {'same':>8} {'exact':>8} {'right':>8} {'unread':>6}")
    changed = 0
    for way, store in LOSSLESS.items():
        found, unread = read_all([store(image) for image in images])
        show(way, answers(found), expected, labels, unread, float((found == images).all(axis=(1, 2)).mean()))
        changed += int((answers(found) != expected).sum())
    print(f"{len(LOSSLESS)} ways that lose nothing: {changed} of {len(LOSSLESS) * len(images)} answers changed")
    if not options.lossless:
        for way, store in NEARLY.items():
            found, unread = read_all([store(image) for image in images])
            show(way, answers(found), expected, labels, unread)
        for way, take in PHOTOGRAPHED.items():
            found, unread = read_all([take(image, np.random.default_rng(n)) for n, image in enumerate(images)])
            show(way, answers(found), expected, labels, unread)
    if options.foreign:
        foreign(answers)
    return 1 if changed else 0


def read_all(files: Sequence[bytes]) -> tuple[np.ndarray, int]:
    """Read files as the service does; a glyph of zeros stands for what was refused."""
    glyphs, unread = np.zeros((len(files), 28, 28), np.uint8), 0
    for place, file in enumerate(files):
        try:
            glyphs[place] = decode_glyph(file, LIMITS)
        except ServiceError:
            unread += 1
    return glyphs, unread


def show(
    way: str, found: np.ndarray, expected: np.ndarray, labels: np.ndarray, unread: int, exact: float | None = None
) -> None:
    """Print one row."""
    bit_for_bit = "" if exact is None else f"{exact:.2%}"
    same, right = np.mean(found == expected), np.mean(found == labels)
    print(f"{way:40} {same:8.2%} {bit_for_bit:>8} {right:8.2%} {unread:6}", flush=True)


def foreign(answers: Callable[[np.ndarray], np.ndarray]) -> None:
    """Read scikit-learn's 1,797 digits of 8×8 pixels, enlarged in two ways."""
    from sklearn.datasets import load_digits

    found = load_digits()
    small = np.rint(found.images * (255 / 16)).astype(np.uint8)
    for way, files in {
        "8×8 as they are": [encoded(np.pad(image, 1)) for image in small],
        "8×8, each pixel a block of 10": [encoded(larger(np.pad(image, 1), 10)) for image in small],
    }.items():
        glyphs, unread = read_all(files)
        right = np.mean(answers(glyphs) == found.target)
        print(f"scikit-learn's digits, {way}: {right:.2%} of {len(files)} right, {unread} unread")


if __name__ == "__main__":
    sys.exit(main())
