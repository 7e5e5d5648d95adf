"""Image files that are damaged, absurd, or no images: PNG in all detail, and what is neither of the five formats."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image, ImageDraw

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GARBAGE = bytes(range(256)) * 4


def digit(mode: str = "L", size: tuple[int, int] = (28, 28)) -> Image.Image:
    """Draw a one."""
    image = Image.new("L", size, 0)
    middle = size[0] // 2
    ImageDraw.Draw(image).line((middle, size[1] // 6, middle, size[1] - size[1] // 6), 255, max(size[0] // 10, 1))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Write an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes = b"", size: int | None = None, crc: int | None = None) -> bytes:
    """Write a chunk of a PNG, with a wrong size or checksum if wanted."""
    crc = zlib.crc32(kind + data) if crc is None else crc
    return struct.pack(">I", len(data) if size is None else size) + kind + data + struct.pack(">I", crc)


def header(width: int = 28, height: int = 28, depth: int = 8, colour: int = 0, *methods: int) -> bytes:
    """Write the header chunk of a PNG."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, *(methods or (0, 0, 0))))


ROWS = zlib.compress(b"".join(b"\0" + bytes(12) + b"\xff" * 4 + bytes(12) for _ in range(28)))
DATA, END = chunk(b"IDAT", ROWS), chunk(b"IEND")


def _cut(name: str, content: bytes, pieces: int = 12) -> Iterator[tuple[str, bytes]]:
    for number in range(pieces):
        place = 1 + number * (len(content) - 2) // pieces
        yield f"{name} cut at {place}", content[:place]


def cut(name: str, content: bytes, pieces: int = 12) -> Iterator[tuple[str, bytes]]:
    """Cut a file short at many places; and put things before, between and after."""
    yield from _cut(name, content, pieces)
    middle = len(content) // 2
    yield f"{name} after a blank", b" " + content
    yield f"{name} before garbage", content + _GARBAGE
    yield f"{name} with a hole", content[: middle - 8] + content[middle + 8 :]
    yield f"{name} with garbage inside", content[:middle] + _GARBAGE + content[middle:]
    yield f"{name} of zeros from the middle", content[:middle] + bytes(len(content) - middle)
    yield f"{name} of 0xff from the middle", content[:middle] + b"\xff" * (len(content) - middle)
    yield f"{name} backwards", content[::-1]
    yield f"{name} twice", content + content


def pngs() -> Iterator[tuple[str, bytes]]:
    """PNG files."""
    yield from cut("PNG", encoded(digit("RGB", (40, 40))))
    for depth in (0, 1, 2, 3, 4, 8, 16, 32, 255):
        for colour in range(8):
            yield f"PNG of {depth} bits, colour type {colour}", SIGNATURE + header(28, 28, depth, colour) + DATA + END
    for methods in ((1, 0, 0), (0, 1, 0), (0, 0, 2), (0, 0, 1), (255, 255, 255)):
        yield f"PNG by the methods {methods}", SIGNATURE + header(28, 28, 8, 0, *methods) + DATA + END
    for width, height in (
        *((0, 28), (28, 0), (0, 0), (1, 1), (1, 4096), (4096, 1), (4097, 1), (1, 4097), (2000, 2001)),
        *((2**31 - 1, 1), (2**31, 1), (2**32 - 1, 2**32 - 1), (1, 178_000_000), (65_535, 65_535)),
    ):
        yield f"PNG that says {width}×{height}", SIGNATURE + header(width, height) + DATA + END
    yield from _chunks()
    for name, rows in {
        "nothing": b"",
        "garbage": _GARBAGE,
        "half a stream": ROWS[: len(ROWS) // 2],
        "too few rows": zlib.compress(bytes(29 * 5)),
        "too many rows": zlib.compress(bytes(29 * 5000)),
        "unknown filters": zlib.compress((b"\x09" + bytes(28)) * 28),
        "a bomb": zlib.compress(bytes(50_000_000), 9),
        "another window": b"\x98" + ROWS[1:],
        "a dictionary": b"\x78\xbb" + ROWS[2:],
    }.items():
        yield f"PNG whose data is {name}", SIGNATURE + header() + chunk(b"IDAT", rows) + END
    blank = zlib.compress(bytes(2001 * 2000), 9)
    yield "PNG of 4 megapixels of nothing", SIGNATURE + header(2000, 2000) + chunk(b"IDAT", blank) + END
    yield "PNG of two frames", encoded(digit(), save_all=True, append_images=[digit("L", (28, 28)).rotate(90)])


def _chunks() -> Iterator[tuple[str, bytes]]:
    start, bomb = SIGNATURE + header(), zlib.compress(bytes(30_000_000), 9)
    for name, inside in {
        "no data": b"",
        "no header": b"",
        "a header twice": header() + DATA,
        "other headers twice": header(4000, 4000) + DATA,
        "data of wrong checksum": chunk(b"IDAT", ROWS, crc=0),
        "data of endless size": chunk(b"IDAT", ROWS, size=2**32 - 1),
        "data of size 2³¹": chunk(b"IDAT", ROWS, size=2**31),
        "data of size 0": chunk(b"IDAT", ROWS, size=0),
        "data in single bytes": b"".join(chunk(b"IDAT", ROWS[place : place + 1]) for place in range(len(ROWS))),
        "an unknown critical chunk": chunk(b"ABCD", b"x") + DATA,
        "a nameless chunk": chunk(b"\0\0\0\0", b"x") + DATA,
        "10,000 remarks": chunk(b"tEXt", b"a\0b") * 10_000 + DATA,
        "a packed remark that is a bomb": chunk(b"zTXt", b"a\0\0" + bomb) + DATA,
        "a profile that is a bomb": chunk(b"iCCP", b"a\0\0" + bomb) + DATA,
        "an international bomb": chunk(b"iTXt", b"a\0\1\0\0\0" + bomb) + DATA,
        "a remark without end": chunk(b"tEXt", b"a" * 70_000) + DATA,
        "an empty profile": chunk(b"iCCP") + DATA,
        "an empty EXIF": chunk(b"eXIf") + DATA,
        "EXIF of garbage": chunk(b"eXIf", _GARBAGE) + DATA,
        "EXIF that points at itself": chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\x87\x69\0\4\0\0\0\1\0\0\0\x08\0\0\0\x08")
        + DATA,
        "a palette without need": chunk(b"PLTE", bytes(3)) + DATA,
        "a palette of 257": chunk(b"PLTE", bytes(771)) + DATA,
        "a palette of 4 bytes": chunk(b"PLTE", bytes(4)) + DATA,
        "transparency too long": chunk(b"tRNS", bytes(300)) + DATA,
        "transparency too short": chunk(b"tRNS", b"\0") + DATA,
        "gamma 0": chunk(b"gAMA", bytes(4)) + DATA,
        "gamma too short": chunk(b"gAMA", b"\0") + DATA,
        "size 0 by inch": chunk(b"pHYs", bytes(9)) + DATA,
        "animation of no frames": chunk(b"acTL", bytes(8)) + DATA,
        "animation of 2³² frames": chunk(b"acTL", b"\xff" * 8) + DATA,
        "a frame out of nowhere": chunk(b"fcTL", b"\xff" * 26) + DATA,
    }.items():
        yield f"PNG with {name}", (SIGNATURE if name == "no header" else start) + inside + END
    yield "PNG without an end", start + DATA
    yield "PNG palette without a palette", SIGNATURE + header(28, 28, 8, 3) + DATA + END
    yield "PNG palette, all beyond it", SIGNATURE + header(28, 28, 8, 3) + chunk(b"PLTE", bytes(3)) + DATA + END


def no_images() -> Iterator[tuple[str, bytes]]:
    """Files of other kinds, and no files at all."""
    for name, content in {
        "nothing": b"",
        "one byte": b"\x89",
        "zeros": bytes(10_000),
        "0xff": b"\xff" * 10_000,
        "garbage": _GARBAGE * 10,
        "text": "Übermut tut selten gut".encode(),
        "HTML": b"<!doctype html><script>alert(1)</script>",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
        "XML that laughs": b"<!DOCTYPE l [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]><l>&b;</l>",
        "PDF": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n(%pipe%id) (r) file",
        "a program": b"\x7fELF\x02\x01\x01" + bytes(60),
        "a zip": b"PK\x03\x04" + bytes(40),
        "a gzip": b"\x1f\x8b\x08" + bytes(20),
        "a pickle": b"cos\nsystem\n(S'id'\ntR.",
        "an array": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0heicmif1",
        "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
        "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
        "an icon": b"\0\0\1\0\1\0" + bytes(16),
        "FLI film": struct.pack("<IHHHHH", 128, 0xAF11, 2**16 - 1, 2**16 - 1, 2**16 - 1, 8) + bytes(114),
        "a URL": b"http://169.254.169.254/latest/meta-data/",
        "a path": b"file:///etc/passwd",
    }.items():
        yield f"no image: {name}", content
    for kind in ("TIFF", "PPM", "ICO", "TGA", "PCX", "SGI", "XBM", "DDS"):
        yield f"an image of the kind {kind}", encoded(digit("1" if kind == "XBM" else "RGB"), kind)


def of_many_scans(jpeg: bytes, count: int) -> bytes:
    """Put `count` scans of one coefficient, without data, behind those of a progressive JPEG."""
    return jpeg[:-2] + b"\xff\xda\0\x08\x01\x01\0\x01\x3f\x10" * count + jpeg[-2:]
