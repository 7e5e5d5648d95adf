"""The input tensor of every model.

    integers, BOOL    pixels 0 … 255 (ink is high; true is 255), [n,28,28], [n,784], [n,28,28,1] or [n,1,28,28]
    floats            the features of the network: the same shapes by the side of its input, low … high
    BYTES             encoded images, [n] or [n,1]: files, or base64 text of files

Pixels and floats reach the network unchanged. Images are preprocessed as by `POST /predict`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidTensor, PayloadTooLarge, UnprocessableContent, UnsupportedMediaType
from service.inference.images import ImageLimits, LazyImage, decode_base64, open_image
from service.inference.tensors import Tensor
from training.types import Floats, Pixels
from training.vision.input_spec import IMAGE_SIZE, InputSpec

_T = TypeVar("_T")

INPUT = "image"
RAW_IMAGE_SPEC = Tensor(INPUT, "UINT8", (1, IMAGE_SIZE, IMAGE_SIZE), [])
"""The tensor of a body without JSON: the pixels of one image."""

_BASE64_OF_IMAGES = (b"iVBORw0KGgo", b"/9j/", b"_9j_", b"Qk", b"R0lGOD", b"UklGR", b"data:")
"""The start of base64 text of PNG, JPEG, BMP, GIF and WEBP files, or of a data: URL. No such file starts like that."""
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class BatchLimits:
    """Limits of a batch."""

    images: ImageLimits
    max_encoded: int
    max_rows: int


@dataclass(frozen=True)
class Batch:
    """A batch of images."""

    features: Floats
    """The input of the network, (n, width²)."""
    glyphs: Pixels
    """The same images, uint8 (n, 28, 28)."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.glyphs)


def single_input(inputs: list[Tensor]) -> Tensor:
    """Return the only input, whatever its name. Raises InvalidTensor."""
    if len(inputs) != 1:
        raise InvalidTensor(f"the model takes exactly one input, `{INPUT}`", field="inputs")
    return inputs[0]


def open_images(tensor: Tensor, limits: BatchLimits) -> list[tuple[int, Callable[[], Pixels]]]:
    """Read the headers of encoded images. Return (pixels, decode function) pairs, none for other tensors.

    Raises InvalidTensor or PayloadTooLarge; the functions do, too.
    """
    if not isinstance(tensor.values, list):
        return []
    rows = _count_rows(tensor, limits.max_encoded)
    if tensor.shape not in ((rows,), (rows, 1)):
        raise InvalidTensor("BYTES must have the shape [n] or [n, 1], one element per image", field="shape")
    images = [_with_index(index, partial(_open, file, limits)) for index, file in enumerate(tensor.values)]
    return [(image.pixels, partial(_with_index, index, image.to_glyph)) for index, image in enumerate(images)]


def read_batch(tensor: Tensor, form: InputSpec, limits: BatchLimits, glyphs: Sequence[Pixels] | None = None) -> Batch:
    """Convert the input tensor to a batch for a network with this input form. Raises InvalidTensor or PayloadTooLarge.

    `glyphs` are the encoded images if they are decoded already.
    """
    if isinstance(tensor.values, list):
        decoded = [decode() for _, decode in open_images(tensor, limits)] if glyphs is None else glyphs
        return _from_glyphs(np.stack(decoded), form)
    rows = _count_rows(tensor, limits.max_rows)
    is_float = tensor.values.dtype.kind == "f"
    _check_shape(tensor.shape, form.grid_size if is_float else IMAGE_SIZE, tensor.datatype)
    if is_float:
        return _from_features(tensor.values.reshape(rows, form.grid_size**2), form)
    return _from_glyphs(_pixels(tensor.values).reshape(rows, IMAGE_SIZE, IMAGE_SIZE), form)


def _count_rows(tensor: Tensor, limit: int) -> int:
    rows = tensor.shape[0]
    if rows > limit:
        raise PayloadTooLarge(f"the batch has {rows:,} images; the limit is {limit:,}")
    return rows


def _check_shape(shape: tuple[int, ...], side: int, datatype: str) -> None:
    if shape[1:] not in ((side, side), (side * side,), (side, side, 1), (1, side, side)):
        raise InvalidTensor(
            f"{datatype} must have the shape [n, {side}, {side}], [n, {side * side}], [n, {side}, {side}, 1] or "
            f"[n, 1, {side}, {side}]",
            field="shape",
        )


def _pixels(values: NDArray[Any]) -> Pixels:
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype != np.uint8 and (values.min() < 0 or values.max() > 255):
        raise InvalidTensor("integers must be pixels from 0 to 255", field="data")
    return values.astype(np.uint8)  # a copy: metrics keep it for a while and must not keep the whole body alive


def _from_glyphs(glyphs: Pixels, form: InputSpec) -> Batch:
    return Batch(form.to_features(glyphs), glyphs)


def _from_features(values: NDArray[Any], form: InputSpec) -> Batch:
    margin = (form.high - form.low) * _TOLERANCE
    with np.errstate(invalid="ignore"):
        is_in_range = values.min() >= form.low - margin and values.max() <= form.high + margin  # false for NaN
    if not is_in_range:
        raise InvalidTensor(
            f"floats must be features from {form.low:g} to {form.high:g}; send pixels from 0 to 255 as UINT8",
            field="data",
        )
    features = np.ascontiguousarray(values, np.float32)
    shades = np.clip(np.rint((features - form.low) * (255 / (form.high - form.low))), 0, 255)
    return Batch(features, form.to_image(shades).astype(np.uint8))


def _open(file: bytes, limits: BatchLimits) -> LazyImage:
    return open_image(_decode(file), limits.images)


def _with_index(index: int, read: Callable[[], _T]) -> _T:
    """Call `read`; errors name the index of the image in the batch."""
    try:
        return read()
    except (UnprocessableContent, UnsupportedMediaType) as error:
        raise InvalidTensor(f"image {index}: {error.detail}", field="data") from None


def _decode(file: bytes) -> bytes:
    if not file[:64].lstrip().startswith(_BASE64_OF_IMAGES):
        return file
    try:
        return decode_base64(file)
    except ValueError as error:
        raise UnprocessableContent(f"it {error}") from None


def describe_input() -> dict[str, Any]:
    """Return the V2 metadata of the input; -1 is a variable dimension."""
    return {"name": INPUT, "datatype": RAW_IMAGE_SPEC.datatype, "shape": [-1, IMAGE_SIZE, IMAGE_SIZE]}
