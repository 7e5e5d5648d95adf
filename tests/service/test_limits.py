"""Who is let in, and that whoever leaves makes room: places, requests on their way, and bytes of bodies."""

import asyncio
from pathlib import Path

import pytest

from service.api.auth import Authorizer
from service.api.keys import Keys
from service.api.limits import ConcurrencyLimiter
from service.api.middleware import RequestMiddleware
from service.errors import Unavailable
from service.observability.metrics import Metrics
from service.registry.store import open_store
from service.settings import Settings


async def test_requests_on_their_way_are_counted_until_they_have_come() -> None:
    limiter = ConcurrencyLimiter(1, 1)
    loop = asyncio.get_running_loop()
    limiter.note_pending(loop)
    assert not limiter.is_full
    limiter.note_pending(loop)
    assert limiter.is_full
    await asyncio.sleep(0)
    assert not limiter.is_full


async def test_places_are_held_until_they_are_left() -> None:
    limiter = ConcurrencyLimiter(1, 1)
    async with limiter.slot() as place:
        second = asyncio.create_task(enter(limiter))
        await asyncio.sleep(0)
        assert limiter.is_full
        with pytest.raises(Unavailable):
            await enter(limiter)
        place.release()
        await second
        assert not limiter.is_full
    place.release()  # once counts
    assert not limiter.is_full


async def enter(limiter: ConcurrencyLimiter) -> None:
    async with limiter.slot():
        pass


class Client:
    """Sends a body in pieces to an ASGI application, and leaves in the middle if told so."""

    def __init__(self, pieces: list[bytes], *, leaves: bool = False) -> None:
        self.pieces, self.leaves, self.status = pieces, leaves, 0

    async def receive(self) -> dict[str, object]:
        if not self.pieces:
            return {"type": "http.disconnect"}
        piece = self.pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces) or self.leaves}

    async def send(self, message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            self.status = int(str(message["status"]))


@pytest.mark.parametrize(
    ("pieces", "leaves", "declared", "status"),
    [
        ([b"a" * 60, b"b" * 30], False, 90, 200),
        ([b"a" * 60, b"b" * 60], False, 0, 413),
        ([b"a" * 60], True, 90, 0),
        ([b"a" * 60], False, 90, 400),
        ([b"raise"], False, 5, 500),
    ],
)
async def test_bytes_of_bodies_are_let_go_however_a_request_ends(
    pieces: list[bytes], leaves: bool, declared: int, status: int, tmp_path: Path
) -> None:
    held = []

    async def app(_scope, receive, send):  # type: ignore[no-untyped-def]
        held.append(limiter.buffered_bytes)
        if (await receive())["body"] == b"raise":
            raise ZeroDivisionError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    limiter, keys = ConcurrencyLimiter(1, 1), Keys(open_store(str(tmp_path)))
    authorizer = Authorizer(keys, Settings())
    authorizer.refresh()
    edge = RequestMiddleware(app, Metrics(), authorizer, limiter, (("", 100),), 60.0, False, None)
    headers = [(b"host", b"localhost"), (b"content-length", str(declared).encode())]
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers, "query_string": b""}
    client, total = Client(pieces, leaves=leaves), sum(map(len, pieces))
    await edge(scope, client.receive, client.send)  # type: ignore[arg-type]
    assert client.status == status
    assert held == ([total] if status in (200, 500) else [])
    assert limiter.buffered_bytes == 0
