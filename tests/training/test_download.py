"""Downloads from a real server on this machine."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.training.file_server import FileServer, serving
from training.data.download import download
from training.errors import DataError

CONTENT = np.random.default_rng(0).bytes(300_000)


def check(path: Path) -> None:
    if path.read_bytes() != CONTENT:
        raise DataError("other bytes than expected")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving({"file.gz": CONTENT}) as server:
        yield server


def test_a_file_comes_whole_under_its_own_name_and_leaves_no_litter(server: FileServer, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    path = download([f"{server.address}/file.gz"], tmp_path / "new", check, lambda *told: seen.append(told))
    assert path == tmp_path / "new" / "file.gz"
    assert path.read_bytes() == CONTENT
    assert list((tmp_path / "new").iterdir()) == [path]
    assert seen[-1] == ("file.gz", 300_000, 300_000)
    assert [bytes_so_far for _, bytes_so_far, _ in seen] == sorted(bytes_so_far for _, bytes_so_far, _ in seen)


def test_a_broken_connection_is_gone_on_with_where_it_broke(server: FileServer, tmp_path: Path) -> None:
    server.break_after = 100_000
    assert download([f"{server.address}/file.gz"], tmp_path, check).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=100000-", "bytes=200000-"]


def test_what_an_earlier_run_left_is_gone_on_with(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.gz.part").write_bytes(CONTENT[:250_000])
    assert download([f"{server.address}/file.gz"], tmp_path, check).read_bytes() == CONTENT
    assert server.requests == [("file.gz", "bytes=250000-")]


def test_a_server_that_knows_no_ranges_is_read_from_the_start(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "file.gz.part").write_bytes(CONTENT[:250_000])
    assert download([f"{server.address}/file.gz"], tmp_path, check).read_bytes() == CONTENT


def test_a_server_that_knows_no_ranges_and_breaks_is_given_up(server: FileServer, tmp_path: Path) -> None:
    server.ranges, server.break_after = False, 1000
    with pytest.raises(DataError, match="connection broke after 1,000 of 300,000 bytes"):
        download([f"{server.address}/file.gz"], tmp_path, check)


def test_a_part_that_is_whole_already_only_needs_its_name(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file.gz.part").write_bytes(CONTENT)
    assert download([f"{server.address}/file.gz"], tmp_path, check).read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"another file's beginning", CONTENT + b"x"])
def test_a_wrong_beginning_is_thrown_away_and_the_file_fetched_anew(
    left: bytes, server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "file.gz.part").write_bytes(left)
    assert download([f"{server.address}/file.gz"], tmp_path, check).read_bytes() == CONTENT
    assert server.requests[-1] == ("file.gz", None)


def test_what_fails_the_check_does_not_stay(server: FileServer, tmp_path: Path) -> None:
    server.files["file.gz"] = CONTENT[:-1] + b"?"
    with pytest.raises(DataError, match=r"127.0.0.1.*other bytes than expected"):
        download([f"{server.address}/file.gz"], tmp_path, check)
    assert not list(tmp_path.iterdir())


def test_the_next_mirror_is_asked_when_one_is_gone_or_wrong(server: FileServer, tmp_path: Path) -> None:
    with serving({"file.gz": b"wrong"}) as wrong:
        mirrors = ["http://127.0.0.1:1", f"{server.address}/missing-", wrong.address, server.address]
        assert download([f"{mirror}/file.gz" for mirror in mirrors], tmp_path, check).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file.gz"]


def test_without_a_network_the_error_names_every_address_and_says_what_to_do(
    server: FileServer, tmp_path: Path
) -> None:
    addresses = ["http://127.0.0.1:1/file.gz", f"{server.address}/other.gz"]
    with pytest.raises(DataError) as caught:
        download(addresses, tmp_path, check)
    text = str(caught.value)
    assert all(address in text for address in addresses)
    assert "Connection refused" in text
    assert "404" in text
    assert "GLYPHSERVE_DATA_DIR" in text
    assert "starter" in text
