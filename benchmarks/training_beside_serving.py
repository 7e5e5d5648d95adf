"""Predictions while a job trains: their times with and without it, in rounds that take turns.

    python -m benchmarks.training_beside_serving [--rounds 6] [--seconds 5] [--rate 50]

A real service with its worker; one client that sends single digits at a steady rate over a kept-alive connection. A
request that is due while the one before still runs is timed from when it was due. The job learns with as large a
network as a worker may well be given; it is cancelled after its round.
"""

import argparse
import http.client
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.disturbed import Service, wait_until

LARGE = {"epochs": 1000, "layers": [784, 1024, 1024, 10], "batch_size": 128}
BOUND = 1.5


def measure(port: int, rate: float, seconds: float) -> list[float]:
    """Ask at a steady rate; answer the milliseconds of each prediction."""
    pixels = [[255 if 6 < row < 22 and 12 < column < 16 else 0 for column in range(28)] for row in range(28)]
    body, took = json.dumps({"pixels": pixels}), list[float]()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    started = time.perf_counter()
    for number in range(int(rate * seconds)):
        due = started + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        took.append(1000 * (time.perf_counter() - due))
    connection.close()
    return took


def main() -> None:
    """Print the table, and fail beyond the bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float, default=50)
    wanted = parser.parse_args()
    idle, busy = list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "home")
        wait_until(service.is_ready, "the service")
        service.http.delete(f"/train/{service.submit('warm', settings=LARGE, promote='never')}")
        measure(service.port, wanted.rate, 1)
        for number in range(wanted.rounds):
            wait_until(lambda: not service.trainers(), "the end of the training process")
            idle += measure(service.port, wanted.rate, wanted.seconds)
            job_id = service.submit(f"job {number}", settings=LARGE, promote="never")
            wait_until(lambda: service.http.get(f"/train/{job_id}").json()["current"], "the training")  # noqa: B023
            busy += measure(service.port, wanted.rate, wanted.seconds)
            service.http.delete(f"/train/{job_id}")
        service.stop()
    print("| | predictions | median ms | p95 ms | p99 ms |\n|---|---|---|---|---|")
    for name, took in (("without a job", idle), ("while a job trains", busy)):
        figures = " | ".join(f"{value:.2f}" for value in np.percentile(took, [50, 95, 99]))
        print(f"| {name} | {len(took):,} | {figures} |")
    ratio = float(np.percentile(busy, 99) / np.percentile(idle, 99))
    print(f"p99 while a job trains is {ratio:.2f} times that without; at most {BOUND} is wanted")
    raise SystemExit(ratio > BOUND)


if __name__ == "__main__":
    main()
