import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.compression import compress, decompress, negotiate_encoding
from service.errors import MalformedRequest, PayloadTooLarge, UnsupportedMediaType

LIMIT = 1024**2


@given(st.binary(), st.sampled_from(["gzip", "deflate"]))
def test_what_is_compressed_comes_back(content: bytes, encoding: str) -> None:
    assert decompress(compress(content, encoding), encoding, LIMIT) == content


def test_the_encodings_are_those_of_the_standard_library() -> None:
    assert decompress(gzip.compress(b"abc"), "GZIP", LIMIT) == b"abc"
    assert decompress(zlib.compress(b"abc"), " deflate ", LIMIT) == b"abc"
    assert decompress(b"abc", "identity", LIMIT) == b"abc"
    assert gzip.decompress(compress(b"abc", "gzip")) == b"abc"
    assert zlib.decompress(compress(b"abc", "deflate")) == b"abc"


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    bomb = gzip.compress(bytes(200 * LIMIT))
    tracemalloc.start()
    with pytest.raises(PayloadTooLarge):
        decompress(bomb, "gzip", LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * LIMIT
    assert len(decompress(gzip.compress(bytes(LIMIT)), "gzip", LIMIT)) == LIMIT


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("damage", [b"", b"no", "cut", "more"])
def test_damaged_streams_are_refused(encoding: str, damage: bytes | str) -> None:
    content = compress(b"abc" * 100, encoding)
    body = {"cut": content[:-3], "more": content + b"x"}[damage] if isinstance(damage, str) else damage
    with pytest.raises(MalformedRequest):
        decompress(body, encoding, LIMIT)


@pytest.mark.parametrize("encoding", ["br", "gzip, deflate", "zstd", "x"])
def test_other_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        decompress(b"abc", encoding, LIMIT)


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", None),
        ("identity", None),
        ("br", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("gzip;q=0.2, deflate;q=0.8", "deflate"),
        ("gzip;q=0", None),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip;q=x", None),
        ("GZIP ; q=0.5", "gzip"),
    ],
)
def test_an_answer_is_compressed_only_as_asked(accepted: str, chosen: str | None) -> None:
    assert negotiate_encoding(accepted) == chosen
