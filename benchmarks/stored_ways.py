"""Ways to store the same picture of a digit, for `pictures.py`: those that lose nothing, and those that do."""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

Way = Callable[[np.ndarray], bytes]
"""A digit in MNIST's form, uint8 (28, 28) → a file."""


def encoded(picture: Any, kind: str = "PNG", **options: Any) -> bytes:
    """Write an array, or a Pillow image, as a file."""
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(file, kind, **options)
    return file.getvalue()


def png_by_hand(values: np.ndarray, color_type: int, depth: int, extra: bytes = b"") -> bytes:
    """Write what Pillow cannot: 16 bits a channel, 1 to 4 bits of gray, a transparent gray value."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    if depth == 16:
        rows = [row.astype(">u2").tobytes() for row in values]
    elif depth == 8:
        rows = [row.tobytes() for row in values]
    else:
        bits = (values[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = [row.tobytes() for row in np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)]
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def transparent_value(value: int) -> bytes:
    """Make the PNG chunk that says which gray value is transparent."""
    body = b"tRNS" + struct.pack(">H", value)
    return struct.pack(">I", 2) + body + struct.pack(">I", zlib.crc32(body))


def wide(digit: np.ndarray) -> np.ndarray:
    """Give the same picture in 16 bits."""
    return digit.astype(np.uint16) * 257


def colored(digit: np.ndarray, alpha: np.ndarray | None = None, ink: int | None = None) -> np.ndarray:
    """Make (28, 28, 3 or 4) of a gray picture, or of one ink color, with an alpha channel if given."""
    gray = digit if ink is None else np.full_like(digit, ink)
    return np.dstack([gray] * 3 + ([] if alpha is None else [alpha]))


def larger(digit: np.ndarray, times: int) -> np.ndarray:
    """Make a block of each pixel."""
    return digit.repeat(times, axis=0).repeat(times, axis=1)


def smoothly_larger(digit: np.ndarray, times: float, resampling: Image.Resampling) -> np.ndarray:
    """Enlarge as a picture editor does."""
    side = round(28 * times)
    return np.asarray(Image.fromarray(digit).resize((side, side), resampling))


def cut(digit: np.ndarray) -> np.ndarray:
    """Cut to the box around the ink."""
    rows, columns = np.flatnonzero(digit.any(axis=1)), np.flatnonzero(digit.any(axis=0))
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def junk_below(digit: np.ndarray) -> np.ndarray:
    """White ink with an alpha channel, and noise in the colors of what is wholly transparent."""
    picture = colored(digit, digit, 255)
    picture[digit == 0, :3] = np.random.default_rng(0).integers(0, 256, (int((digit == 0).sum()), 3))
    return picture


def turned(orientation: int, kind: str, **options: Any) -> Way:
    """Store it turned, with the EXIF tag that says so."""
    before = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    exif = Image.Exif()
    exif[0x0112] = orientation

    def store(digit: np.ndarray) -> bytes:
        image = Image.fromarray(digit)
        if orientation > 1:
            image = image.transpose(Image.Transpose(before[orientation]))
        return encoded(image if kind == "PNG" else image.convert("RGB"), kind, exif=exif, **options)

    return store


def palette(digit: np.ndarray) -> Image.Image:
    """Give every gray value a color of its own, in an order that says nothing."""
    order = np.random.default_rng(1).permutation(256).astype(np.uint8)
    image = Image.fromarray(np.argsort(order).astype(np.uint8)[digit], "P")
    image.putpalette(np.repeat(order[:, None], 3, axis=1).tobytes())
    return image


def clear_paper(digit: np.ndarray) -> bytes:
    """Store a palette with the paper transparent."""
    image = palette(digit)
    return encoded(image, transparency=int(np.asarray(image)[0, 0]))


LOSSLESS: dict[str, Way] = {
    "PNG gray, 8 bits": encoded,
    "PNG gray, 16 bits": lambda digit: encoded(wide(digit)),
    "PNG gray, paper transparent": lambda digit: png_by_hand(digit, 0, 8, transparent_value(0)),
    "PNG palette": lambda digit: encoded(palette(digit)),
    "PNG palette, paper transparent": clear_paper,
    "PNG RGB": lambda digit: encoded(colored(digit)),
    "PNG RGB, 16 bits": lambda digit: png_by_hand(wide(colored(digit)), 2, 16),
    "PNG gray and alpha": lambda digit: encoded(Image.fromarray(digit).convert("LA")),
    "PNG RGBA": lambda digit: encoded(Image.fromarray(digit).convert("RGBA")),
    "PNG light ink by alpha": lambda digit: encoded(colored(digit, digit, 255)),
    "PNG dark ink by alpha": lambda digit: encoded(colored(digit, digit, 0)),
    "PNG gray ink by alpha": lambda digit: encoded(colored(digit, digit, 90)),
    "PNG light ink by alpha, junk below": lambda digit: encoded(junk_below(digit)),
    "BMP gray": lambda digit: encoded(digit, "BMP"),
    "BMP RGB": lambda digit: encoded(colored(digit), "BMP"),
    "BMP RGBA": lambda digit: encoded(Image.fromarray(digit).convert("RGBA"), "BMP"),
    "GIF": lambda digit: encoded(digit, "GIF"),
    "GIF, paper transparent": lambda digit: encoded(
        palette(digit), "GIF", transparency=int(palette(digit).getpixel((0, 0)))
    ),
    "WEBP lossless": lambda digit: encoded(digit, "WEBP", lossless=True),
    "WEBP lossless, ink by alpha": lambda digit: encoded(colored(digit, digit, 255), "WEBP", lossless=True, exact=True),
    **{f"PNG, EXIF orientation {n}": turned(n, "PNG") for n in range(1, 9)},
    "WEBP lossless, EXIF orientation 6": turned(6, "WEBP", lossless=True),
    "inverted": lambda digit: encoded(255 - digit),
    "inverted RGB": lambda digit: encoded(colored(255 - digit)),
    "inverted, 16 bits": lambda digit: encoded(65535 - wide(digit)),
    "padded by 1": lambda digit: encoded(np.pad(digit, 1)),
    "padded by 6": lambda digit: encoded(np.pad(digit, 6)),
    "padded to 200 × 100, off-centre": lambda digit: encoded(np.pad(digit, ((50, 22), (7, 165)))),
    "padded by 10, inverted": lambda digit: encoded(255 - np.pad(digit, 10)),
    "cut to the ink, padded by 3": lambda digit: encoded(np.pad(cut(digit), 3)),
    **{f"larger × {n}": (lambda digit, n=n: encoded(larger(digit, n))) for n in range(2, 11)},
    "larger × 4, inverted": lambda digit: encoded(255 - larger(digit, 4)),
    "larger × 5, padded by 33": lambda digit: encoded(np.pad(larger(digit, 5), 33)),
    "larger × 10, GIF": lambda digit: encoded(larger(digit, 10), "GIF"),
    "larger × 40": lambda digit: encoded(larger(digit, 40)),
    "moved to a corner of the 28 × 28": lambda digit: encoded(
        np.pad(cut(digit), ((0, 28 - cut(digit).shape[0]), (0, 28 - cut(digit).shape[1])))
    ),
}

NEARLY: dict[str, Way] = {
    **{
        f"enlarged × {times}, {resampling.name.lower()}": (
            lambda digit, t=times, r=resampling: encoded(smoothly_larger(digit, t, r))
        )
        for times in (2, 3.7, 10)
        for resampling in (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    },
    "enlarged × 8, padded, inverted": lambda digit: encoded(
        255 - np.pad(smoothly_larger(digit, 8, Image.Resampling.BICUBIC), 40)
    ),
    "JPEG, quality 95": lambda digit: encoded(digit, "JPEG", quality=95),
    "JPEG, quality 75": lambda digit: encoded(digit, "JPEG", quality=75),
    "JPEG, quality 40": lambda digit: encoded(digit, "JPEG", quality=40),
    "JPEG CMYK": lambda digit: encoded(Image.fromarray(colored(255 - digit)).convert("CMYK"), "JPEG", quality=90),
    "JPEG RGB, EXIF orientation 6": turned(6, "JPEG", quality=90),
    "JPEG × 10, inverted": lambda digit: encoded(
        255 - smoothly_larger(digit, 10, Image.Resampling.BICUBIC), "JPEG", quality=75
    ),
    "WEBP, quality 75": lambda digit: encoded(digit, "WEBP", quality=75),
    "1 bit": lambda digit: encoded(Image.fromarray(digit > 127)),
    "4 bits": lambda digit: png_by_hand(digit >> 4, 0, 4),
    "faint: 90 to 150": lambda digit: encoded((90 + digit // 4).astype(np.uint8)),
    "16 bits, faint": lambda digit: encoded((30000 + wide(digit) // 8).astype(np.uint16)),
    "reduced to half": lambda digit: encoded(smoothly_larger(digit, 0.5, Image.Resampling.BOX)),
}
"""What rounds, compresses or resamples: a reading may change, and seldom does."""
