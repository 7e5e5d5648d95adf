"""How long the event loop stands still while versions go on trial and take over, under load.

    python -m benchmarks.loop_stalls [--rounds 5] [--clients 16] [--answers 400] [--models fast]

A real server in a process of its own, in which a task wakes up each millisecond and notes by how much it was late. Each
released model becomes a version of the serving one; it goes on trial as a shadow and as a canary, the trial ends, it is
promoted, and the first takes over again, while clients ask without pause. What the machine does alone, where there are
no more processors than the clients and the server keep busy, tell two steps in which nothing changes; in one of them a
process beside them computes. For each step the longest stall of each round is found: their median and the worst by the
clock, which other programs on the machine prolong, and their median by the processor time that the server itself used
in it, which they do not.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any
from urllib.error import HTTPError

import uvloop

from benchmarks.hot_swaps import ALIAS, MODEL, Server, pictures
from benchmarks.load import Load, probabilities
from service.registry.registry import Registry
from service.registry.store import open_store
from service.server.uvicorn_server import _SWITCH_INTERVAL_SECONDS, limit_malloc_growth, make_server
from service.settings import Settings
from training.recipes.model_zoo import models_dir

TURN_SECONDS = 0.001
BUSY = "a busy process beside it"
BUSY_START_SECONDS = 0.1
PATH = f"/models/{MODEL}/aliases/{ALIAS}"


@contextlib.contextmanager
def busy_process() -> Iterator[None]:
    """Run a process that does nothing but compute."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    time.sleep(BUSY_START_SECONDS)
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Stalls:
    """The longest time in which the loop did not turn, in milliseconds: by the clock, and of the process's own work."""

    def __init__(self) -> None:
        """Begin with none."""
        self.longest = (0.0, 0.0)

    async def watch(self) -> None:
        """Note how late each turn is."""
        while True:
            began, used = time.perf_counter(), time.process_time()
            await asyncio.sleep(TURN_SECONDS)
            late = max(time.perf_counter() - began - TURN_SECONDS, 0.0)
            own = min(late, time.process_time() - used)
            self.longest = (max(self.longest[0], late * 1e3), max(self.longest[1], own * 1e3))

    def tell(self) -> None:
        """Write the longest stalls since the last time, once for each line that comes in; end with who asks."""
        for _ in sys.stdin:
            longest, self.longest = self.longest, (0.0, 0.0)
            print(json.dumps(longest), flush=True)
        os.kill(os.getpid(), signal.SIGTERM)


def serve(home: str) -> None:
    """Serve in this process, watched."""
    stalls, tasks = Stalls(), []

    def announce(host: str, port: int) -> None:
        tasks.append(asyncio.get_running_loop().create_task(stalls.watch()))
        threading.Thread(target=stalls.tell, daemon=True).start()
        print(f"ready at http://{host}:{port}", flush=True)

    limit_malloc_growth()
    sys.setswitchinterval(_SWITCH_INTERVAL_SECONDS)
    settings = Settings(home=Path(home), port=0, worker=False)
    make_server(settings, on_ready=announce).run()


class WatchedServer(Server):
    """The server of `serve`, as a process."""

    def __init__(self, home: str) -> None:
        """Start it and wait until it listens."""
        command = [sys.executable, "-m", "benchmarks.loop_stalls", "--serve", home]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # as `glyphserve serve` has it
        )
        assert self.process.stdout
        self.url = next(line for line in self.process.stdout if "ready at" in line).split()[-1]
        self.port = int(self.url.rpartition(":")[2])

    def change(self, body: dict[str, Any]) -> None:
        """Change the alias; on a machine that is too busy for it, ask again."""
        for _ in range(20):
            try:
                self.ask("PUT", PATH, json.dumps(body).encode())
            except HTTPError as error:
                print(f"asked again after {error.code}: {error.read()[:200]!r}")
                if error.code != 503:
                    raise
            else:
                return
        raise TimeoutError("the alias could not be changed")

    def stalls(self) -> list[float]:
        """Ask for the longest stalls since the last time."""
        assert self.process.stdin
        assert self.process.stdout
        print(file=self.process.stdin, flush=True)
        found: list[float] = json.loads(self.process.stdout.readline())
        return found


async def measure(
    server: WatchedServer, load: Load, names: dict[int, str], options: argparse.Namespace
) -> dict[tuple[str, str], list[list[float]]]:
    """Give the stalls of each round, by version and step."""
    found: dict[tuple[str, str], list[list[float]]] = {}
    await load.connect(server.port, options.clients)
    load.start()
    await load.after(options.answers)  # warm
    for _ in range(options.rounds):
        for version, name in names.items():
            steps: dict[str, dict[str, Any] | None] = {
                "nothing": None,
                BUSY: None,
                "shadow begins": {"version": 1, "candidate": version},
                "shadow ends": {"version": 1},
                "canary begins": {"version": 1, "candidate": version, "mode": "canary", "share": 0.5},
                "canary is promoted": {"version": version},
                "the first again": {"version": 1},
                "promoted untried": {"version": version},
                "and the first": {"version": 1},
            }
            for step, body in steps.items():
                with busy_process() if step == BUSY else contextlib.nullcontext():
                    await asyncio.to_thread(server.stalls)
                    if body:
                        await asyncio.to_thread(server.change, body)
                    await load.after(options.answers)
                found.setdefault((name, step), []).append(await asyncio.to_thread(server.stalls))
    await load.stop()
    return found


def main() -> None:
    """Run it all and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--answers", type=int, default=400)
    parser.add_argument("--models", nargs="+", default=["accurate", "fast"])
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(options.serve)
    bodies = pictures()
    with tempfile.TemporaryDirectory() as home:
        server = WatchedServer(home)  # adopts the released models
        try:
            registry, names = Registry(open_store(str(Path(home, "store")))), {}
            for folder in sorted(models_dir().glob("*/*")):
                details = json.loads((folder / "manifest.json").read_text())
                if folder.parent.name in options.models and len(details["labels"]) == 10:
                    weights = (folder / "weights.npz").read_bytes()
                    names[registry.publish(MODEL, weights, details).version] = f"{folder.parent.name} {folder.name}"
            expected = {
                (version, number): probabilities(server.ask("POST", f"/predict?version={version}", body, "image/png"))
                for version in (1, *names)
                for number, body in enumerate(bodies)
            }
            load = Load(bodies, expected)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                found = runner.run(measure(server, load, names, options))
        finally:
            server.stop()
    print(f"{'longest stall of a round, ms':44}{'median':>8}{'worst':>8}{'own work, median':>18}")
    for (name, step), rounds in found.items():
        clock, own = zip(*rounds, strict=True)
        print(f"{name:16}{step:28}{median(clock):8.1f}{max(clock):8.1f}{median(own):18.1f}")
    failed = load.outcomes.total() - load.outcomes["right"]
    print(f"{load.outcomes.total():,} answers, {failed} failed")
    return sys.exit(failed != 0)


if __name__ == "__main__":
    main()
