"""The board that API processes share, with a real process on the other side."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from service.observability.board import Board, Siblings

WRITER = """
import sys
from service.observability.board import Board, Siblings
siblings = Siblings(Board(int(sys.argv[1]), 2), 1)
for number in range(20_000):
    siblings.publish({"number": number, "filling": [number] * (number % 500)})
    if number == 0:
        print("begun", flush=True)
        sys.stdin.readline()
sys.stdin.read()
"""


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board.make(2)
    yield board
    board.close()


def test_what_another_process_writes_is_read_whole_while_it_writes_and_after_it_was_killed(board: Board) -> None:
    mine = Siblings(board, 0)
    assert mine.others() == []
    seen: list[int] = []
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(board.file_number)],
        pass_fds=[board.file_number],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == b"begun\n"
        (first,) = mine.others()
        seen.append(first["number"])
        writer.stdin.write(b"go on\n")
        writer.stdin.flush()
        while seen[-1] < 19_999:
            for page in mine.others():  # none while the writer is faster than any look at its page
                assert page["filling"] == [page["number"]] * (page["number"] % 500)
                assert (page["pid"], page["is_alive"]) == (writer.pid, True)
                seen.append(page["number"])
        writer.kill()
    assert seen == sorted(seen)
    assert len(set(seen)) > 1
    (page,) = mine.others()
    assert (page["number"], page["is_alive"]) == (19_999, False)
    assert Siblings(board, 1).inherited["number"] == 19_999


def test_a_page_that_is_too_long_leaves_the_one_before(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    board.write(0, {"text": "short"})
    board.write(0, {"text": "x" * 3 * 1024**2})
    assert board.read(0) == {"text": "short"}
    assert "too long" in caplog.text


def test_a_damaged_page_is_none(board: Board) -> None:
    board.write(1, {"text": "whole"})
    board._memory[2 * 1024**2 + 12] ^= 1
    assert board.read(1) is None
