"""Log lines: one format for our own, uvicorn's and DBOS's, for people or as JSON, each with its request or job.

What a caller sent may be in a text. It never begins a line of its own, and control characters are written as `\\x1b`.
"""

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from service.observability.log_handler import BackgroundHandler
from service.observability.tracing import belonging

_ACCESS = logging.getLogger("service.access_log")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_INDENT = "\n    | "


def configure(log_format: Literal["text", "json"], level: str) -> None:
    """Set up the log of this process, on standard error."""
    handler = BackgroundHandler(sys.stderr.fileno())
    handler.setFormatter(_Json() if log_format == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It warns of each part of a form that is malformed: who sends those could fill the log. The client is told.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    dbos = logging.getLogger("dbos")
    dbos.handlers[:] = [handler]  # else it brings a handler and a format of its own
    dbos.propagate = False
    dbos.setLevel(logging.WARNING)
    dbos.addFilter(_is_no_cancellation)


def log_access(method: str, route: str, status: int, seconds: float, request_id: str) -> None:
    """Write one line about a request: by its route, since a path is the caller's text and may hold anything."""
    level = logging.ERROR if status >= 500 else logging.INFO
    fields = {"method": method, "route": route, "status": status, "seconds": round(seconds, 6)}
    if "request_id" not in belonging():
        fields["request_id"] = request_id
    _ACCESS.log(level, "%s %s %d in %.1f ms", method, route, status, seconds * 1e3, extra={"fields": fields})


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Leave out the traceback that DBOS writes when a job is cancelled in the moment in which it begins."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or kind.__name__ != "DBOSAwaitedWorkflowCancelledError"  # by name: not all processes have DBOS


class _Text(logging.Formatter):
    """For people."""

    def format(self, record: logging.LogRecord) -> str:
        belongs = {**belonging(), **_names(getattr(record, "fields", {}))}
        about = "".join(f" {name}={value}" for name, value in belongs.items())
        line = f"{_time(record)} {record.levelname:<7} {record.name}:{about} {_visible(record.getMessage())}"
        trace = self.formatException(record.exc_info).splitlines() if record.exc_info else []
        return _INDENT.join([line, *map(_visible, trace)])


class _Json(logging.Formatter):
    """For programs: one object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **belonging(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(_writable(line)).decode()


def _names(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name == "request_id"}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _visible(text: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _writable(line: dict[str, Any]) -> dict[str, Any]:
    """Replace lone surrogates, which JSON cannot hold."""
    return {
        name: value.encode(errors="replace").decode() if isinstance(value, str) else value
        for name, value in line.items()
    }
