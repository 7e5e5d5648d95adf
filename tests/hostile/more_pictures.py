"""Image files that are damaged or absurd: JPEG, BMP, GIF and WEBP."""

import struct
from collections.abc import Iterator

from PIL import Image

from tests.hostile.pictures import cut, digit, encoded

_GARBAGE = bytes(range(256)) * 4


def more_pictures() -> Iterator[tuple[str, bytes]]:
    """Files of all the kinds that are no PNG."""
    yield from jpegs()
    yield from bmps()
    yield from gifs()
    yield from webps()


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpegs() -> Iterator[tuple[str, bytes]]:
    """JPEG files."""
    whole = encoded(digit("RGB", (40, 40)), "JPEG")
    yield from cut("JPEG", whole)
    yield from cut("progressive JPEG", encoded(digit("L", (64, 64)), "JPEG", progressive=True), 6)
    frame = whole.index(b"\xff\xc0")
    for width, height in ((0, 0), (0, 28), (28, 0), (1, 1), (65_535, 65_535), (65_535, 1), (4096, 976)):
        size = struct.pack(">HH", height, width)
        yield f"JPEG that says {width}×{height}", whole[: frame + 5] + size + whole[frame + 9 :]
    for kind in (*range(0xC1, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)):
        yield f"JPEG frame of the kind {kind:x}", whole[: frame + 1] + bytes([kind]) + whole[frame + 2 :]
    for depth in (0, 1, 12, 16, 255):
        yield f"JPEG of {depth} bits", whole[: frame + 4] + bytes([depth]) + whole[frame + 5 :]
    for components in (0, 2, 4, 255):
        yield f"JPEG of {components} components", whole[: frame + 9] + bytes([components]) + whole[frame + 10 :]
    for marker, name in ((b"\xff\xdb", "tables"), (b"\xff\xc4", "codes"), (b"\xff\xda", "scan")):
        place = whole.index(marker)
        yield f"JPEG without {name}", whole[:place] + whole[place + 2 + whole[place + 3] :]
        yield f"JPEG with {name} of size 0", whole[: place + 2] + bytes(2) + whole[place + 4 :]
        yield f"JPEG with {name} of size 65,535", whole[: place + 2] + b"\xff\xff" + whole[place + 4 :]
    for name, inside in {
        "a thousand remarks": _segment(0xFE, b"x" * 100) * 1000,
        "a thousand restarts": _segment(0xDD, b"\0\1") * 1000,
        "EXIF of garbage": _segment(0xE1, b"Exif\0\0" + _GARBAGE),
        "EXIF that is empty": _segment(0xE1, b"Exif\0\0"),
        "EXIF that points at itself": _segment(
            0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\1\x87\x69\0\4\0\0\0\1\0\0\0\x08\0\0\0\x08"
        ),
        "a preview out of nowhere": _segment(0xE2, b"MPF\0II*\0\x08\0\0\0\1\0\1\xb0\4\0\1\0\0\0\xff\xff\xff\xff"),
        "a profile of 255 parts": _segment(0xE2, b"ICC_PROFILE\0\xff\xff" + _GARBAGE),
        "Photoshop's garbage": _segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed\0\0\xff\xff\xff\xff"),
        "Adobe's unknown colours": _segment(0xEE, b"Adobe\0\x64\0\0\0\0\xff"),
        "a JFIF of nothing": _segment(0xE0, b"JFIF\0"),
    }.items():
        yield f"JPEG with {name}", whole[:2] + inside + whole[2:]
    for orientation in (0, 9, 65_535):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"JPEG turned by {orientation}", encoded(digit(), "JPEG", exif=exif)
    scan = whole.index(b"\xff\xda")
    yield "JPEG of 1,000 scans", whole[:-2] + whole[scan:-2] * 100 + whole[-2:]
    yield "JPEG that only begins", b"\xff\xd8\xff"
    yield "JPEG that begins and ends", b"\xff\xd8\xff\xd9"
    yield "JPEG of begins", b"\xff\xd8" * 5000
    yield "JPEG of fills", b"\xff\xd8" + b"\xff" * 100_000


def bmps() -> Iterator[tuple[str, bytes]]:
    """BMP files."""
    whole = encoded(digit("L"), "BMP")
    yield from cut("BMP", whole, 8)
    for size in (0, 1, 11, 12, 13, 16, 39, 52, 56, 64, 108, 124, 2**31, 2**32 - 1):
        yield f"BMP header of {size} bytes", whole[:14] + struct.pack("<I", size) + whole[18:]
    for width, height in ((0, 0), (-1, 28), (28, -28), (28, -(2**31)), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)):
        yield f"BMP that says {width}×{height}", whole[:18] + struct.pack("<ii", width, height) + whole[26:]
    for bits in (0, 1, 2, 3, 4, 15, 16, 24, 32, 64, 65_535):
        yield f"BMP of {bits} bits", whole[:28] + struct.pack("<H", bits) + whole[30:]
    for method in (1, 2, 3, 4, 5, 6, 11, 255, 2**32 - 1):
        yield f"BMP by the method {method}", whole[:30] + struct.pack("<I", method) + whole[34:]
    for colours in (1, 257, 2**31, 2**32 - 1):
        yield f"BMP of {colours} colours", whole[:46] + struct.pack("<I", colours) + whole[50:]
    for offset in (0, 1, 14, 2**31, 2**32 - 1):
        yield f"BMP whose rows begin at {offset}", whole[:10] + struct.pack("<I", offset) + whole[14:]
    packed = whole[:30] + struct.pack("<I", 1) + whole[34:1078]
    for name, rows in {"jumps": b"\0\2\xff\xff" * 1000, "runs": b"\xff\xff" * 5000, "ends": b"\0\0" * 5000}.items():
        yield f"BMP of nothing but {name}", packed + rows


def gifs() -> Iterator[tuple[str, bytes]]:
    """GIF files."""
    whole = encoded(digit("P"), "GIF")
    yield from cut("GIF", whole, 8)
    for width, height in ((0, 0), (1, 1), (65_535, 65_535), (4096, 976)):
        yield f"GIF that says {width}×{height}", whole[:6] + struct.pack("<HH", width, height) + whole[10:]
    frame = whole.index(b",\0\0\0\0")
    for box in ((0, 0, 0, 0), (65_535, 65_535, 28, 28), (0, 0, 65_535, 65_535), (20, 20, 28, 28)):
        yield f"GIF frame at {box}", whole[: frame + 1] + struct.pack("<HHHH", *box) + whole[frame + 9 :]
    local = frame + 10 + (3 * 2 ** ((whole[frame + 9] & 7) + 1) if whole[frame + 9] & 0x80 else 0)
    for bits in (0, 1, 2, 9, 11, 12, 13, 255):
        yield f"GIF of codes of {bits} bits", whole[:local] + bytes([bits]) + whole[local + 1 :]
    for name, inside in {
        "a remark without end": b"!\xfe" + b"\xff" * 60_000,
        "a thousand remarks": b"!\xfe\1x\0" * 1000,
        "an unknown block": b"\x99" * 50,
        "an extension of nothing": b"!\xf9\0",
        "ten thousand controls": b"!\xf9\4\1\0\0\0\0" * 10_000,
        "a loop for ever": b"!\xff\x0bNETSCAPE2.0\3\1\xff\xff\0",
    }.items():
        yield f"GIF with {name}", whole[:frame] + inside + whole[frame:]
    yield "GIF without a frame", whole[:frame] + b";"
    yield "GIF of many frames", encoded(digit("P"), "GIF", save_all=True, append_images=[digit("P", (28, 27))] * 3)
    yield "GIF that is a script", b"GIF89a/*" + _GARBAGE + b"*/=alert(1)"
    yield "GIF of an unknown year", b"GIF88a" + whole[6:]


def webps() -> Iterator[tuple[str, bytes]]:
    """WEBP files."""
    whole, lossless = encoded(digit("RGB"), "WEBP"), encoded(digit("RGBA"), "WEBP", lossless=True)
    yield from cut("WEBP", whole, 8)
    yield from cut("lossless WEBP", lossless, 8)
    for size in (0, 1, 4, 2**31, 2**32 - 1):
        yield f"WEBP of {size} bytes", whole[:4] + struct.pack("<I", size) + whole[8:]
        yield f"WEBP with a chunk of {size} bytes", whole[:16] + struct.pack("<I", size) + whole[20:]
    for kind in (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"XXXX"):
        yield f"WEBP that begins with {kind.decode().strip()}", whole[:12] + kind + whole[16:]
    for name, flags in (("animation", 2), ("everything", 255), ("a profile", 32)):
        canvas = b"VP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + b"\x1b\0\0" * 2
        yield f"WEBP that promises {name}", whole[:12] + canvas + whole[12:]
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\xff" * 2
    yield "WEBP that says 2²⁴×2²⁴", whole[:12] + canvas + whole[12:]
    frames = [digit("RGB").rotate(turn) for turn in (90, 180)]
    yield "WEBP of many frames", encoded(digit("RGB"), "WEBP", save_all=True, append_images=frames)
    yield "WEBP that is a sound", b"RIFF" + whole[4:8] + b"WAVE" + whole[12:]
