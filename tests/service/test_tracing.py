"""Traces of callers, taken over from the header that the standard gives."""

import re

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.observability.tracing import bound_log_context, log_context, parse_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("header", "flags"),
    [(GIVEN, "01"), (GIVEN[:-2] + "00", "00"), (GIVEN[:-2] + "ff", "01"), ("cc" + GIVEN[2:] + "-more", "01")],
)
def test_a_trace_is_taken_over_with_a_span_of_our_own(header: str, flags: str) -> None:
    trace = parse_traceparent(header.encode())
    assert trace is not None
    assert (trace.trace_id, trace.parent_id, trace.flags) == (TRACE, SPAN, flags)
    assert re.fullmatch("[0-9a-f]{16}", trace.span_id)
    assert trace.span_id != SPAN


@pytest.mark.parametrize(
    "header",
    [
        "",
        GIVEN.upper(),
        GIVEN + "-more",
        GIVEN + "\n",
        "ff" + GIVEN[2:],
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE[1:]}-{SPAN}-01",
    ],
)
def test_what_the_standard_does_not_allow_is_no_trace(header: str) -> None:
    assert parse_traceparent(header.encode()) is None


@given(st.binary(max_size=80))
def test_whatever_bytes_come_they_are_read(header: bytes) -> None:
    trace = parse_traceparent(header)
    assert trace is None or parse_traceparent(str(trace).encode())


def test_work_within_work_belongs_to_both() -> None:
    with bound_log_context(request_id="a"):
        with bound_log_context(job="j"):
            assert log_context() == {"request_id": "a", "job": "j"}
        assert log_context() == {"request_id": "a"}
    assert log_context() == {}


async def test_the_answer_names_the_span_and_only_who_traces_gets_one(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health/live", headers={"traceparent": GIVEN})
    assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-01", answer.headers["traceresponse"])
    assert SPAN not in answer.headers["traceresponse"]
    for wrong in ({}, {"traceparent": "nonsense"}):
        assert "traceresponse" not in (await client.get("/health/live", headers=wrong)).headers
