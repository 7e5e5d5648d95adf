"""What a trial costs the answers: rounds without one, with a shadow of all requests, with a canary on half of them.

    python -m benchmarks.trials [--rounds 8] [--answers 4000] [--clients 16]

The rounds take turns on one real server, and what is printed compares each with its neighbours.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.hot_swaps import ALIAS, MODEL, Server, percentile, pictures
from benchmarks.load import Load, probabilities
from benchmarks.untrained import publish_untrained
from service.registry.registry import Registry
from service.registry.store import open_store

TRIALS: dict[str, dict[str, Any]] = {
    "none": {},
    "shadow of all": {"candidate": 2},
    "canary on half": {"candidate": 2, "mode": "canary", "share": 0.5},
}
PATH = f"/models/{MODEL}/aliases/{ALIAS}"


async def measure(server: Server, load: Load, options: argparse.Namespace) -> dict[str, list[tuple[float, ...]]]:
    """Give answers a second, p50 and p99 in milliseconds, by trial and round; the trial's own figures to the screen."""
    await load.connect(server.port, options.clients)
    figures: dict[str, list[tuple[float, ...]]] = {name: [] for name in TRIALS}
    for _ in range(options.rounds):
        for name, trial in TRIALS.items():
            await asyncio.to_thread(server.ask, "PUT", PATH, json.dumps({"version": 1} | trial).encode())
            load.start()
            await load.after(options.answers // 8)
            await load.stop()  # warm
            started = time.perf_counter()
            load.start()
            await load.after(options.answers)
            seconds = await load.stop()
            rate = len(seconds) / (time.perf_counter() - started)
            figures[name].append((rate, percentile(seconds, 0.5), percentile(seconds, 0.99)))
            shown = (await asyncio.to_thread(server.ask, "GET", PATH))["trial"]
            if shown and len(figures[name]) == options.rounds:
                print(f"{name}: {shown}")
    return figures


def main() -> None:
    """Run it all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--answers", type=int, default=4000)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    bodies = pictures()
    with tempfile.TemporaryDirectory() as home:
        server = Server(home)
        try:
            publish_untrained(Registry(open_store(str(Path(home, "store")))), MODEL, 0, (784, 256, 128, 10))
            expected = {
                (version, number): probabilities(server.ask("POST", f"/predict?version={version}", body, "image/png"))
                for version in (1, 2)
                for number, body in enumerate(bodies)
            }
            load = Load(bodies, expected)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                figures = runner.run(measure(server, load, options))
        finally:
            server.stop()
    print(
        f"{'':16}{'answers/s':>10}{'p50 ms':>9}{'p99 ms':>9}   as parts of those without a trial, medians of the rounds"
    )
    for name, rounds in figures.items():
        rate, middle, late = (statistics.median(column) for column in zip(*rounds, strict=True))
        parts = [
            statistics.median(mine[place] / base[place] for mine, base in zip(rounds, figures["none"], strict=True))
            for place in range(3)
        ]
        print(f"{name:16}{rate:10,.0f}{middle:9.2f}{late:9.2f}   " + " ".join(f"×{part:.2f}" for part in parts))
    failed = load.outcomes.total() - load.outcomes["right"]
    print(f"{load.outcomes.total():,} answers, {failed} failed")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
