"""A crowd: 1,000 clients for a minute, then 1,000 slow sockets (R10).

    python -m benchmarks.crowd [--clients 1000] [--seconds 60]

The crowd asks without pause, half of it by the fast path. It may get 200 or 503 with Retry-After, and nothing else;
meanwhile liveness must be answered. Then as many sockets are opened that send nothing, half a header, or half a body:
all must be closed within ten seconds, and eight ordinary clients must hardly notice.
"""

import argparse
import asyncio
import multiprocessing
import resource
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import uvloop

from benchmarks.asking import Connection, LostError, connect, get, good_requests, post
from benchmarks.hot_swaps import Server

LAST_SECONDS = 10.0
SLOW = (b"", b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: ", post("/predict", bytes(1000))[:-1])


class Crowd:
    """Clients that ask without pause."""

    def __init__(self, port: int) -> None:
        """Nobody yet."""
        self._port, self.outcomes, self.seconds = port, Counter[str](), list[float]()
        self._requests = good_requests()

    async def client(self, number: int, until: float) -> None:
        """Ask until then."""
        connection: Connection | None = None
        while time.monotonic() < until:
            try:
                if connection is None or not connection.open:
                    connection = await connect(self._port)
                started = time.perf_counter()
                answer = await connection.ask(self._requests[number % len(self._requests)])
            except (LostError, OSError) as error:
                self.outcomes[type(error).__name__] += 1
                continue
            self.seconds.append(time.perf_counter() - started)
            excused = answer.status == 503 and b"retry-after" in answer.headers
            self.outcomes[str(answer.status) if answer.status == 200 or excused else f"wrong {answer.status}"] += 1
            number += 1
        if connection:
            connection.close()

    async def run(self, clients: int, seconds: float) -> None:
        """Let so many ask for so long."""
        until = time.monotonic() + seconds
        await asyncio.gather(*(self.client(number, until) for number in range(clients)))


async def liveness(port: int, seconds: float) -> list[float]:
    """Ask for liveness ten times a second for so long, on a connection of its own each time, as probes do."""
    taken, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        started = time.perf_counter()
        connection = await connect(port)
        assert (await connection.ask(get("/health/live"))).status == 200
        taken.append(time.perf_counter() - started)
        connection.close()
        await asyncio.sleep(0.1)
    return taken


def probe(port: int, seconds: float) -> list[float]:
    """Do that in a process of its own: the crowd's would be busy with the crowd."""
    return asyncio.run(liveness(port, seconds))


async def slow_socket(port: int, sent: bytes) -> float:
    """Open a socket, send what is too little, and answer the seconds until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.perf_counter()
    writer.write(sent)
    await reader.read()
    writer.close()
    return time.perf_counter() - started


def percentile(seconds: list[float], share: float = 0.99) -> float:
    """Give a percentile in milliseconds."""
    return float(np.quantile(seconds, share)) * 1e3


async def run(port: int, options: argparse.Namespace) -> bool:
    """Run both, print the figures, and tell whether all was as it must be."""
    crowd, loop = Crowd(port), asyncio.get_running_loop()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        watching = loop.run_in_executor(process, probe, port, options.seconds)
        await crowd.run(options.clients, options.seconds)
        live = await watching
    print(
        f"{options.clients} clients, {options.seconds:g} s: {crowd.outcomes.total():,} answers {dict(crowd.outcomes)}"
    )
    print(f"  {dict(crowd.outcomes)}")
    print(f"  p50 {percentile(crowd.seconds, 0.5):.0f} ms, p99 {percentile(crowd.seconds):.0f} ms")
    print(
        f"  liveness: asked {len(live)} times, p50 {percentile(live, 0.5):.1f} ms, p95 {percentile(live, 0.95):.1f}, "
        f"p99 {percentile(live):.1f}, most {1e3 * max(live):.1f}"
    )
    calm, busy = Crowd(port), Crowd(port)
    await calm.run(8, LAST_SECONDS)
    sockets = asyncio.gather(*(slow_socket(port, SLOW[n % len(SLOW)]) for n in range(options.clients)))
    await busy.run(8, LAST_SECONDS)
    closed = await sockets
    ratio = percentile(busy.seconds) / percentile(calm.seconds)
    print(f"{len(closed)} slow sockets: closed after {min(closed):.1f} to {max(closed):.1f} s")
    print(f"  others: {dict(busy.outcomes)}, p99 {percentile(busy.seconds):.2f} ms, {ratio:.2f} × without them")
    outcomes = {*crowd.outcomes, *busy.outcomes}
    return outcomes <= {"200", "503"} and percentile(live) < 100 and max(closed) <= LAST_SECONDS and ratio < 2


def main() -> None:
    """Start a server and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536), most))
    with tempfile.TemporaryDirectory() as home:
        server = Server(home)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                good = runner.run(run(server.port, options))
        finally:
            server.stop()
    sys.exit(not good)


if __name__ == "__main__":
    main()
