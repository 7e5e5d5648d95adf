"""Every byte of a weights file flipped three ways, every truncation, and made-up files (R3).

    python -m benchmarks.damaged_weights

Each damaged file is read in three ways: by `training.load`, which has nothing but the file (not the made-up ones: some
are whole networks for other labels); as a version whose manifest was written for the damaged file, as somebody would
who makes files up; and in the place of the good file of a version that was promoted while another one serves. Each must
be refused, or be the very network that was saved, bit for bit; and the version that serves must answer as before, bit
for bit, after each.
"""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np

from service.errors import CorruptModel
from service.registry.manifest import Manifest, load_verified
from service.registry.registry import Registry
from service.registry.store import open_store
from service.serving.predictor import Predictor
from tests.service.crafted_weights import LABELS, crafted, small_network
from training import MLP, WeightsError, load
from training.export.npz import to_bytes
from training.types import Floats, Pixels

GOOD = small_network()
GLYPHS: Pixels = np.random.default_rng(0).integers(0, 256, (8, 28, 28), np.uint8)
FLIPS = {"lowest bit": 0x01, "highest bit": 0x80, "all bits": 0xFF}


def damaged(good: bytes) -> Iterator[tuple[str, bytes]]:
    """All damaged files, by kind."""
    for kind, mask in FLIPS.items():
        for place in range(len(good)):
            yield f"a byte's {kind} flipped", good[:place] + bytes([good[place] ^ mask]) + good[place + 1 :]
    for length in range(len(good)):
        yield "truncated", good[:length]
    for _, content in crafted():
        yield "made up", content


def verdict(network: MLP) -> str:
    """Whether a network that was not refused is the one that was saved."""
    same = network.config == GOOD.config and network.parameters.tobytes() == GOOD.parameters.tobytes()
    return "identical" if same else "ANOTHER NETWORK"


def alone(content: bytes) -> str:
    """Read the file with nothing to hold it against."""
    try:
        return verdict(load(content))
    except WeightsError:
        return "refused"


def with_its_hash(content: bytes) -> str:
    """Read the file as a version whose manifest has its hash."""
    details = {"labels": LABELS, "weights_sha256": sha256(content).hexdigest()}
    try:
        return verdict(load_verified(content, Manifest("small", 1, details)))
    except CorruptModel:
        return "refused"


class Serving:
    """A predictor that serves version 1 while version 2, promoted, is damaged."""

    def __init__(self, folder: str) -> None:
        """Publish both."""
        registry = Registry(open_store(folder))
        for seed in (1, 0):
            weights = to_bytes(small_network(seed))
            details = {"labels": LABELS, "weights_sha256": sha256(weights).hexdigest()}
            registry.publish("small", weights, details)
        registry.promote("small", "production", 1)
        self.predictor = Predictor(registry, "small", "production", on_reload=lambda _: None)
        self.predictor.refresh()
        self.answer: Floats = self.predictor.serving.predict(GLYPHS)
        registry.promote("small", "production", 2)
        self.file = Path(folder, "models", "small", "2", "weights.npz")

    def follow(self, content: bytes) -> str:
        """Look at the alias with the damaged file in place."""
        self.file.write_bytes(content)
        self.predictor.refresh()
        if self.predictor.serving.version != 1:
            return "SERVED"
        if self.predictor.route("any").predict(GLYPHS).tobytes() != self.answer.tobytes():
            return "DISTURBED"
        return "refused, the old version answers" if self.predictor.last_error else "NOT TOLD"


def main() -> None:
    """Try all and print how each kind fared."""
    good = to_bytes(GOOD)
    counts: Counter[tuple[str, str, str]] = Counter()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        serving = Serving(folder)
        doors = {"the file alone": alone, "with its hash": with_its_hash, "in service": serving.follow}
        for kind, content in damaged(good):
            for door, read in doors.items():
                if (kind, door) != ("made up", "the file alone"):  # some are whole networks, for other labels
                    counts[kind, door, read(content)] += 1
        serving.file.write_bytes(good)
        serving.predictor.refresh()
        assert serving.predictor.serving.version == 2
    print(f"a weights file of {len(good):,} bytes; {time.perf_counter() - started:.0f} s\n")
    for (kind, door, outcome), count in counts.items():
        print(f"{kind:28} {door:15} {count:6,} {outcome}")
    bad = sum(count for (_, _, outcome), count in counts.items() if outcome.split()[0].isupper())
    print(f"\n{counts.total():,} readings, {bad} neither refused nor identical")
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()
