"""What the model takes as a tensor: the one input of every version.

    whole numbers, BOOL    pixels 0 … 255 (ink is high; true is 255), [n,28,28], [n,784], [n,28,28,1] or [n,1,28,28]
    floats                 what the network itself takes: the same shapes by the side of its input, low … high
    BYTES                  encoded images, [n] or [n,1]: files, or base64 text of files

Pixels and floats reach the network as they are. Images go through the same preparation as those of `POST /predict`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.base64_text import decode_base64
from service.errors import InvalidInput, InvalidTensor, PayloadTooLarge, UnsupportedMediaType
from service.images import ImageLimits, Picture, open_picture
from service.inference.tensors import Tensor
from training.types import Floats, Pixels
from training.vision.input_spec import IMAGE_SIZE, InputSpec

_T = TypeVar("_T")

INPUT = "image"
RAW = Tensor(INPUT, "UINT8", (1, IMAGE_SIZE, IMAGE_SIZE), [])
"""What a body without any JSON is taken for: the pixels of one image."""

_BASE64_OF_IMAGES = (b"iVBORw0KGgo", b"/9j/", b"_9j_", b"Qk", b"R0lGOD", b"UklGR", b"data:")
"""How base64 text of PNG, JPEG, BMP, GIF and WEBP files begins, or a data: URL; no such file itself begins so."""
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class BatchLimits:
    """How much is taken at once."""

    images: ImageLimits
    most_encoded: int
    most_rows: int


@dataclass(frozen=True)
class Batch:
    """Images as the network takes them."""

    features: Floats
    """(n, width²) of the network's input form."""
    glyphs: Pixels
    """The same as pictures, uint8 (n, 28, 28)."""

    def __len__(self) -> int:
        """Count the images."""
        return len(self.glyphs)


def only_input(inputs: list[Tensor]) -> Tensor:
    """Find the model's input; its name is not looked at, for there is one. Raises InvalidTensor."""
    if len(inputs) != 1:
        raise InvalidTensor(f"the model takes exactly one input, `{INPUT}`", field="inputs")
    return inputs[0]


def open_pictures(tensor: Tensor, limits: BatchLimits) -> list[tuple[int, Callable[[], Pixels]]]:
    """Read the headers of encoded images: of each its pixels, and what decodes it; none for other tensors.

    Raises InvalidTensor or PayloadTooLarge; so does what decodes.
    """
    if not isinstance(tensor.values, list):
        return []
    rows = _checked_rows(tensor, limits.most_encoded)
    if tensor.shape not in ((rows,), (rows, 1)):
        raise InvalidTensor("BYTES has the shape [n] or [n, 1], an image each", field="shape")
    pictures = [_named(place, partial(_opened, file, limits)) for place, file in enumerate(tensor.values)]
    return [(picture.pixels, partial(_named, place, picture.glyph)) for place, picture in enumerate(pictures)]


def read_batch(tensor: Tensor, form: InputSpec, limits: BatchLimits, glyphs: Sequence[Pixels] | None = None) -> Batch:
    """Turn the model's input into what a network of this form takes. Raises InvalidTensor or PayloadTooLarge.

    `glyphs` are the encoded images, decoded already.
    """
    if isinstance(tensor.values, list):
        read = [decode() for _, decode in open_pictures(tensor, limits)] if glyphs is None else glyphs
        return _of_glyphs(np.stack(read), form)
    rows = _checked_rows(tensor, limits.most_rows)
    is_float = tensor.values.dtype.kind == "f"
    _check_shape(tensor.shape, form.grid_size if is_float else IMAGE_SIZE, tensor.datatype)
    if is_float:
        return _of_features(tensor.values.reshape(rows, form.grid_size**2), form)
    return _of_glyphs(_pixels(tensor.values).reshape(rows, IMAGE_SIZE, IMAGE_SIZE), form)


def _checked_rows(tensor: Tensor, most: int) -> int:
    rows = tensor.shape[0]
    if rows > most:
        raise PayloadTooLarge(f"a batch of {rows:,}; at most {most:,} are taken at once")
    return rows


def _check_shape(shape: tuple[int, ...], side: int, datatype: str) -> None:
    if shape[1:] not in ((side, side), (side * side,), (side, side, 1), (1, side, side)):
        raise InvalidTensor(
            f"{datatype} has the shape [n, {side}, {side}], [n, {side * side}], [n, {side}, {side}, 1] or "
            f"[n, 1, {side}, {side}]",
            field="shape",
        )


def _pixels(values: NDArray[Any]) -> Pixels:
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype != np.uint8 and (values.min() < 0 or values.max() > 255):
        raise InvalidTensor("whole numbers are pixels from 0 to 255", field="data")
    return values.astype(np.uint8)  # a copy: metrics keep it for a while, and it must not keep the whole body


def _of_glyphs(glyphs: Pixels, form: InputSpec) -> Batch:
    return Batch(form.to_features(glyphs), glyphs)


def _of_features(values: NDArray[Any], form: InputSpec) -> Batch:
    slack = (form.high - form.low) * _TOLERANCE
    with np.errstate(invalid="ignore"):
        is_inside = values.min() >= form.low - slack and values.max() <= form.high + slack  # false for NaN
    if not is_inside:
        raise InvalidTensor(
            f"floats are what the network takes, from {form.low:g} to {form.high:g}; pixels from 0 to 255 are UINT8",
            field="data",
        )
    features = np.ascontiguousarray(values, np.float32)
    shades = np.clip(np.rint((features - form.low) * (255 / (form.high - form.low))), 0, 255)
    return Batch(features, form.to_image(shades).astype(np.uint8))


def _opened(file: bytes, limits: BatchLimits) -> Picture:
    return open_picture(_decoded(file), limits.images)


def _named(place: int, read: Callable[[], _T]) -> _T:
    """Read an image; an error names its place in the batch."""
    try:
        return read()
    except (InvalidInput, UnsupportedMediaType) as error:
        raise InvalidTensor(f"image {place}: {error.detail}", field="data") from None


def _decoded(file: bytes) -> bytes:
    if not file[:64].lstrip().startswith(_BASE64_OF_IMAGES):
        return file
    try:
        return decode_base64(file)
    except ValueError as error:
        raise InvalidInput(f"it {error}") from None


def describe_input() -> dict[str, Any]:
    """Describe the input as the metadata of V2 does; -1 is any number."""
    return {"name": INPUT, "datatype": RAW.datatype, "shape": [-1, IMAGE_SIZE, IMAGE_SIZE]}
