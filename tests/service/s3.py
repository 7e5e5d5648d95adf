"""A real S3 server over HTTP (moto's, a process of its own), and a line to it that can be cut."""

import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

BUCKET = "glyphserve"


def moto_command() -> str | None:
    """Find moto's server. It has an environment of its own: botocore wants older packages than we use."""
    return os.environ.get("GLYPHSERVE_MOTO_SERVER") or shutil.which("moto_server")


class S3Server:
    """moto's S3 server with one bucket."""

    def __init__(self, command: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self.process = subprocess.Popen(
            [command, "-H", "127.0.0.1", "-p", str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while True:
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{BUCKET}", method="PUT")
            try:
                urllib.request.urlopen(request, timeout=60).close()  # noqa: S310 -- our own server
                return
            except urllib.error.URLError:
                assert time.monotonic() < deadline
                assert self.process.poll() is None, "moto's server did not start"
                time.sleep(0.1)

    def environment(self, port: int | None = None) -> dict[str, str]:
        """The variables by which a process finds this server, as docs/how-to/s3.md explains them."""
        return {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
        }

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def fresh_location() -> str:
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    command = moto_command()
    if command is None:
        pytest.skip("needs moto's server: set GLYPHSERVE_MOTO_SERVER, as .ci/run does")
    server = S3Server(command)
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, known to this process."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_server


class Line:
    """A line to a server that can be cut, or made to lose answers."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.is_cut = False
        self.lose_next_answer = False
        self.lost = 0
        self._open: list[socket.socket] = []
        self._carriers: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def cut(self) -> None:
        self.is_cut = True
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self.is_cut = False

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        self.cut()
        for thread in self._carriers:
            thread.join()
        for end in self._open:
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self.is_cut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._target))
                self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    carrier = threading.Thread(target=self._carry, args=(source, target, source is far), daemon=True)
                    self._carriers.append(carrier)
                    carrier.start()

    def _carry(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                if is_answer and self.lose_next_answer:
                    self.lose_next_answer = False
                    self.lost += 1
                    break
                target.sendall(content)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def line_to(server: S3Server) -> Iterator[Line]:
    line = Line(server.port)
    yield line
    line.close()
