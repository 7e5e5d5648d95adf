"""Sends hostile inputs to a server and judges the answers: status, shape, time; and what the process holds."""

import json
import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from tests.hostile.request import CLOSED, Hostile

PATIENCE_SECONDS = 60.0
_SLOW_AT_ONCE = 16
_DOCUMENTED = (501, 503, 507)
_MEMBERS = {"type": str, "title": str, "status": int, "detail": str, "code": str, "error": str, "request_id": str}
_SECRETS = ("Traceback", "site-packages", "/service/", "/training/", "/home/", "/tmp/", "object at 0x", ".py")  # noqa: S108


@dataclass(frozen=True)
class Outcome:
    """What came of one input."""

    hostile: Hostile
    status: int
    seconds: float
    """From the last byte sent, or the first that the server would not take, to the end of the answer."""
    complaint: str
    """Empty when all is as it should be."""


def ask(port: int, hostile: Hostile) -> Outcome:
    """Send one input over a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):  # when it has heard enough, its answer may still be read
            connection.sendall(hostile.sent)
        started = time.perf_counter()
        answer = HTTPResponse(connection, method=hostile.sent[:5].decode("latin-1").strip())
        try:
            answer.begin()
            body = answer.read()
        except TimeoutError:
            return Outcome(hostile, CLOSED, PATIENCE_SECONDS, "no answer")
        except (HTTPException, OSError) as error:
            seconds = time.perf_counter() - started
            return Outcome(hostile, CLOSED, seconds, "" if CLOSED in hostile.statuses else f"closed: {error!r}")
        seconds = time.perf_counter() - started
        return Outcome(hostile, answer.status, seconds, _complaint(hostile, answer, body))


def _complaint(hostile: Hostile, answer: HTTPResponse, body: bytes) -> str:
    if answer.status >= 500 and answer.status not in _DOCUMENTED:
        return f"{answer.status}: {body[:300]!r}"
    if answer.status not in hostile.statuses:
        return f"{answer.status} instead of {sorted(hostile.statuses)}: {body[:300]!r}"
    if answer.status < 400 or hostile.sent.startswith(b"HEAD "):
        return ""
    return shape_of(answer.status, dict(answer.getheaders()), body)


def shape_of(status: int, headers: dict[str, str], body: bytes) -> str:
    """Say what is wrong with the shape of an error; nothing when it is the one shape."""
    found = {name.lower(): value for name, value in headers.items()}
    if found.get("content-type") not in ("application/problem+json", "application/json"):
        return f"{status} of the type {found.get('content-type')}"
    try:
        problem = json.loads(body)
    except ValueError:
        return f"{status} with a body that is no JSON: {body[:200]!r}"
    if not all(type(problem.get(name)) is kind for name, kind in _MEMBERS.items()):
        return f"{status} in another shape: {body[:200]!r}"
    if problem["status"] != status or problem["error"] != problem["detail"]:
        return f"{status} that contradicts itself: {body[:200]!r}"
    if found.get("x-request-id") != problem["request_id"]:
        return f"{status} whose header names another request"
    told = [secret for secret in _SECRETS if secret in body.decode(errors="replace")]
    if told:
        return f"{status} tells {told}: {body[:300]!r}"
    if status in (429, 503) and "retry-after" not in found:
        return f"{status} without Retry-After"
    return "" if status != 405 or "allow" in found else "405 without Allow"


def ask_all(port: int, inputs: Iterable[Hostile]) -> list[Outcome]:
    """Send all: one after the other, but those that the server must wait for together."""
    given = list(inputs)
    with ThreadPoolExecutor(_SLOW_AT_ONCE) as pool:
        waiting = pool.map(lambda hostile: ask(port, hostile), [hostile for hostile in given if hostile.waits])
        slow = list(waiting)
    return [ask(port, hostile) for hostile in given if not hostile.waits] + slow


def memory_kib(pid: int, entry: str = "VmRSS") -> int:
    """Read what a process holds (VmRSS), or the most that it ever did (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(entry)).split()[1])


def forget_peak(pid: int) -> None:
    """Let VmHWM begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
