"""Two processes promote the same alias at once, round after round: exactly one must win each (R9).

    python -m benchmarks.promotions [--rounds 1000] [--store s3://bucket/prefix]

Both processes read the same generation, wait for each other, and promote their own version with it as the
expectation. A round is right when one succeeds, the other hears PreconditionFailed, and the log has gained one entry,
the winner's. At the end a reader of its own looks at the whole log.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier

from benchmarks.untrained import publish_untrained
from service.errors import PreconditionFailed
from service.registry.registry import Registry
from service.registry.store import open_store

MODEL, ALIAS = "rivals", "production"


def promote_each_round(location: str, version: int, rounds: int, barrier: Barrier, results: Connection) -> None:
    """One rival: wait for the other, promote, tell whether that won."""
    registry = Registry(open_store(location))
    won = []
    for generation in range(rounds):
        barrier.wait()
        try:
            registry.promote(MODEL, ALIAS, version, expected_generation=generation, reason=f"by {version}")
            won.append(True)
        except PreconditionFailed:
            won.append(False)
    results.send(won)


def main() -> None:
    """Run the rounds and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--store", help="by default a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        location = arguments.store or folder
        registry = Registry(open_store(location))
        versions = [publish_untrained(registry, MODEL, seed) for seed in (1, 2)]
        context = multiprocessing.get_context("spawn")
        barrier, started = context.Barrier(2), time.perf_counter()
        rivals, ends = [], []
        for version in versions:
            end, other = context.Pipe(duplex=False)
            work = (location, version, arguments.rounds, barrier, other)
            rivals.append(context.Process(target=promote_each_round, args=work))
            ends.append(end)
            rivals[-1].start()
        outcomes = [end.recv() for end in ends]
        seconds = time.perf_counter() - started
        for rival in rivals:
            rival.join()
        winners = Counter(sum(pair) for pair in zip(*outcomes, strict=True))
        log = registry.history(MODEL, ALIAS)[::-1]
        agree = [versions[0] if first else versions[1] for first, _ in zip(*outcomes, strict=True)] == [
            state.version for state in log
        ]
    print(f"rounds {arguments.rounds}, exactly one winner in {winners[1]}, none in {winners[0]}, two in {winners[2]}")
    print(f"won by one {sum(outcomes[0])}, by the other {sum(outcomes[1])}; {seconds:.1f} s")
    print(f"entries in the log {len(log)}, each by the winner of its round: {agree}")
    assert winners == {1: arguments.rounds}
    assert agree


if __name__ == "__main__":
    main()
