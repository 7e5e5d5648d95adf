"""Restarts under load: 50 SIGTERMs to two replicas in turn, during 50,000 requests (R5).

    python -m benchmarks.restarts [--restarts 50] [--requests 50000] [--clients 8]

The clients do what a balancer does and no more: they ask the replicas' readiness ten times a second, leave one that
says no or refuses a connection, and send every request once. A request whose answer does not come has failed.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter

from benchmarks.asking import Connection, LostError, connect, get, good_requests, post
from benchmarks.servers.started import free_port
from training.data import load_dataset

POLL_SECONDS = 0.1


class Replica:
    """One server process, started again on the same port."""

    def __init__(self, home: str, port: int) -> None:
        """Not yet started."""
        self.port, self.ready = port, False
        self._command = [
            sys.executable,
            "-P",
            "-m",
            "service",
            "serve",
            "--no-worker",
            "--home",
            home,
            "--port",
            str(port),
        ]

    async def start(self) -> None:
        """Start, and wait until it says that it is ready."""
        self.process = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.DEVNULL, env=os.environ | {"GLYPHSERVE_LOG_LEVEL": "warning"}
        )
        while not self.ready:
            assert self.process.returncode is None, "it ended before it was ready"
            await asyncio.sleep(POLL_SECONDS)

    async def stop(self) -> tuple[int, float]:
        """Send SIGTERM; answer the exit code and the seconds it took."""
        started = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait(), time.perf_counter() - started

    async def watch(self) -> None:
        """Ask for its readiness, for ever."""
        while True:
            try:
                connection = await connect(self.port)
                self.ready = (await connection.ask(get("/health/ready"))).status == 200
                connection.close()
            except (OSError, LostError):
                self.ready = False
            await asyncio.sleep(POLL_SECONDS)


class Client:
    """A client behind a balancer."""

    def __init__(self, replicas: list[Replica], requests: list[bytes], outcomes: Counter[str], number: int) -> None:
        """Begin with one replica."""
        self._replicas, self._requests, self._outcomes, self._turn = replicas, requests, outcomes, number
        self._connection: Connection | None = None
        self._replica = replicas[0]

    async def run(self) -> None:
        """Ask without pause."""
        while True:
            await self._connect()
            assert self._connection
            self._turn += 1
            try:
                answer = await self._connection.ask(self._requests[self._turn % len(self._requests)])
                right = answer.status == 200 and b'"label"' in answer.body
                self._outcomes["right" if right else f"status {answer.status}"] += 1
            except LostError:
                self._outcomes["lost"] += 1

    async def _connect(self) -> None:
        """Keep the connection while its replica is ready; else go to one that is."""
        while not (self._connection and self._connection.open and self._replica.ready):
            if self._connection:
                self._connection.close()
            ready = [replica for replica in self._replicas if replica.ready]
            if ready:
                self._turn += 1
                self._replica = ready[self._turn % len(ready)]
                try:
                    self._connection = await connect(self._replica.port)
                    return
                except OSError:  # nothing was sent: the next one
                    self._replica.ready = False
            await asyncio.sleep(0.01)


async def run(options: argparse.Namespace, home: str) -> tuple[Counter[str], list[tuple[int, float]]]:
    """Restart and ask."""
    replicas = [Replica(home, free_port()) for _ in range(2)]
    outcomes: Counter[str] = Counter()
    tasks = [asyncio.create_task(replica.watch()) for replica in replicas]
    await asyncio.gather(*(replica.start() for replica in replicas))
    pixels = load_dataset("starter").train.images[0].tolist()
    requests = [*good_requests(), post("/predict", json.dumps({"pixels": pixels}).encode(), "application/json")]
    clients = [Client(replicas, requests, outcomes, number) for number in range(options.clients)]
    tasks += [asyncio.create_task(client.run()) for client in clients]
    exits = []
    while len(exits) < options.restarts or outcomes.total() < options.requests:
        replica = replicas[len(exits) % 2]
        exits.append(await replica.stop())
        replica.ready = False
        await replica.start()
        await asyncio.sleep(2 * POLL_SECONDS)
    for task in tasks:
        task.cancel()
    for replica in replicas:
        await replica.stop()
    return outcomes, exits


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restarts", type=int, default=50)
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        outcomes, exits = asyncio.run(run(options, home))
    seconds = [took for _, took in exits]
    codes = Counter(code for code, _ in exits)
    failed = outcomes.total() - outcomes["right"]
    print(f"restarts {len(exits)}, exit codes {dict(codes)}")
    print(f"seconds to exit: median {statistics.median(seconds):.2f}, most {max(seconds):.2f}")
    print(f"requests {outcomes.total():,}, outcomes {dict(outcomes)}: {failed} failed")
    sys.exit(bool(failed or set(codes) != {0} or max(seconds) > 10))


if __name__ == "__main__":
    main()
