import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from training.data import idx
from training.errors import DataError


def encoded(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("shape", [(0,), (5,), (3, 4), (2, 28, 28)])
def test_what_is_encoded_is_read_back(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    array = rng.integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(idx.parse(encoded(array), dimensions=len(shape), name="x"), array)


@pytest.mark.parametrize("name", ["labels", "labels.gz", "labels.gz.part"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_plain_and_packed_files_are_told_apart_by_content(
    name: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(pack(encoded(np.arange(7, dtype=np.uint8))))
    np.testing.assert_array_equal(idx.read_idx(tmp_path / name, dimensions=1), np.arange(7))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "truncated: 0 bytes"),
        (b"\0\0\x08\x01\0\0", "not even a header of 8"),
        (b"\0\0\x08\x01\0\0\0\x05abc", "11 bytes, but its header .* promises 13"),
        (b"\0\0\x08\x01\0\0\0\x02abc", "11 bytes, but its header .* promises 10"),
        (b"\0\0\x08\x03\0\0\0\x02abc", "not an IDX file of unsigned bytes in 1 dimensions"),
        (b"\0\0\x0d\x01\0\0\0\x01abcd", "starts with 00000d01"),
        (b"<html>not found</html>", "not an IDX file"),
        (b"\0\0\x08\x01\xff\xff\xff\xff", "promises 4,294,967,303"),
    ],
)
def test_what_is_no_idx_file_is_refused_by_name(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        idx.read_idx(tmp_path / "labels", dimensions=1)
    assert "labels" in str(caught.value)


def test_every_truncation_of_a_packed_file_is_refused(tmp_path: Path) -> None:
    packed = gzip.compress(encoded(np.arange(200, dtype=np.uint8)))
    for length in range(len(packed)):
        (tmp_path / "labels.gz").write_bytes(packed[:length])
        with pytest.raises(DataError):
            idx.read_idx(tmp_path / "labels.gz", dimensions=1)


def test_a_flipped_byte_in_a_packed_file_never_goes_unnoticed(tmp_path: Path) -> None:
    array = np.arange(200, dtype=np.uint8)
    packed = gzip.compress(encoded(array), mtime=0)
    for place in range(len(packed)):
        flipped = bytearray(packed)
        flipped[place] ^= 0x55
        (tmp_path / "labels.gz").write_bytes(flipped)
        try:
            read = idx.read_idx(tmp_path / "labels.gz", dimensions=1)
        except DataError:
            continue
        np.testing.assert_array_equal(read, array)  # the header of gzip has bytes that mean nothing


def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "MAX_BYTES", 1000)
    (tmp_path / "labels.gz").write_bytes(gzip.compress(bytes(1001)))
    with pytest.raises(DataError, match="unpacks to more than 1,000"):
        idx.read_bytes(tmp_path / "labels.gz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="labels does not exist"):
        idx.read_bytes(tmp_path / "labels")


def test_sizes_of_no_array_are_refused() -> None:
    content = struct.pack(">HBBIII", 0, 8, 3, 0, 2**32 - 1, 2**32 - 1)
    with pytest.raises(DataError, match="a has the sizes"):
        idx.parse(content, dimensions=3, name="a")
