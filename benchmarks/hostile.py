"""Hostile inputs over HTTP (R1): images, forms, JSON, tensors and broken HTTP, named ones and mutated ones.

    python -m benchmarks.hostile [--mutated 5000] [--seed 0] [--minutes 8]

A real server process, a connection for each input. No answer may be a 5xx (but the documented 501, 503 and 507), every
error has the one shape and tells nothing of the inside, and every named input is answered by one of the codes that it
should be. Times are those from the last byte sent to the end of the answer; inputs for whose rest the server must wait
until its deadline are not among them. Memory is the server's, its peak against the beginning, after a warm-up: a
training job, for which the library of jobs is loaded, and a tenth of the named inputs.

Then every named input is sent in each of the ways of `tests.hostile.ways`: whole, byte by byte, in two pieces at each
of the first 200 offsets, pipelined behind and before good requests; in a random order, no longer than so many minutes.
No answer may be a 5xx, no connection may stay open without an answer, and health is asked all the while.
"""

import argparse
import asyncio
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import httpx
import numpy as np

from tests.hostile.corpus import mutated, named
from tests.hostile.judge import Outcome, ask_all, forget_peak, memory_kib
from tests.hostile.request import CLOSED, Hostile
from tests.hostile.started import impatient_server
from tests.hostile.ways import ask, way, way_count
from tests.service.processes import apis_of

_MOST_MILLISECONDS = 50.0
_MOST_MEBIBYTES = 64.0
_MOST_HEALTH_MILLISECONDS = 100.0
_AT_ONCE = 8
_SHOWN = 20
_DOCUMENTED = (501, 503, 507)


def report(outcomes: list[Outcome], grown_mebibytes: float, rest_mebibytes: float) -> bool:
    """Print the figures; tell whether they are as they should be."""
    seconds = [outcome.seconds for outcome in outcomes if not outcome.hostile.waits]
    p50, p99, most = (float(np.quantile(seconds, share)) * 1e3 for share in (0.5, 0.99, 1))
    codes = Counter("closed" if outcome.status == CLOSED else str(outcome.status) for outcome in outcomes)
    wrong = [outcome for outcome in outcomes if outcome.complaint]
    print(f"inputs {len(outcomes):,}: {', '.join(f'{code} × {count:,}' for code, count in sorted(codes.items()))}")
    print(f"5xx beside 501, 503 and 507: {sum(o.status >= 500 and o.status not in _DOCUMENTED for o in outcomes)}")
    print(f"answers not as they should be: {len(wrong)}")
    for outcome in wrong[:_SHOWN]:
        print(f"  {outcome.hostile.name}: {outcome.complaint}")
    print(f"milliseconds to answer: p50 {p50:.2f}, p99 {p99:.2f} (wanted < {_MOST_MILLISECONDS:g}), most {most:.1f}")
    for outcome in sorted((o for o in outcomes if not o.hostile.waits), key=lambda o: -o.seconds)[:3]:
        print(f"  {outcome.seconds * 1e3:.1f} ms: {outcome.hostile.name}")
    print(f"memory: peak + {grown_mebibytes:.0f} MiB (wanted < {_MOST_MEBIBYTES:g}), afterwards + {rest_mebibytes:.0f}")
    return not wrong and p99 < _MOST_MILLISECONDS and grown_mebibytes < _MOST_MEBIBYTES


def health_seconds(port: int, seconds: float) -> list[float]:
    """Ask for the health for so long, twenty times a second, and give how long each answer took."""
    found, end = list[float](), time.monotonic() + seconds
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        while time.monotonic() < end:
            started = time.perf_counter()
            assert client.get("/health/live").status_code == 200
            found.append(time.perf_counter() - started)
            time.sleep(0.05)
    return found


async def send_in_all_ways(port: int, inputs: tuple[Hostile, ...], seconds: float, seed: int) -> bool:
    """Send all inputs in all ways for so long, and print the figures; tell whether they are as they should be."""
    planned = [(each, place) for each in inputs for place in range(way_count(each.sent))]
    random.Random(seed).shuffle(planned)  # noqa: S311 -- not for secrets
    left, end, codes = iter(planned), time.monotonic() + seconds, Counter[str]()
    wrong, stalls = list[str](), list[str]()

    async def send_some() -> None:
        for each, place in left:
            name, pieces = way(each.sent, place)
            try:
                statuses = await ask(port, pieces)
            except TimeoutError:
                stalls.append(f"{each.name}, {name}")
                continue
            codes.update(map(str, statuses) if statuses else ["closed"])
            wrong.extend(
                f"{status}: {each.name}, {name}" for status in statuses if status >= 500 and status not in _DOCUMENTED
            )
            if time.monotonic() > end:
                return

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:  # this process has enough to do
        asking = other.submit(health_seconds, port, seconds)
        await asyncio.gather(*(send_some() for _ in range(_AT_ONCE)))
        health = await asyncio.wrap_future(asking)
    p99 = float(np.quantile(health, 0.99)) * 1e3
    sent = len(planned) - sum(1 for _ in left)
    answers = ", ".join(f"{code} × {count:,}" for code, count in sorted(codes.items()))
    print(f"in all ways: {sent:,} of {len(planned):,} sent; {answers}")
    print(f"5xx beside 501, 503 and 507: {len(wrong)} (wanted 0)", *wrong[:_SHOWN], sep="\n  ")
    print(f"stalls: {len(stalls)} (wanted 0)", *stalls[:_SHOWN], sep="\n  ")
    print(f"health: p99 {p99:.1f} ms of {len(health):,} (wanted ≤ {_MOST_HEALTH_MILLISECONDS:g})")
    return not wrong and not stalls and p99 <= _MOST_HEALTH_MILLISECONDS


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutated", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=8.0, help="for all ways of sending the named inputs")
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
        is_good = report(outcomes, grown, rest)
        is_good &= asyncio.run(send_in_all_ways(port, inputs, options.minutes * 60, options.seed))
        assert httpx.get(f"{server.url}/health/ready").status_code == 200
        output = server.output
    sys.exit(not is_good or "Traceback" in output)


if __name__ == "__main__":
    main()
