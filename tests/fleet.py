"""A fleet as docker-compose.scale.yml describes it, its clients, and a load on its proxy."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.composing import ROOT, Composed
from tests.service.conftest import png, wait_until
from training.data import load_dataset

FILES = ("docker-compose.yml", "docker-compose.scale.yml")
SUBNET = "10.213.8"
PREVIOUS, PRESENT = "glyphserve:previous", "glyphserve:latest"
CLIENTS = 6


def tell(text: str) -> None:
    """Print a figure, for who runs this with -s."""
    sys.stdout.write(f"\n{text}")


class Fleet(Composed):
    """The composed services, with clients for the proxy, for each replica, and for Prometheus."""

    def __init__(self, secrets: Path) -> None:
        proxy, prometheus = free_port(), free_port()
        variables = {
            "GLYPHSERVE_SUBNET": SUBNET,
            "GLYPHSERVE_PUBLISH": f"127.0.0.1:{proxy}",
            "PROMETHEUS_PUBLISH": f"127.0.0.1:{prometheus}",
            "GLYPHSERVE_SECRETS": str(secrets),
            "GLYPHSERVE_IMAGE": PRESENT,
        }
        super().__init__("glyphserve-scale", FILES, variables)
        self.port = proxy
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{proxy}", timeout=60)
        self.prometheus = httpx.Client(base_url=f"http://127.0.0.1:{prometheus}", timeout=60)
        self.replicas = [httpx.Client(base_url=f"http://{SUBNET}.{n}:8000", timeout=2) for n in (11, 12, 13)]

    def version_of(self, replica: httpx.Client) -> int | None:
        """Tell which version a replica serves; None while it does not answer."""
        try:
            answer = replica.get("/health/ready")
        except httpx.TransportError:
            return None
        return int(answer.json()["version"]) if answer.status_code == 200 else None

    def wait_for(self, *replicas: httpx.Client) -> None:
        wait_until(lambda: all(self.version_of(replica) for replica in replicas), "replicas")

    def wait_for_all(self, version: int) -> None:
        wait_until(lambda: {self.version_of(replica) for replica in self.replicas} == {version}, "a swap")

    def wait_for_restart(self, service: str) -> None:
        wait_until(lambda: int(self.inspected(service, "{{.RestartCount}}")) > 0, "the restart")

    def measured(self, query: str) -> bool:
        """Tell whether Prometheus has a number for a query."""
        answer = self.prometheus.get("/api/v1/query", params={"query": query})
        assert answer.status_code == 200, f"{query}: {answer.text}"
        return any(series["value"][1] != "NaN" for series in answer.json()["data"]["result"])

    def close(self) -> None:
        for client in (self.http, self.prometheus, *self.replicas):
            client.close()

    def roll(self) -> None:
        """Upgrade as the documentation says."""
        command = [str(ROOT / "deploy" / "roll"), "--project-name", self.project]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | self.variables)
        assert done.returncode == 0, done.stdout + done.stderr

    def finished(self, job: dict[str, Any]) -> dict[str, Any]:
        path = f"/train/{job['id']}"
        return dict(wait_until(lambda: j if (j := self.http.get(path).json()).get("finished") else None, "a job's end"))


class Load:
    """Clients that ask for predictions through the proxy, each request once, until they are told to stop."""

    def __init__(self, port: int) -> None:
        digits = load_dataset("starter").train
        self._asked = [(png(digits.images[n]), digits.labels[n]) for n in range(0, 5000, 250)]
        self._port, self._stop = port, threading.Event()
        self.outcomes: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self.threads:
            thread.join()

    def _ask(self, turn: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        headers = {"Content-Type": "image/png"}
        while not self._stop.is_set():
            turn += 1
            picture, label = self._asked[turn % len(self._asked)]
            started = time.perf_counter()
            try:
                connection.request("POST", "/predict", picture, headers)
                answer = connection.getresponse()
                body = answer.read()
                right = answer.status == 200 and json.loads(body)["label"] == str(label)
                self.outcomes["right" if right else f"{answer.status} {body[:200]!r}"] += 1
            except (OSError, http.client.HTTPException) as error:
                self.outcomes[f"lost: {type(error).__name__}"] += 1
                connection.close()
            self.seconds.append(time.perf_counter() - started)
        connection.close()

    def told(self, what: str) -> str:
        p50, p99 = np.percentile(self.seconds, [50, 99]) * 1e3
        failed = self.outcomes.total() - self.outcomes["right"]
        return (
            f"{what}: {self.outcomes.total():,} requests, {failed} failed; "
            f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {max(self.seconds):.2f} s"
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
