"""Multipart bodies that are broken, endless or misleading."""

from collections.abc import Iterator

from tests.hostile.pictures import digit, encoded
from tests.hostile.request import REFUSED, TAKEN_OR_REFUSED, Hostile, http

_IMAGE = encoded(digit())
_PLAIN = 'form-data; name="file"; filename="a.png"'


def part(disposition: str = _PLAIN, content: bytes = _IMAGE, *lines: str) -> bytes:
    """Write one part of a form, without its boundary."""
    return "\r\n".join([f"Content-Disposition: {disposition}", *lines, "", ""]).encode("latin-1") + content


def form(*parts: bytes, boundary: bytes = b"b") -> bytes:
    """Put parts together to a form."""
    return b"".join(b"--" + boundary + b"\r\n" + each + b"\r\n" for each in parts) + b"--" + boundary + b"--\r\n"


def _bodies() -> Iterator[tuple[str, bytes]]:
    good, plain = form(part()), part()
    for place in (1, 3, 10, 40, 60, 90, len(good) - 8, len(good) - 4, len(good) - 3):
        yield f"cut at {place}", good[:place]
    yield from {
        "of nothing": b"",
        "of no parts": b"--b--\r\n",
        "of a boundary alone": b"--b",
        "of boundaries": b"--b\r\n" * 2000,
        "of garbage": bytes(range(256)) * 20,
        "that is an image": _IMAGE,
        "with another boundary": form(plain, boundary=b"c"),
        "with line feeds alone": good.replace(b"\r\n", b"\n"),
        "with carriage returns alone": good.replace(b"\r\n", b"\r"),
        "with a preamble": b"hello\r\n" + good,
        "with an epilogue": good + b"hello",
        "within a form": form(part(_PLAIN, good, "Content-Type: multipart/form-data; boundary=b")),
        "without a disposition": form(b"\r\n" + _IMAGE),
        "without a blank line": form(plain.replace(b"\r\n\r\n", b"\r\n")),
        "with a header without a colon": form(b"Content-Disposition\r\n\r\n" + _IMAGE),
        "with an empty header": form(b": \r\n\r\n" + _IMAGE),
        "with zeros in a header": form(part(_PLAIN.replace("a.png", "a\0b"))),
        "with a header of 100 kB": form(part(_PLAIN, _IMAGE, "X: " + "a" * 100_000)),
        "with 1,000 headers": form(part(_PLAIN, _IMAGE, *[f"X{number}: a" for number in range(1000)])),
        "with a folded header": form(part(_PLAIN.replace("; filename", ";\r\n filename"))),
        "with a field for a file": form(part('form-data; name="file"')),
        "with another name": form(part('form-data; name="image"; filename="a.png"')),
        "without a name": form(part('form-data; filename="a.png"')),
        "with an empty name": form(part('form-data; name=""; filename="a.png"')),
        "that is an attachment": form(part('attachment; name="file"; filename="a.png"')),
        "with a name without quotes": form(part("form-data; name=file; filename=a.png")),
        "with a name of half quotes": form(part('form-data; name="file; filename="a.png"')),
        "with two names": form(part('form-data; name="file"; name="label"; filename="a.png"')),
        "with a name in percents": form(part("form-data; name*=utf-8''file; filename*=utf-8''%ff%fe")),
        "with a charset of nobody": form(part("form-data; name*=nobody''file; filename*=nobody''a")),
        "with a file of a path": form(part(_PLAIN.replace("a.png", "../../../etc/passwd"))),
        "with a file of a drive": form(part(_PLAIN.replace("a.png", "C:\\con.png"))),
        "with a file of 60 kB of name": form(part(_PLAIN.replace("a.png", "a" * 60_000))),
        "with a file of bytes as its name": form(part(_PLAIN.replace("a.png", "\xff\xfe\x80"))),
        "with an empty file name": form(part(_PLAIN.replace("a.png", ""))),
        "with an empty file": form(part(content=b"")),
        "with a file and a field": form(plain, part('form-data; name="file"')),
        "with 9 fields": form(plain, *[part(f'form-data; name="f{number}"', b"x") for number in range(9)]),
        "with 5,000 fields": form(*[part(f'form-data; name="f{number}"', b"x") for number in range(5000)]),
        "with 65 files": form(*[plain] * 65),
        "with 1,001 files": form(*[part(content=b"x")] * 1001),
        "with a field of 2 MB": form(part('form-data; name="label"', b"x" * 2_000_000)),
        "with a file of 2 MB": form(part(content=bytes(2_000_000))),
        "in base64": form(part(_PLAIN, b"aaaa", "Content-Transfer-Encoding: base64")),
        "with a strange type": form(part(_PLAIN, _IMAGE, "Content-Type: \xff;;=;")),
        "with a part's charset": form(
            part('form-data; name="label"', b"\xff", "Content-Type: text/plain; charset=nobody")
        ),
        "that says its charset": form(part('form-data; name="_charset_"', b"utf-7"), plain),
        "with a label of bytes": form(plain, part('form-data; name="label"', b"\xff\xfe\0")),
        "with two labels": form(plain, part('form-data; name="label"', b"1"), part('form-data; name="label"', b"2")),
        "with a label that is a file": form(plain, part('form-data; name="label"; filename="a"', b"1")),
    }.items()


def forms() -> Iterator[Hostile]:
    """Forms for both routes that take some."""
    for target in ("/predict", "/samples?label=1"):
        for name, body in _bodies():
            sent = http(target, body, "multipart/form-data; boundary=b")
            yield Hostile(f"form {name} to {target}", sent, TAKEN_OR_REFUSED | {201})
    good = form(part())
    for kind in (
        "multipart/form-data",
        "multipart/form-data; boundary",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=" + "b" * 5000,
        "multipart/form-data; boundary=\xff",
        "multipart/form-data; boundary=b c",
        "multipart/form-data; boundary=b; boundary=c",
        "multipart/form-data; charset=nobody; boundary=c",
        "multipart/mixed; boundary=b",
        "multipart/form-data, boundary=b",
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=utf-7",
    ):
        yield Hostile(f"form of the type {kind[:50]!r}", http("/predict", good, kind), REFUSED)
    quoted = http("/predict", good, 'multipart/form-data; boundary="b"')
    yield Hostile("form with a quoted boundary", quoted, frozenset({200}))
