"""Who reads slowly makes progress, and who does not read is found out."""

import asyncio

import pytest

from service.server.timeouts import WriteProgress


class Transport(asyncio.WriteTransport):
    """Says how much it has left to send."""

    def __init__(self) -> None:
        super().__init__()
        self.unsent = 0

    def get_write_buffer_size(self) -> int:
        return self.unsent


@pytest.mark.parametrize(
    ("unsent", "stalls_at"),
    [
        ([0] * 20, None),
        ([5] * 20, 10),
        ([5, 6, 7, 8, 9] + [9] * 15, 10),  # more is written, and nothing is read
        ([9, 8, 8, 8, 8, 8, 8, 8, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 6, 6], None),
        ([5, 5, 5, 0] + [5] * 16, 14),
    ],
)
def test_a_client_stalls_when_nothing_was_read_for_the_time(unsent: list[int], stalls_at: int | None) -> None:
    transport, progress = Transport(), WriteProgress(10.0)
    found = []
    for now, transport.unsent in enumerate(unsent):
        if progress.has_stalled(transport, float(now)):
            found.append(now)
    assert (found[0] if found else None) == stalls_at
