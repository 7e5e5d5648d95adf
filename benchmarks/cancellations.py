"""How soon a cancelled job's training process is gone, and whether the job stays cancelled.

    python -m benchmarks.cancellations [--rounds 20]

The figure is the time from the request until the process is gone; two seconds are allowed.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.disturbed import Service, wait_until

LONG = {"epochs": 100_000, "layers": [784, 256, 128, 10]}


def cancelled_after(service: Service, key: str) -> float:
    """Train, cancel in the midst of it, and give the seconds from the request until the process is gone."""
    job = service.submit(key, settings=LONG, promote="never")
    wait_until(lambda: service.http.get(f"/train/{job}").json()["epoch"], "an epoch")
    began = time.monotonic()
    service.http.delete(f"/train/{job}").raise_for_status()
    wait_until(lambda: not service.trainers(), "its process to end")
    ended = time.monotonic()
    wait_until(lambda: service.http.get(f"/train/{job}").json()["state"] == "cancelled", "its state")
    return ended - began


def main() -> None:
    """Cancel one job after the other and print how long each went on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder, "home"))
        try:
            took = [cancelled_after(service, str(number)) for number in range(given.rounds)]
            states = {service.http.get(f"/train/{job}").json()["state"] for job in service.acknowledged}
        finally:
            service.stop()
    print(f"{len(took)} cancelled: gone after {statistics.median(took):.2f} s, {max(took):.2f} at worst (goal 2)")
    sys.exit(states != {"cancelled"} or max(took) > 2)


if __name__ == "__main__":
    main()
