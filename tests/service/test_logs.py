"""Log lines, and that nothing a caller sends can forge one."""

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.observability.log_handler import BackgroundHandler
from service.observability.logs import configure, log_access
from service.observability.tracing import bound_log_context
from tests.service.conftest import png, running_server, wait_until
from tests.service.processes import apis_of
from tests.service.test_tracing import GIVEN, TRACE
from training import Dataset


@pytest.fixture
def restored() -> Iterator[None]:
    root, dbos = logging.getLogger(), logging.getLogger("dbos")
    before = root.level, root.handlers[:], dbos.handlers[:], dbos.propagate, dbos.level
    yield
    root.setLevel(before[0])
    root.handlers[:], dbos.handlers[:], dbos.propagate = before[1], before[2], before[3]
    dbos.setLevel(before[4])


def logged(capfd: pytest.CaptureFixture[str]) -> str:
    for handler in logging.getLogger().handlers:
        handler.flush()
    return capfd.readouterr().err


def written(log_format: Any, text: str) -> str:
    """Let a formatter write a text that came from somebody else, as a message and in an exception."""
    configure(log_format, "info")
    (handler,) = logging.getLogger().handlers
    try:
        raise ValueError(text)
    except ValueError:
        record = logging.LogRecord("service.x", logging.ERROR, __file__, 1, "got %s", (text,), sys.exc_info())
    return handler.format(record)


@given(
    st.text(max_size=60) | st.sampled_from(["a\n2026-11-21 ERROR forged", "\r\n{}", "\x1b[2Jx", "\u2028y", "\ud800"])
)
def test_a_text_is_one_line_for_people_and_one_object_for_programs(text: str) -> None:
    lines = written("text", text).splitlines()
    assert lines[0].endswith(lines[0].partition(" got ")[2])
    assert all(line.startswith("    | ") for line in lines[1:])
    assert all(character.isprintable() or ord(character) > 159 for line in lines for character in line)
    line = written("json", text)
    assert len(line.splitlines()) == 1 or not {"\n", "\r"} & set(line)
    said = json.loads(line)
    assert said["message"] == "got " + text.encode(errors="replace").decode()
    assert (said["level"], said["logger"]) == ("error", "service.x")
    assert "ValueError" in said["exception"]


pytestmark = pytest.mark.usefixtures("restored")


def test_a_job_that_is_cancelled_as_it_begins_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    from dbos._error import DBOSAwaitedWorkflowCancelledError

    configure("text", "info")
    dbos = logging.getLogger("dbos")
    dbos.error("Exception encountered in background workflow:", exc_info=DBOSAwaitedWorkflowCancelledError("job-1"))
    dbos.error("another", exc_info=ValueError("true"))
    dbos.error("and one without")
    written = logged(capfd)
    assert "Cancelled" not in written
    assert "ValueError: true" in written
    assert "and one without" in written


def test_a_line_tells_what_the_work_belongs_to(capfd: pytest.CaptureFixture[str]) -> None:
    configure("json", "info")
    with bound_log_context(job="job-1"):
        logging.getLogger("service.anything").info("half way")
    log_access("POST", "/predict", 503, 0.25, "abc")
    logging.getLogger("dbos").warning("from there")
    logging.getLogger("uvicorn.error").warning("and there")
    half, access, dbos, uvicorn = map(json.loads, logged(capfd).splitlines())
    assert (half["job"], half["message"]) == ("job-1", "half way")
    assert {name: access[name] for name in ("level", "route", "status", "seconds", "request_id")} == {
        "level": "error",
        "route": "/predict",
        "status": 503,
        "seconds": 0.25,
        "request_id": "abc",
    }
    assert (dbos["logger"], uvicorn["logger"]) == ("dbos", "uvicorn.error")
    configure("text", "info")
    with bound_log_context(request_id="r-1"):
        logging.getLogger("service.anything").info("half way")
    assert "INFO    service.anything: request_id=r-1 half way" in logged(capfd)


def test_a_log_that_nobody_reads_holds_nobody_up_and_says_how_many_lines_are_missing() -> None:
    reading, writing = os.pipe()
    log, count = logging.Logger("unread"), 15_000
    log.addHandler(handler := BackgroundHandler(writing))
    for number in range(count):
        log.warning("line %05d of a log, which is long enough to fill the pipe", number)
    with os.fdopen(reading) as pipe:
        lines = [pipe.readline()]
        log.warning("the last line")  # there is room now, or soon
        while "dropped" not in lines[-1]:
            lines.append(pipe.readline())
        dropped = int(lines[-1].split()[0])
        handler.flush()
    numbers = [int(line.split()[1]) for line in lines[:-1]]
    assert numbers == list(range(len(numbers)))  # each written line is whole and in its order
    assert dropped > 0
    assert len(numbers) <= count - dropped + 1


@pytest.mark.slow
def test_a_server_whose_log_is_not_read_goes_on_and_is_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLYPHSERVE_LOG_REQUESTS", "all")
    with running_server(tmp_path / "home", "--no-worker") as server:
        for _ in range(2_000):  # of some hundred bytes each, where a pipe holds 65,536
            assert server.http.get("/health/live").status_code == 200
        (api,) = apis_of(server)
        os.kill(api, signal.SIGKILL)
        wait_until(lambda: set(apis_of(server)) - {api}, "another process")
        assert server.http.get("/health/ready").status_code == 200
    assert server.output.count("GET /health/live 200") > 500
    assert "exited with code -9" in server.output


@pytest.mark.slow
def test_a_server_whose_log_is_not_read_ends_in_good_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLYPHSERVE_LOG_REQUESTS", "all")
    with running_server(tmp_path / "home", "--no-worker") as server:
        for _ in range(2_000):
            assert server.http.get("/health/live").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
    assert "exited with code" not in server.output


@pytest.mark.slow
def test_every_line_of_a_server_is_json_and_names_its_request(
    tmp_path: Path, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LOG_FORMAT", "json"), ("LOG_REQUESTS", "all")):
        monkeypatch.setenv(f"GLYPHSERVE_{name}", value)
    canary = "a-canary-that-nobody-shall-read"
    with running_server(tmp_path / "home") as server:
        headers = {"X-Request-ID": "mine", "Content-Type": "image/png", "traceparent": GIVEN}
        server.http.post(f"/predict?token={canary}", content=png(digits.images[0]), headers=headers)
        fast = server.http.post("/predict", content=png(digits.images[0]), headers={"Content-Type": "image/png"})
        server.http.get(f"/{canary}%0aforged", headers={"Authorization": f"Bearer {canary}", "X-Request-ID": "no\tid"})
        job = server.submit(settings={"epochs": 1, "layers": [784, 8, 10]}, promote="never")["id"]
        server.wait_for(job, "succeeded")
    assert canary not in server.output
    lines = [json.loads(line) for line in server.output.splitlines() if line.startswith("{")]
    others = [line for line in server.output.splitlines() if not line.startswith("{")]
    assert all(line.startswith(("glyphserve is ready", "  ")) for line in others), others
    access = [line for line in lines if line["logger"] == "service.access_log"]
    by_request = {line["request_id"]: line for line in access}
    assert (by_request["mine"]["trace_id"], by_request["mine"]["route"]) == (TRACE, "/predict")
    assert by_request[fast.headers["x-request-id"]]["status"] == 200
    assert "unknown" in {line["route"] for line in access}
    queued = [line for line in lines if line["message"] == f"queued job {job}"]
    assert len(queued) == 1
    assert by_request[queued[0]["request_id"]]["route"] == "/train"
    assert [line for line in lines if line.get("job") == job], "what the worker logs of a job names it"
