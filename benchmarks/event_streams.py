"""Predictions beside the event streams of a running job: their times with and without subscribers.

    python -m benchmarks.event_streams [--reading 100] [--stalled 400] [--rounds 4] [--seconds 5] [--rate 50]

A real service with its worker, which trains without pause. Some subscribers read, the others never do. Rounds with
and without subscribers take turns. Afterwards every reading subscriber must have got events, and all streams must be
closed.
"""

import argparse
import multiprocessing
import selectors
import socket
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmarks.disturbed import Service, wait_until
from benchmarks.training_beside_serving import measure

BOUND = 2.0
SMALL = {"epochs": 100_000, "layers": [784, 16, 10]}


def subscribe(port: int, job_id: str, reading: int, stalled: int, pipe: Connection) -> None:
    """Open streams, say so, and read some of them until told to end; then send how many of these had events."""
    request = f"GET /train/{job_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    selector, idle, events = selectors.DefaultSelector(), [], {}
    for number in range(reading + stalled):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(request)
        if number < stalled:
            idle.append(connection)
        else:
            selector.register(connection, selectors.EVENT_READ)
            events[connection] = 0
    pipe.send("open")
    while not pipe.poll():
        for key, _ in selector.select(timeout=0.1):
            content = key.fileobj.recv(65_536)  # type: ignore[union-attr]
            events[key.fileobj] += content.count(b"event:")  # type: ignore[index]
            if not content:
                selector.unregister(key.fileobj)
    pipe.send(sum(count > 1 for count in events.values()))
    for connection in [*idle, *events]:
        connection.close()


def main() -> None:
    """Print the table, and fail beyond the bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reading", type=int, default=100)
    parser.add_argument("--stalled", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float, default=50)
    wanted = parser.parse_args()
    without, beside, had_events = list[float](), list[float](), list[int]()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "home")
        wait_until(service.is_ready, "the service")
        job_id = service.submit("job", settings=SMALL, promote="never")
        wait_until(lambda: service.http.get(f"/train/{job_id}").json()["epoch"], "the training")
        measure(service.port, wanted.rate, 1)
        for _ in range(wanted.rounds):
            without += measure(service.port, wanted.rate, wanted.seconds)
            ours, theirs = multiprocessing.Pipe()
            arguments = (service.port, job_id, wanted.reading, wanted.stalled, theirs)
            subscribers = multiprocessing.Process(target=subscribe, args=arguments)
            subscribers.start()
            ours.recv()
            wait_until(lambda: _streams(service) == wanted.reading + wanted.stalled, "all streams")
            beside += measure(service.port, wanted.rate, wanted.seconds)
            ours.send("end")
            had_events.append(ours.recv())
            subscribers.join()
            wait_until(lambda: _streams(service) == 0, "the end of all streams")
        service.http.delete(f"/train/{job_id}")
        service.stop()
    print("| | predictions | median ms | p95 ms | p99 ms |\n|---|---|---|---|---|")
    for name, took in (("without subscribers", without), (f"{wanted.reading} + {wanted.stalled} subscribers", beside)):
        figures = " | ".join(f"{value:.2f}" for value in np.percentile(took, [50, 95, 99]))
        print(f"| {name} | {len(took):,} | {figures} |")
    ratio = float(np.percentile(beside, 99) / np.percentile(without, 99))
    print(f"{min(had_events)} of {wanted.reading} reading subscribers had events in every round")
    print(f"p99 beside subscribers is {ratio:.2f} times that without; at most {BOUND:g} is wanted")
    raise SystemExit(ratio > BOUND or min(had_events) < wanted.reading)


def _streams(service: Service) -> int:
    lines = service.http.get("/metrics").text.splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith("glyphserve_event_streams "))))


if __name__ == "__main__":
    main()
