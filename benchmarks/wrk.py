"""Load by `wrk`: a picture in its form, so many clients, every answer checked."""

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from benchmarks.servers.started import Server

SCRIPT = """
local bad = 0
wrk.method = "POST"
wrk.body = "%(body)s"
wrk.headers["Content-Type"] = "%(kind)s"
function setup(thread) threads = threads or {}; table.insert(threads, thread) end
function response(status, headers, body)
  if status ~= 200 or not string.find(body, '%(expected)s', 1, true) then bad = bad + 1; wrong = bad end
end
function done(summary, latency, requests)
  local wrong = 0
  for _, thread in ipairs(threads) do wrong = wrong + (thread:get("wrong") or 0) end
  io.write(string.format('{"requests": %%d, "micro": %%d, "p50": %%f, "p99": %%f, "wrong": %%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    wrong + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""
_BOUNDARY = "----glyphserve"


class Measured(NamedTuple):
    """Figures of one load."""

    rate: float
    """Requests a second."""
    cpu: float
    """Microseconds of CPU a request."""
    p50: float
    p99: float
    """Milliseconds."""
    wrong: float
    """Answers that were none, or named another digit."""


Form = tuple[str, int, str, bytes, str]
"""Picture, clients, content type, body, and what a right answer must contain."""


class Load(NamedTuple):
    """A server under a form of load."""

    server: "Server"
    picture: str
    clients: int
    kind: str
    body: bytes
    expected: str

    def run(self, seconds: float, folder: Path) -> Measured:
        """Send for so long."""
        script = folder / "load.lua"
        body = "".join(f"\\{byte:03d}" for byte in self.body)
        script.write_text(SCRIPT % {"body": body, "kind": self.kind, "expected": self.expected})
        if not shutil.which("wrk"):
            sys.exit("wrk is needed: apt-get install wrk")
        command = [
            "taskset",
            "--cpu-list",
            "1",
            "wrk",
            "-t1",
            f"-c{self.clients}",
            f"-d{seconds:g}s",
            "-s",
            str(script),
        ]
        before = self.server.cpu_seconds()
        done = subprocess.run([*command, self.server.url], capture_output=True, text=True, check=True)
        used = self.server.cpu_seconds() - before
        found = re.search(r"^\{.*\}$", done.stdout, re.M)
        assert found, done.stdout + done.stderr
        figures = json.loads(found[0])
        requests = max(1, figures["requests"])
        rate = requests / figures["micro"] * 1e6
        return Measured(rate, used / requests * 1e6, figures["p50"] / 1e3, figures["p99"] / 1e3, figures["wrong"])


def forms(pictures: dict[str, tuple[np.ndarray, str]]) -> Iterator[Form]:
    """List the loads: the plain picture for 32 clients and for one, then others."""
    gray, label = pictures["digit"]
    plain = saved(gray, "PNG")
    pixels = (gray.reshape(1, 784) / 255).round(4)
    tensor = {"name": "x", "shape": [1, 784], "datatype": "FP32", "data": pixels.ravel().tolist()}
    for clients in (32, 1):
        yield "PNG 28×28", clients, *multipart(plain), f'"{label}"'
        yield "tensor", clients, "application/json", json.dumps({"inputs": [tensor]}).encode(), f'"{label}"'
    for name, content in (
        ("JPEG 28×28", saved(gray, "JPEG")),
        ("PNG 112×112", saved(enlarged(gray, 4), "PNG")),
        ("JPEG 280×280", saved(enlarged(gray, 10), "JPEG")),
    ):
        yield name, 32, *multipart(content), '"label"'


def saved(gray: np.ndarray, kind: str) -> bytes:
    """Encode a picture."""
    file = io.BytesIO()
    Image.fromarray(gray).save(file, kind)
    return file.getvalue()


def enlarged(gray: np.ndarray, times: int) -> np.ndarray:
    """Make a picture larger."""
    side = 28 * times
    return np.asarray(Image.fromarray(gray).resize((side, side), Image.Resampling.BICUBIC))


def multipart(content: bytes) -> tuple[str, bytes]:
    """Write a form with one file, as browsers and curl do: (content type, body)."""
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="digit.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    )
    return f"multipart/form-data; boundary={_BOUNDARY}", head.encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
