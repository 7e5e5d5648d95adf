"""Batches of large pictures from many clients at once: how many are answered, and what is decoded for nobody.

    python -m benchmarks.batches [--clients 8] [--images 64] [--side 2000] [--seconds 10]

A real service, and clients that send one batch each at the same moment. Wasted are the seconds of CPU time that the
service spends after the last answer, and the pictures that were decoded though their batch was not answered.
"""

import argparse
import io
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from PIL import Image

from benchmarks.disturbed import Service, wait_until
from training.data import load_dataset


def cpu_seconds(pid: int) -> float:
    """Read the CPU time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def metric(service: Service, name: str) -> int:
    """Read a metric without labels; 0 where there is none."""
    lines = service.http.get("/metrics").text.splitlines()
    return next((int(float(line.split()[1])) for line in lines if line.split()[0] == name), 0)


def is_quiet(pid: int) -> bool:
    """Tell whether the process does next to nothing for half a second."""
    before = cpu_seconds(pid)
    time.sleep(0.5)
    return cpu_seconds(pid) - before < 0.1


def main() -> None:
    """Print what became of the batches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--side", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=10, help="The service's REQUEST_SECONDS.")
    wanted = parser.parse_args()
    file, size = io.BytesIO(), (wanted.side, wanted.side)
    Image.fromarray(load_dataset("starter").train.images[0]).resize(size, Image.Resampling.NEAREST).save(file, "PNG")
    batch = [("file", ("x.png", file.getvalue()))] * wanted.images
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "home", request_seconds=str(wanted.seconds))
        wait_until(service.is_ready, "the service")

        def ask(_: int) -> tuple[int, float]:
            began = time.perf_counter()
            answer = httpx.post(f"http://127.0.0.1:{service.port}/predict", files=batch, timeout=120)
            return answer.status_code, time.perf_counter() - began

        with ThreadPoolExecutor(wanted.clients) as clients:
            answers = list(clients.map(ask, range(wanted.clients)))
        at_end = cpu_seconds(service.process.pid)
        wait_until(lambda: is_quiet(service.process.pid), "rest")
        wasted = cpu_seconds(service.process.pid) - at_end
        counts = Counter(status for status, _ in answers)
        refused = sorted(seconds for status, seconds in answers if status != 200)
        unasked = max(0, metric(service, "glyphserve_images_decoded_total") - counts[200] * wanted.images)
        service.stop()
    print(f"answered {counts[200]} of {wanted.clients}, refused {len(refused)}", end="")
    print(f" after {refused[0]:.2f} to {refused[-1]:.2f} s" if refused else "")
    print(f"decoded for nobody: {unasked} pictures; {wasted:.2f} s of CPU time after the last answer")


if __name__ == "__main__":
    main()
