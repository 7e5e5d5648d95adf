"""Hot swaps under load: 200 promotions while 100,000 requests run (R4).

    python -m benchmarks.hot_swaps [--swaps 200] [--requests 100000] [--clients 16]

A real server, a store with several versions that answer differently, and clients that ask without pause over kept-alive
connections. Rounds without promotions and rounds with them take turns. In the latter each promotion is a PUT over HTTP
after so many more answers. Every answer must be 200 and equal, bit for bit, what the version that it names answers when
it is asked for by number.
"""

import argparse
import asyncio
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from PIL import Image

from benchmarks.load import PICTURES, Load, probabilities
from benchmarks.untrained import publish_untrained
from service.registry.registry import Registry
from service.registry.store import open_store
from training.data import load_dataset

VERSIONS = 5
ROUNDS = 10
MODEL, ALIAS = "mnist", "production"


class Server:
    """`glyphserve serve` as a process."""

    def __init__(self, home: str, *arguments: str) -> None:
        """Start it and wait until it listens."""
        command = [
            sys.executable,
            "-P",
            "-m",
            "service",
            "serve",
            "--no-worker",
            "--home",
            home,
            "--port",
            "0",
            *arguments,
        ]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"GLYPHSERVE_LOG_LEVEL": "warning"}
        )
        assert self.process.stdout
        line = next(line for line in self.process.stdout if "ready at" in line)
        self.url = line.split()[-1]
        self.port = int(self.url.rpartition(":")[2])

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        """Send one request and give the JSON of its answer."""
        request = urllib.request.Request(self.url + path, body, {"Content-Type": kind}, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 -- our own server
            return json.loads(answer.read())

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.communicate(timeout=30)


def pictures() -> list[bytes]:
    """Draw some digits of all classes as PNG files."""
    encoded, digits = [], load_dataset("starter").train.images
    for digit in digits[:: len(digits) // PICTURES][:PICTURES]:
        file = io.BytesIO()
        Image.fromarray(digit).save(file, "PNG")
        encoded.append(file.getvalue())
    return encoded


async def measure(server: Server, load: Load, options: argparse.Namespace) -> tuple[list[Any], list[Any], list[float]]:
    """Take turns: rounds without promotions and with them. Give the seconds of answers by round, and of promotions."""
    await load.connect(server.port, options.clients)
    between = options.requests // options.swaps
    load.start()
    await load.after(2000)  # warm
    await load.stop()
    calm, busy, promotions, generation = [], [], [], 0
    for _ in range(ROUNDS):
        load.start()
        for _ in range(options.swaps // ROUNDS):
            await load.after(between)
            version = 1 + (generation + 1) % VERSIONS
            path, body = f"/models/{MODEL}/aliases/{ALIAS}", json.dumps({"version": version}).encode()
            started = time.perf_counter()
            answer = await asyncio.to_thread(server.ask, "PUT", path, body)
            promotions.append(time.perf_counter() - started)
            assert answer["version"] == version
            generation = version - 1
        await load.after(between)
        busy.append(await load.stop())
        load.start()
        await load.after(len(busy[-1]))
        calm.append(await load.stop())
    return calm, busy, promotions


def percentile(seconds: list[float], share: float) -> float:
    """Give a percentile in milliseconds."""
    return float(np.quantile(seconds, share)) * 1e3


def report(load: Load, calm: list[list[float]], busy: list[list[float]], promotions: list[float]) -> bool:
    """Print the figures; tell whether nothing failed."""
    print(f"{'':20}{'answers':>10}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for name, rounds in (("without promotions", calm), ("with promotions", busy)):
        seconds = list(chain(*rounds))
        figures = "".join(f"{percentile(seconds, share):9.2f}" for share in (0.5, 0.99, 1))
        print(f"{name:20}{len(seconds):10,}{figures}")
    pairs = [percentile(b, 0.99) / percentile(a, 0.99) for a, b in zip(calm, busy, strict=True)]
    whole = percentile(list(chain(*busy)), 0.99) / percentile(list(chain(*calm)), 0.99)
    print(f"p99 with / without: {whole:.2f}; by rounds, median {statistics.median(pairs):.2f}, most {max(pairs):.2f}")
    print(f"promotions {len(promotions)}, median {percentile(promotions, 0.5):.0f} ms each")
    print(f"answers by version {dict(sorted(load.versions.items()))}")
    failed = load.outcomes.total() - load.outcomes["right"]
    print(f"outcomes {dict(load.outcomes)}: {failed} failed")
    return failed == 0 and len(load.versions) == VERSIONS


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=200)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    bodies = pictures()
    with tempfile.TemporaryDirectory() as home:
        server = Server(home)  # adopts the released model as version 1
        try:
            registry = Registry(open_store(str(Path(home, "store"))))
            for seed in range(VERSIONS - 1):
                publish_untrained(registry, MODEL, seed, (784, 128, 64, 10))
            expected = {
                (version, number): probabilities(server.ask("POST", f"/predict?version={version}", body, "image/png"))
                for version in range(1, VERSIONS + 1)
                for number, body in enumerate(bodies)
            }
            assert len({str(answer) for answer in expected.values()}) == len(expected)
            load = Load(bodies, expected)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                figures = runner.run(measure(server, load, options))
        finally:
            server.stop()
    sys.exit(not report(load, *figures))


if __name__ == "__main__":
    main()
