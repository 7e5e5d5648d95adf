"""Bodies that travel compressed: gzip, and deflate in zlib's wrapper as RFC 9110 means it."""

import zlib

from service.errors import MalformedRequest, PayloadTooLarge, UnsupportedMediaType

_WINDOW_BITS = {"gzip": 31, "deflate": 15}
_OTHER_NAMES = {"x-gzip": "gzip"}  # RFC 9110, section 8.4.1.3
_LEVEL = 1  # answers are short, and are to be fast


def decompressed(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """Undo a Content-Encoding; no more than `most_bytes` are ever made.

    Raises UnsupportedMediaType, MalformedRequest or PayloadTooLarge.
    """
    encoding = encoding.strip().lower()
    encoding = _OTHER_NAMES.get(encoding, encoding)
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOW_BITS:
        raise UnsupportedMediaType("the Content-Encoding of the body must be gzip or deflate, or left out")
    stream = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        content = stream.decompress(body, most_bytes + 1)
    except zlib.error:
        raise MalformedRequest(f"the body is not {encoding}") from None
    if len(content) > most_bytes:
        raise PayloadTooLarge(f"the body is larger than {most_bytes:,} bytes when decompressed")
    if not stream.eof:
        raise MalformedRequest(f"the {encoding} body is truncated")
    if stream.unused_data:
        raise MalformedRequest(f"the body goes on after its {encoding} stream")
    return content


def chosen_encoding(accepted: str) -> str | None:
    """Choose what an Accept-Encoding header prefers, gzip when it does not care; None for neither."""
    wishes: dict[str, float] = {}
    for wish in accepted.lower().split(","):
        name, _, weight = wish.partition(";")
        wishes[name.strip()] = _weight(weight)
    best = max(_WINDOW_BITS, key=lambda name: wishes.get(name, 0.0))
    return best if wishes.get(best, 0.0) > 0 else None


def _weight(parameter: str) -> float:
    name, _, value = parameter.replace(" ", "").partition("=")
    if name != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def compressed(content: bytes, encoding: str) -> bytes:
    """Apply gzip or deflate."""
    stream = zlib.compressobj(_LEVEL, wbits=_WINDOW_BITS[encoding])
    return stream.compress(content) + stream.flush()
