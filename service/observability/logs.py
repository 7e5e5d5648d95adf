"""Logging configuration: one format, text or JSON, for our own loggers, uvicorn and DBOS.

Every line carries the id of its request or job. A message may contain text from a caller, so control characters and
line breaks are escaped.
"""

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from service.observability.log_handler import BackgroundHandler
from service.observability.tracing import log_context

_ACCESS = logging.getLogger("service.access_log")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_INDENT = "\n    | "


def configure(log_format: Literal["text", "json"], level: str) -> None:
    """Configure logging to standard error."""
    handler = BackgroundHandler(sys.stderr.fileno())
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It logs a warning for every malformed part of a form, so that a client could fill the log.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    dbos = logging.getLogger("dbos")
    dbos.handlers[:] = [handler]  # DBOS installs its own handler and format
    dbos.propagate = False
    dbos.setLevel(logging.WARNING)
    dbos.addFilter(_is_not_cancellation)


def log_access(method: str, route: str, status: int, seconds: float, request_id: str) -> None:
    """Log a request by its route template. The path is not logged: it is text from the caller."""
    level = logging.ERROR if status >= 500 else logging.INFO
    fields = {"method": method, "route": route, "status": status, "seconds": round(seconds, 6)}
    if "request_id" not in log_context():
        fields["request_id"] = request_id
    _ACCESS.log(level, "%s %s %d in %.1f ms", method, route, status, seconds * 1e3, extra={"fields": fields})


def _is_not_cancellation(record: logging.LogRecord) -> bool:
    """Filter out the traceback that DBOS logs for a job that is cancelled while it starts."""
    kind = record.exc_info[0] if record.exc_info else None
    return (
        kind is None or kind.__name__ != "DBOSAwaitedWorkflowCancelledError"
    )  # compared by name: not every process imports DBOS


class _TextFormatter(logging.Formatter):
    """One line per record; tracebacks follow, indented."""

    def format(self, record: logging.LogRecord) -> str:
        context = {**log_context(), **_names(getattr(record, "fields", {}))}
        about = "".join(f" {name}={value}" for name, value in context.items())
        line = f"{_time(record)} {record.levelname:<7} {record.name}:{about} {_escape_controls(record.getMessage())}"
        trace = self.formatException(record.exc_info).splitlines() if record.exc_info else []
        return _INDENT.join([line, *map(_escape_controls, trace)])


class _JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **log_context(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(_replace_surrogates(line)).decode()


def _names(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name == "request_id"}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escape_controls(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def _replace_surrogates(line: dict[str, Any]) -> dict[str, Any]:
    """Replace lone surrogates, which JSON cannot represent."""
    return {
        name: value.encode(errors="replace").decode() if isinstance(value, str) else value
        for name, value in line.items()
    }
