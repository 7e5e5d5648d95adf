"""What more processes, replicas and workers bring on this machine: 1 → 2 of each.

    python -m benchmarks.scale [--seconds 4] [--rounds 2] [--jobs 4]

Needs `wrk`, and nginx as a program or as the image nginx:stable-alpine. The load, the proxy and the replicas share the
machine's cores, so the CPU time of a request says more than the rate does; docs/how-to/scale.md uses it.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.servers.started import free_port
from benchmarks.wrk import SCRIPT, multipart, saved
from training.data import load_dataset

ROOT = Path(__file__).parents[1]
CLIENTS = 32
JOB = {"recipe": "starter", "settings": {"epochs": 60, "layers": [784, 128, 64, 10]}, "promote": "never"}


class Measured(NamedTuple):
    """Figures of one load."""

    rate: float
    """Requests a second."""
    replicas_cpu: float
    proxy_cpu: float
    """Microseconds of CPU a request."""
    p99: float
    """Milliseconds."""
    wrong: float


@contextmanager
def started(command: list[str], environment: dict[str, str], url: str | None) -> Iterator[int]:
    """Keep a process with its children while the block runs; give its id once a URL answers."""
    own = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"} | environment
    process = subprocess.Popen(command, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while url and not answers(url):
            assert process.poll() is None, f"{command} ended"
            time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def answers(url: str) -> bool:
    """Tell whether there is a good answer."""
    try:
        return urllib.request.urlopen(url, timeout=2).status == 200  # noqa: S310 -- our own address
    except OSError:
        return False


def serving(home: str, processes: int = 1) -> tuple[list[str], str]:
    """Give the command for an API without a worker, and its address."""
    port = str(free_port())
    command = [sys.executable, "-P", "-m", "service", "serve", "--no-worker", "--home", home, "--port", port]
    return [*command, "--processes", str(processes)], f"http://127.0.0.1:{port}"


def proxying(addresses: list[str], folder: str) -> tuple[list[str], str]:
    """Give the command for nginx, as deploy/nginx has it, in front of these addresses."""
    port = free_port()
    config = (ROOT / "deploy" / "nginx" / "nginx.conf").read_text()
    servers = "".join(f"server {a.removeprefix('http://')} max_fails=1 fail_timeout=1s;\n" for a in addresses)
    config = re.sub(r"(?:\s*server api-\d:8000 .*;)+", "\n" + servers.replace("\\", ""), config)
    config = config.replace("listen 8080", f"listen {port}").replace("/tmp/nginx.pid", f"{folder}/nginx.pid")  # noqa: S108
    file = Path(folder) / f"nginx-{port}.conf"
    file.write_text(config)
    nginx = ["nginx", "-e", "stderr", "-c", str(file), "-g", "daemon off;"]
    if not shutil.which("nginx"):
        mounts = ["--volume", f"{folder}:{folder}", "--network", "host", "--init"]
        nginx = ["docker", "run", "--rm", *mounts, "nginx:stable-alpine", *nginx]
    return nginx, f"http://127.0.0.1:{port}"


def cpu_seconds(word: str) -> float:
    """Add up the CPU time of the processes whose command line has a word."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if word in line and " docker" not in f" {line}":
                total += sum(map(int, (folder / "stat").read_text().rpartition(")")[2].split()[11:13]))
        except OSError:
            continue
    return total / os.sysconf("SC_CLK_TCK")


def load(address: str, seconds: float, folder: str) -> Measured:
    """Send a picture in a form for so long, from as many clients."""
    starter = load_dataset("starter").train
    kind, body = multipart(saved(starter.images[0], "PNG"))
    script = Path(folder) / "load.lua"
    escaped = "".join(f"\\{byte:03d}" for byte in body)
    script.write_text(SCRIPT % {"body": escaped, "kind": kind, "expected": f'"{starter.labels[0]}"'})
    command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{seconds:g}s", "-s", str(script), f"{address}/predict"]
    before = cpu_seconds("-m service "), cpu_seconds("nginx: ")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    used = cpu_seconds("-m service ") - before[0], cpu_seconds("nginx: ") - before[1]
    found = re.search(r"^\{.*\}$", done.stdout, re.M)
    assert found, done.stdout + done.stderr
    figures = json.loads(found[0])
    count = figures["requests"]
    rate = count / figures["micro"] * 1e6
    return Measured(rate, used[0] / count * 1e6, used[1] / count * 1e6, figures["p99"] / 1e3, figures["wrong"])


def print_serving(name: str, rounds: list[Measured]) -> None:
    """Print a line of the table."""
    rate, cpu, proxy, p99, _ = (statistics.median(values) for values in zip(*rounds, strict=True))
    wrong = sum(one.wrong for one in rounds)
    print(f"| {name} | {rate:,.0f} | {cpu:.0f} | {proxy:.0f} | {p99:.1f} | {wrong:.0f} |", flush=True)


def measure_serving(options: argparse.Namespace, folder: str) -> None:
    """One and two processes behind a port, one and two replicas behind the proxy."""
    print(
        "| | requests/s | CPU µs/request, service | CPU µs/request, proxy | p99 ms | wrong |\n|---|---|---|---|---|---|"
    )
    for count in (1, 2):
        command, address = serving(f"{folder}/home", count)
        with started(command, {}, f"{address}/health/ready"):
            rounds = [load(address, options.seconds, folder) for _ in range(options.rounds)]
        print_serving(f"{count} process{'es' * (count - 1)}", rounds)
    for count in (1, 2):
        with ExitStack() as replicas:
            addresses = []
            for _ in range(count):
                command, address = serving(f"{folder}/home")
                replicas.enter_context(started(command, {}, f"{address}/health/ready"))
                addresses.append(address)
            command, address = proxying(addresses, folder)
            with started(command, {}, f"{address}/health/ready"):
                rounds = [load(address, options.seconds, folder) for _ in range(options.rounds)]
        print_serving(f"{count} replica{'s' * (count - 1)} behind nginx", rounds)


def measure_jobs(options: argparse.Namespace, folder: str) -> None:
    """The same jobs by one worker and by two."""
    print("\n| workers | jobs | seconds until all are done | jobs a minute |\n|---|---|---|---|")
    for count in (1, 2):
        home = f"{folder}/jobs-{count}"
        command, address = serving(home)
        with ExitStack() as all_of_them:
            all_of_them.enter_context(started(command, {}, f"{address}/health/ready"))
            body = json.dumps(JOB).encode()
            for _ in range(options.jobs):
                asked = urllib.request.Request(  # noqa: S310 -- our own address
                    f"{address}/train", body, {"Content-Type": "application/json"}
                )
                urllib.request.urlopen(asked)  # noqa: S310
            worker = [sys.executable, "-P", "-m", "service", "worker", "--home", home]
            for _ in range(count):
                all_of_them.enter_context(started(worker, {}, None))
            begun, seconds = time.perf_counter(), 0.0
            while not seconds:
                jobs = json.load(urllib.request.urlopen(f"{address}/train"))["jobs"]  # noqa: S310
                if all(job["finished"] for job in jobs):
                    seconds = time.perf_counter() - begun
                time.sleep(0.1)
        states = {job["state"] for job in jobs}
        assert states == {"succeeded"}, states
        print(f"| {count} | {options.jobs} | {seconds:.1f} | {options.jobs / seconds * 60:.1f} |", flush=True)


def main() -> None:
    """Run it and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=4)
    options = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is needed: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # nginx reads its configuration there
        measure_serving(options, folder)
        measure_jobs(options, folder)


if __name__ == "__main__":
    main()
