"""Predictions per second beside plain FastAPI, LitServe, BentoML, MLServer and a constant answer, in one run.

    python -m benchmarks.serving [--seconds 3] [--rounds 3] [--only ours,fastapi] [--environments DIR]

Needs `wrk` and two cores: the servers have the first, the load has the second. Every peer gets an environment of its
own (made by the first run) and the network 784-128-64-10 that this project's server gets, too. All servers are
started, then they are loaded one after the other, and the rounds repeat that: what else the machine does hurts all
alike. `wrk` checks the label of every answer. CPU is that of a server with all its processes, by request. A server is
started twice: the second start, which counts, finds the bytecode that the first has left, as after an installation.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.servers.started import SERVERS, Server, make_environments, trained_weights
from benchmarks.wrk import Load, Measured, forms

COLUMNS = "| server | picture | clients | req/s | × | CPU µs | × less | p50 ms | × | p99 ms | wrong | start s | MiB |"


def medians(measured: Sequence[Measured]) -> Measured:
    """Take each figure's median over the rounds; what was wrong is added up."""
    middle = [statistics.median(values) for values in zip(*measured, strict=True)]
    return Measured(*middle)._replace(wrong=sum(one.wrong for one in measured))


def row(server: Server, load: Load, mine: Measured, base: Measured) -> str:
    """Write one line of the table."""
    return (
        f"| {server.name} | {load.picture} | {load.clients} "
        f"| {mine.rate:,.0f} | {mine.rate / base.rate:.2f} | {mine.cpu:.0f} | {base.cpu / max(mine.cpu, 1e-9):.2f} "
        f"| {mine.p50:.3f} | {mine.p50 / base.p50:.2f} | {mine.p99:.2f} | {mine.wrong:.0f} "
        f"| {server.start_seconds:.2f} | {server.mebibytes():.0f} |"
    )


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(SERVERS))
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache" / "glyphserve" / "benchmarks")
    given = parser.parse_args()
    names = given.only.split(",")
    make_environments(names, given.environments)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder, "bytecode"))
        weights, pictures = trained_weights(Path(folder))
        servers = [SERVERS[name](name, given.environments, weights) for name in names]
        loads = [Load(server, *form) for form in forms(pictures) for server in servers if server.takes(form)]
        figures: dict[Load, list[Measured]] = {load: [] for load in loads}
        try:
            for server in servers:
                first = next(load for load in loads if load.server is server)
                server.start(first)
                server.settle()
                server.stop()
                server.start(first)
            for number in range(given.rounds):
                for load in loads:
                    figures[load].append(load.run(given.seconds, Path(folder)))
                print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
            results = {load: medians(measured) for load, measured in figures.items()}
            print(f"{COLUMNS}\n{'|---' * (COLUMNS.count('|') - 1)}|")
            for load, mine in results.items():
                like = (other for other in results if other[1:] == load[1:])
                base = next((other for other in like if other.server.name == "fastapi"), load)
                print(row(load.server, load, mine, results[base]))
        finally:
            for server in servers:
                server.stop()


if __name__ == "__main__":
    main()
