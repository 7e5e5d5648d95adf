"""Hostile inputs over HTTP (R1): images, forms, JSON, tensors and broken HTTP, named ones and mutated ones.

    python -m benchmarks.hostile [--mutated 5000] [--seed 0]

A real server process, a connection for each input. No answer may be a 5xx (but the documented 503 and 507), every
error has the one shape and tells nothing of the inside, and every named input is answered by one of the codes that it
should be. Times are those from the last byte sent to the end of the answer; inputs for whose rest the server must wait
until its deadline are not among them. Memory is the server's, its peak against the beginning, after a warm-up: a
training job, for which the library of jobs is loaded, and a tenth of the named inputs.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import httpx
import numpy as np

from tests.hostile.corpus import mutated, named
from tests.hostile.judge import Outcome, ask_all, forget_peak, memory_kib
from tests.hostile.request import CLOSED
from tests.hostile.started import impatient_server
from tests.service.processes import apis_of

_MOST_MILLISECONDS = 50.0
_MOST_MEBIBYTES = 64.0
_SHOWN = 20


def report(outcomes: list[Outcome], grown_mebibytes: float, rest_mebibytes: float) -> bool:
    """Print the figures; tell whether they are as they should be."""
    seconds = [outcome.seconds for outcome in outcomes if not outcome.hostile.waits]
    p50, p99, most = (float(np.quantile(seconds, share)) * 1e3 for share in (0.5, 0.99, 1))
    codes = Counter("closed" if outcome.status == CLOSED else str(outcome.status) for outcome in outcomes)
    wrong = [outcome for outcome in outcomes if outcome.complaint]
    print(f"inputs {len(outcomes):,}: {', '.join(f'{code} × {count:,}' for code, count in sorted(codes.items()))}")
    print(f"5xx beside 503 and 507: {sum(o.status >= 500 and o.status not in (503, 507) for o in outcomes)}")
    print(f"answers not as they should be: {len(wrong)}")
    for outcome in wrong[:_SHOWN]:
        print(f"  {outcome.hostile.name}: {outcome.complaint}")
    print(f"milliseconds to answer: p50 {p50:.2f}, p99 {p99:.2f} (wanted < {_MOST_MILLISECONDS:g}), most {most:.1f}")
    for outcome in sorted((o for o in outcomes if not o.hostile.waits), key=lambda o: -o.seconds)[:3]:
        print(f"  {outcome.seconds * 1e3:.1f} ms: {outcome.hostile.name}")
    print(f"memory: peak + {grown_mebibytes:.0f} MiB (wanted < {_MOST_MEBIBYTES:g}), afterwards + {rest_mebibytes:.0f}")
    return not wrong and p99 < _MOST_MILLISECONDS and grown_mebibytes < _MOST_MEBIBYTES


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutated", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    inputs = named()
    print(f"{len(inputs):,} named inputs, {options.mutated:,} mutated ones")
    with tempfile.TemporaryDirectory() as folder, impatient_server(Path(folder, "home")) as server:
        port, pid = httpx.URL(server.url).port or 80, apis_of(server)[0]
        assert server.http.post("/train", json={"settings": {"epochs": 1}}).status_code == 202  # loads its library
        ask_all(port, inputs[::10])
        before = memory_kib(pid)
        forget_peak(pid)
        outcomes = ask_all(port, [*inputs, *mutated(options.mutated, options.seed)])
        grown, rest = ((memory_kib(pid, entry) - before) / 1024 for entry in ("VmHWM", "VmRSS"))
        assert httpx.get(f"{server.url}/health/ready").status_code == 200
        output = server.output
    sys.exit(not report(outcomes, grown, rest) or "Traceback" in output)


if __name__ == "__main__":
    main()
