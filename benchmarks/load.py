"""Clients that ask for predictions without pause over raw sockets, and check each answer."""

import asyncio
import json
import time
from collections import Counter
from typing import Any, cast

PICTURES = 16


class Load:
    """Clients that ask without pause, each on its own connection, and what came of it."""

    def __init__(self, bodies: list[bytes], expected: dict[tuple[int, int], Any]) -> None:
        """Ask with `bodies`; `expected` gives the answer by version and picture."""
        head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
        self.requests = [
            head + b"X-Request-ID: load-%d\r\nContent-Length: %d\r\n\r\n" % (number, len(body)) + body
            for number, body in enumerate(bodies)
        ]
        self.expected = expected
        self.known: set[tuple[int, int, bytes]] = set()
        """Bodies that were compared already."""
        self.running = False
        self.seconds: list[float] = []
        self.outcomes: Counter[str] = Counter()
        self.versions: Counter[int] = Counter()
        self.answered = 0
        self._awaited: list[tuple[int, asyncio.Event]] = []
        self.connections: list[Client] = []

    async def connect(self, port: int, clients: int) -> None:
        """Open the connections."""
        loop = asyncio.get_running_loop()
        for number in range(clients):
            _, client = await loop.create_connection(lambda number=number: Client(self, number), "127.0.0.1", port)
            self.connections.append(client)

    def start(self) -> None:
        """Let all clients ask."""
        self.running, self.seconds = True, []
        for client in self.connections:
            client.ask()

    async def stop(self) -> list[float]:
        """Let the last answers come, and give the seconds that each answer took."""
        self.running = False
        await asyncio.gather(*(client.idle.wait() for client in self.connections))
        return self.seconds

    async def after(self, answers: int) -> None:
        """Wait for so many more answers."""
        event = asyncio.Event()
        self._awaited.append((self.answered + answers, event))
        await event.wait()

    def take(self, picture: int, head: bytes, body: bytes, seconds: float) -> None:
        """Count an answer and hold it against what its version answers."""
        self.answered += 1
        self.seconds.append(seconds)
        self.outcomes[self._judge(picture, head, body)] += 1
        for count, event in self._awaited:
            if self.answered >= count:
                event.set()
        self._awaited = [(count, event) for count, event in self._awaited if not event.is_set()]

    def _judge(self, picture: int, head: bytes, body: bytes) -> str:
        if not head.startswith(b"HTTP/1.1 200 "):
            return head.partition(b"\r\n")[0].decode()
        version = int(head.lower().partition(b"\r\nx-model-version:")[2].partition(b"\r\n")[0])
        self.versions[version] += 1
        if (version, picture, body) not in self.known:
            answer = json.loads(body)
            if answer["version"] != version or probabilities(answer) != self.expected[version, picture]:
                return "not what its version answers"
            self.known.add((version, picture, body))
        return "right"


class Client(asyncio.Protocol):
    """One connection with one request in flight."""

    def __init__(self, load: Load, number: int) -> None:
        """Begin with another picture than the others do."""
        self._load, self._picture, self._sent = load, number % PICTURES, 0.0
        self._received = b""
        self.idle = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to write."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own type
        self.idle.set()

    def ask(self) -> None:
        """Send the next request."""
        self.idle.clear()
        self._picture = (self._picture + 1) % PICTURES
        self._sent = time.perf_counter()
        self._transport.write(self._load.requests[self._picture])

    def data_received(self, data: bytes) -> None:
        """Collect an answer; then ask again, unless the round is over."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self._received = b""
        self._load.take(self._picture, head, body, time.perf_counter() - self._sent)
        if self._load.running:
            self.ask()
        else:
            self.idle.set()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 -- any reason is a failure
        """Count a request that was in flight as failed."""
        if not self.idle.is_set():
            self._load.outcomes["connection lost"] += 1
            self._load.running = False
            self.idle.set()


def probabilities(answer: dict[str, Any]) -> Any:
    """Give what must be equal bit for bit: JSON keeps every bit of a float."""
    return answer["label"], answer["confidence"], answer["probabilities"]
