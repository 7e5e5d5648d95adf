"""What stays behind: memory, files and threads of a server after 100,000 good and 10,000 bad requests (R11).

python -m benchmarks.endurance [--good 100000] [--bad 10000] [--warm 20000]
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import uvloop

from benchmarks.asking import connect, get, good_requests, post
from benchmarks.hot_swaps import Server
from tests.service.processes import apis_of

BAD = (
    post("/predict", b"no picture"),
    post("/predict", b""),
    post("/predict", b"{", "application/json"),
    post("/predict", b'{"pixels": [1, 2, 3]}', "application/json"),
    post("/predict", b"--x\r\n", "multipart/form-data; boundary=x"),
    post("/predict?version=77", b"\x89PNG\r\n\x1a\n"),
    post("/predict", b"\x89PNG\r\n\x1a\n" + bytes(1000)),
    post("/nowhere", b"x"),
    get("/models/none"),
    get("/predict"),
)


class Held(NamedTuple):
    """What a process holds."""

    mebibytes: float
    files: int
    threads: int


def held(process: int) -> Held:
    """Look at a process."""
    folder = Path(f"/proc/{process}")
    pages = int((folder / "statm").read_text().split()[1])
    files, threads = (len(os.listdir(folder / name)) for name in ("fd", "task"))  # noqa: PTH208 -- it changes meanwhile
    return Held(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files, threads)


async def ask(port: int, good: int, bad: int) -> Counter[int]:
    """Ask over eight connections, the bad ones evenly among the good."""
    requests, outcomes = good_requests(), Counter[int]()
    share = bad / (good + bad)

    async def client(number: int) -> None:
        connection, due = await connect(port), 0.0
        for turn in range(number, good + bad, 8):
            due += share
            is_bad = due >= 1
            due -= is_bad
            request = BAD[turn // 8 % len(BAD)] if is_bad else requests[turn % len(requests)]
            outcomes[(await connection.ask(request)).status] += 1
        connection.close()

    await asyncio.gather(*(client(number) for number in range(8)))
    return outcomes


def main() -> None:
    """Start a server, ask, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--good", type=int, default=100_000)
    parser.add_argument("--bad", type=int, default=10_000)
    parser.add_argument("--warm", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        server = Server(home)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(ask(server.port, options.warm, options.warm // 10))
                before = held(apis_of(server)[0])
                outcomes = runner.run(ask(server.port, options.good, options.bad))
                after = held(apis_of(server)[0])
        finally:
            server.stop()
    growth = Held(*(b - a for a, b in zip(before, after, strict=True)))
    print(f"answers by status {dict(sorted(outcomes.items()))}")
    print(f"before: {before.mebibytes:.1f} MiB, {before.files} files, {before.threads} threads")
    print(f"after:  {after.mebibytes:.1f} MiB, {after.files} files, {after.threads} threads")
    print(f"growth: {growth.mebibytes:+.1f} MiB, {growth.files:+d} files, {growth.threads:+d} threads")
    good = growth.mebibytes < 5 and growth.files <= 2 and growth.threads <= 2 and max(outcomes) < 500
    sys.exit(not good)


if __name__ == "__main__":
    main()
