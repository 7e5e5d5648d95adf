"""Readers of pictures, held against Pillow, and the way from gray values to a glyph."""

import io
from functools import cache

import numpy as np
from PIL import Image
from PIL import _imaging as codecs

from service.errors import ServiceError
from service.inference.images import ImageLimits, open_image
from service.server.fast_decode import decode_fast_jpeg, decode_fast_png, pixel_bytes, run_decoder, to_array
from service.server.fast_preprocess import already_centred, fills_box
from tests.hostile.pictures import chunk, digit, encoded
from training.data import load_dataset
from training.errors import DataError
from training.vision.glyph import normalize_glyph
from training.vision.input_spec import IMAGE_SIZE

LIMITS = ImageLimits(max_bytes=1_000_000, max_pixels=300_000, max_side=4096)
_MOST = 102_400


@cache
def _digits() -> np.ndarray:
    return load_dataset("starter").train.images[:8]


def pngs() -> list[bytes]:
    """Gray ones of two sizes."""
    return [encoded(Image.fromarray(image)) for image in _digits()] + [encoded(digit(size=(40, 61)))]


def jpegs() -> list[bytes]:
    """Gray and colored ones, baseline and progressive, small and reduced."""
    small, large = digit(size=(33, 47)), digit("RGB", (300, 290))
    found = [encoded(picture, "JPEG", quality=60) for picture in (small, large, digit("RGB", (28, 28)))]
    return [*found, encoded(small, "JPEG", progressive=True), encoded(small, "JPEG", restart_marker_rows=1)]


def all_kinds() -> list[bytes]:
    """One of each kind that is taken."""
    picture = digit("RGB", (40, 40))
    found = [encoded(picture, kind) for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP")]
    return [*found, *(encoded(digit(mode, (30, 30))) for mode in ("L", "RGBA", "LA", "P", "I;16", "1"))]


def glyphs() -> list[bytes]:
    """784 gray values each."""
    return [image.tobytes() for image in _digits()]


def gray_streams() -> list[bytes]:
    """The compressed rows of a PNG, behind a byte each for width and height."""
    return [bytes([width, height]) + _rows(width, height) for width, height in ((28, 28), (3, 5), (1, 1))]


def _rows(width: int, height: int) -> bytes:
    content = encoded(digit(size=(width, height)))
    start = content.index(b"IDAT")
    return content[start + 4 : start + 4 + int.from_bytes(content[start - 4 : start], "big")]


def inks() -> list[bytes]:
    """Gray values behind two bytes that tell the width; the height follows."""
    random_ = np.random.default_rng(0)
    found = [(IMAGE_SIZE).to_bytes(2, "big") + image.tobytes() for image in _digits()[:3]]
    specks = np.zeros((60, 60), np.uint8)
    specks[::4, ::4] = 255
    noise = np.clip(random_.normal(200, 5, (80, 80)), 0, 255).astype(np.uint8)
    noise[20:60, 38:42] = 30
    frame = np.full((50, 40), 255, np.uint8)
    frame[:, :2] = frame[:, -2:] = frame[:2] = frame[-2:] = 0
    shapes = (specks, noise, frame, 255 - noise, noise[:3], noise[:, :2], np.array(digit(size=(200, 64))))
    return found + [shape.shape[1].to_bytes(2, "big") + shape.tobytes() for shape in shapes]


def must_be_the_callers(error: ServiceError) -> None:
    """See that an error is the caller's fault."""
    assert 400 <= error.status < 500, error


def check_png(content: bytes) -> None:
    """Hold a plain PNG against Pillow's whole way, as it is and with its checksums repaired; it raises nothing."""
    for each in (content, _repaired(content)):
        gray = decode_fast_png(each, _MOST, _MOST)
        if gray is not None:
            assert np.array_equal(to_array(gray), open_image(each, LIMITS).to_grayscale())


def _repaired(content: bytes) -> bytes:
    fields, data = content[16:29].ljust(13, b"\0"), content[41:-16]
    return content[:8] + chunk(b"IHDR", fields) + chunk(b"IDAT", data) + chunk(b"IEND")


def check_jpeg(content: bytes) -> None:
    """Hold a plain JPEG against Pillow's whole way; it raises nothing."""
    gray = decode_fast_jpeg(content, _MOST, _MOST)
    if gray is not None:
        assert np.array_equal(to_array(gray), open_image(content, LIMITS).to_grayscale())


def check_glyph(content: bytes) -> None:
    """What the shortcut takes as a glyph must pass the whole preparation unchanged."""
    pixels = (content + bytes(IMAGE_SIZE * IMAGE_SIZE))[: IMAGE_SIZE * IMAGE_SIZE]
    gray = run_decoder(codecs.raw_decoder("L", "L", 0, 1), pixels, (IMAGE_SIZE, IMAGE_SIZE))
    assert gray is not None
    assert pixel_bytes(gray) == pixels
    if fills_box(gray) and already_centred({7: pixels}):
        assert normalize_glyph(np.frombuffer(pixels, np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE)).tobytes() == pixels


def check_gray(content: bytes) -> None:
    """Let Pillow's decoder of PNG rows have any bytes: an image, or None."""
    width, height = (content + b"\1\1")[:2]
    if not width or not height:
        return
    gray = run_decoder(codecs.zip_decoder("L", "L", 0), content[2:], (width, height))
    if gray is not None:
        assert to_array(gray).shape == (height, width)


def check_ink(content: bytes) -> None:
    """Any gray values become a glyph, the same each time, or DataError."""
    width = max(1, int.from_bytes(content[:2], "big") % 400)
    rows = min((len(content) - 2) // width, 400)
    if rows < 1:
        return
    gray = np.frombuffer(content, np.uint8, rows * width, 2).reshape(rows, width)
    try:
        found = normalize_glyph(gray)
    except DataError:
        return
    assert found.shape == (IMAGE_SIZE, IMAGE_SIZE)
    assert found.dtype == np.uint8
    assert found.any()
    assert np.array_equal(found, normalize_glyph(gray))


def check_picture(content: bytes) -> None:
    """Any bytes become a glyph, or an error of the service that is the caller's fault."""
    try:
        picture = open_image(content, LIMITS)
        glyph = picture.to_glyph()
    except ServiceError as error:
        must_be_the_callers(error)
        return
    assert glyph.shape == (IMAGE_SIZE, IMAGE_SIZE)
    assert Image.open(io.BytesIO(content)).size[0] > 0
