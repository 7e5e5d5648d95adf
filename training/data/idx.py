"""The IDX format of LeCun's MNIST page: a magic number, the sizes, then the bytes.

Magic: two zero bytes, the element type (0x08 is unsigned byte), the number of dimensions; sizes are big-endian 32-bit.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from training.errors import DataError

UNSIGNED_BYTE = 8
GZIP_MAGIC = b"\x1f\x8b"  # IDX files begin with two zeros, so the two cannot be confused
MAX_BYTES = 2**31


def read_bytes(path: Path) -> bytes:
    """Read a file, decompressing gzip whatever its name. Raises DataError that names the file."""
    try:
        with path.open("rb") as file:
            if file.peek(2)[:2] != GZIP_MAGIC:
                return file.read()
            with gzip.open(file) as packed:
                content = packed.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(content) > MAX_BYTES:
        raise DataError(f"{path} unpacks to more than {MAX_BYTES:,} bytes")
    return content


def parse(content: bytes, *, dimensions: int, name: str) -> np.ndarray:
    """Parse an IDX file into a uint8 array with this number of dimensions.

    Raises DataError, which mentions `name`, if magic number, sizes and length are inconsistent.
    """
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError(f"{name} is truncated: {len(content)} bytes, not even a header of {header}")
    zeros, kind, found = struct.unpack(">HBB", content[:4])
    if zeros != 0 or kind != UNSIGNED_BYTE or found != dimensions:
        raise DataError(
            f"{name} is not an IDX file of unsigned bytes in {dimensions} dimensions: "
            f"it starts with {content[:4].hex()}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise DataError(f"{name} has {len(content):,} bytes, but its header {shape} promises {expected:,}")
    try:
        return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
    except ValueError:  # the sizes overflow, though one of them is 0
        raise DataError(f"{name} has the sizes {shape}, which are those of no array") from None


def read_idx(path: Path, *, dimensions: int) -> np.ndarray:
    """Read an IDX file, plain or `.gz`. Raises DataError that names the file and what was expected."""
    return parse(read_bytes(path), dimensions=dimensions, name=str(path))
