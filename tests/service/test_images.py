import contextlib
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from service.errors import (
    BlankImage,
    InvalidImage,
    PayloadTooLarge,
    ServiceError,
    UnprocessableContent,
    UnsupportedMediaType,
)
from service.inference.images import ImageLimits, decode_glyph, open_image
from tests.hostile.pictures import of_many_scans
from training import Dataset
from training.types import Pixels

LIMITS = ImageLimits(max_bytes=2**20, max_pixels=4_000_000, max_side=4096)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def stored_ways(digit: Pixels) -> dict[str, bytes]:
    """The same picture, stored without loss in many ways."""
    gray = Image.fromarray(digit)
    wide = Image.fromarray(digit.astype(np.uint16) * 257)
    ink = np.dstack([np.full_like(digit, 255)] * 3 + [digit])
    dark_ink = np.dstack([np.zeros_like(digit)] * 3 + [digit])
    return {
        "L": encoded(gray),
        "RGB": encoded(gray.convert("RGB")),
        "RGBA": encoded(gray.convert("RGBA")),
        "LA": encoded(gray.convert("LA")),
        "palette": encoded(gray.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE, colors=256)),
        "16 bits": encoded(wide),
        "light ink over transparency": encoded(Image.fromarray(ink)),
        "dark ink over transparency": encoded(Image.fromarray(dark_ink)),
        "dark on light": encoded(Image.fromarray(255 - digit)),
        "BMP": encoded(gray, "BMP"),
        "GIF": encoded(gray, "GIF"),
        "WEBP": encoded(gray, "WEBP", lossless=True),
    }


def test_a_png_in_mnist_form_passes_bit_for_bit(digits: Dataset) -> None:
    for digit in digits.images[:300]:
        np.testing.assert_array_equal(decode_glyph(encoded(Image.fromarray(digit)), LIMITS), digit)


def test_every_lossless_way_to_store_a_picture_gives_nearly_the_same_glyph(digits: Dataset) -> None:
    for digit in digits.images[:20]:
        for way, content in stored_ways(digit).items():
            difference = np.abs(decode_glyph(content, LIMITS).astype(int) - digit)
            assert difference.mean() < (4 if "dark" in way else 0.01), way


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int, digits: Dataset) -> None:
    image = Image.fromarray(digits.images[0])
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that makes what the tag undoes
    turned = image.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode_glyph(encoded(turned, exif=exif), LIMITS), digits.images[0])


def test_a_jpeg_is_read_as_its_decoder_gives_it(digits: Dataset) -> None:
    content = encoded(Image.fromarray(digits.images[3]), "JPEG", quality=95)
    np.testing.assert_array_equal(
        open_image(content, LIMITS).to_grayscale(), np.asarray(Image.open(io.BytesIO(content)))
    )


def test_sixteen_bits_keep_their_middle() -> None:
    wide = np.full((30, 30), 40_000, np.uint16)
    assert open_image(encoded(Image.fromarray(wide)), LIMITS).to_grayscale().tolist() == [[156] * 30] * 30


def sheet(background: str = "white") -> Image.Image:
    image = Image.new("RGBA", (60, 60), background)
    ImageDraw.Draw(image).line((30, 8, 30, 50), fill="black", width=6)
    return image


def test_cut_corners_are_filled_with_the_paper_of_the_picture() -> None:
    cut = sheet("#ffffff00")
    ImageDraw.Draw(cut).rounded_rectangle((0, 0, 59, 59), 14, fill="white")
    ImageDraw.Draw(cut).line((30, 8, 30, 50), fill="black", width=6)
    np.testing.assert_array_equal(decode_glyph(encoded(cut), LIMITS), decode_glyph(encoded(sheet()), LIMITS))


def test_a_photo_with_a_preview_inside_is_one_picture() -> None:
    photo, preview = sheet().convert("RGB"), Image.new("RGB", (20, 20), "white")
    content = encoded(photo, "MPO", save_all=True, append_images=[preview])
    assert decode_glyph(content, LIMITS).any()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


WHOLE = encoded(Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28)))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", InvalidImage),
        (b"hello", UnsupportedMediaType),
        (b"%PDF-1.4", UnsupportedMediaType),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedMediaType),
        (encoded(Image.new("L", (28, 28)), "TIFF"), UnsupportedMediaType),
        (encoded(Image.new("L", (28, 28)), "PPM"), UnsupportedMediaType),
        (WHOLE[:60], InvalidImage),
        (WHOLE[:40] + b"\0\0\0\0" + WHOLE[44:], InvalidImage),
        (b"\x89PNG\r\n\x1a\n", InvalidImage),
        (bomb(1, 178_000_000), PayloadTooLarge),
        (bomb(4097, 10), PayloadTooLarge),
        (bomb(2001, 2000), PayloadTooLarge),
        (bomb(1000, 1000), InvalidImage),
        (bytes(2**20 + 1), PayloadTooLarge),
        (encoded(Image.new("L", (28, 28), 255)), BlankImage),
        (encoded(Image.new("L", (300, 200), 0)), BlankImage),
        (
            encoded(Image.new("L", (28, 28)), "GIF", save_all=True, append_images=[Image.new("L", (28, 28), 9)]),
            InvalidImage,
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_right_error(content: bytes, error: type[ServiceError]) -> None:
    with pytest.raises(error) as caught:
        decode_glyph(content, LIMITS)
    assert type(caught.value) is error


def test_any_mutation_of_an_image_is_read_or_refused_but_never_crashes() -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (40, 40)).astype(np.uint8))
    for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP"):
        content = encoded(picture, kind)
        for _ in range(150):
            mutated = bytearray(content)
            for place in rng.integers(0, len(content), rng.integers(1, 6)):
                mutated[place] = rng.integers(0, 256)
            with contextlib.suppress(UnprocessableContent, UnsupportedMediaType, PayloadTooLarge):
                assert decode_glyph(bytes(mutated[: rng.integers(1, len(mutated) + 1)]), LIMITS).shape == (28, 28)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (of_many_scans(encoded(Image.new("L", (28, 28)), "JPEG", progressive=True), 101), "at most 100 are read"),
        (b"\xff\xd8" + b"\xff" * 1_000_000, "between its segments"),
        (WHOLE[:33] + chunk(b"abCd", b"") * 80_000 + WHOLE[33:], "more than 1,000 chunks"),
    ],
)
def test_what_takes_long_for_its_size_is_refused_before_it_is_decoded(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidImage, match=reason):
        open_image(content, LIMITS)
