"""A sample: an image with its correct label, stored as one self-contained object."""

import base64
import io
import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

import numpy as np
from PIL import Image

from service.errors import BlankImage
from service.json_objects import read_object
from training.errors import ConfigError
from training.stored import restored
from training.types import Pixels
from training.vision.glyph import preprocessing_id
from training.vision.input_spec import IMAGE_SIZE

_MIN_CONTRAST = 16


@dataclass(frozen=True)
class Provenance:
    """Where a sample came from."""

    request_id: str
    """The request with the image: the wrong prediction, or the request that submitted the sample."""
    version: int | None = None
    """The version that predicted it."""
    answered: str | None = None
    """The label that this version predicted."""
    confidence: float | None = None
    """The confidence of that prediction."""
    key_id: str | None = None
    """The API key that submitted the label, if keys are required."""
    key_name: str | None = None
    """The name of that key, kept even if the key is revoked."""

    def is_by(self, sender: str, key_ids: frozenset[str] = frozenset()) -> bool:
        """Return whether a key with this name or ID, or one of those IDs, submitted the label."""
        return sender in (self.key_name, self.key_id) or self.key_id in key_ids


@dataclass(frozen=True)
class LabelEntry:
    """An entry of a sample's history: a label and when it was submitted."""

    label: str
    since: str


@dataclass(frozen=True)
class Sample:
    """An image as the network gets it, with its current label."""

    id: str
    """Hash of the image: the same image is the same sample."""
    model: str
    label: str
    since: str
    picture: bytes
    """The image as a 28×28 grayscale PNG."""
    source: Provenance
    history: tuple[LabelEntry, ...] = field(default=())
    """The newest labels of the sample, the current one first."""

    @property
    def glyph(self) -> Pixels:
        """The image as an array, uint8 (28, 28)."""
        with Image.open(io.BytesIO(self.picture), formats=("PNG",)) as image:
            return np.array(image, dtype=np.uint8)


def content_id(glyph: Pixels) -> str:
    """Return the ID of an image, a hash of its pixels. Raises BlankImage if it has too little contrast."""
    if int(glyph.max()) - int(glyph.min()) < _MIN_CONTRAST:
        raise BlankImage("the image is blank: there is nothing on it to learn from")
    return sha256(np.ascontiguousarray(glyph).data).hexdigest()[:32]


def to_bytes(glyph: Pixels, model: str, label: str, source: Provenance) -> bytes:
    """Serialize a sample for the store."""
    png = io.BytesIO()
    Image.fromarray(glyph).save(png, "PNG", optimize=True)
    entry = {
        "model": model,
        "label": label,
        "picture": base64.b64encode(png.getvalue()).decode(),
        "preprocessing": preprocessing_id(),
        # Older releases, which may share the store, reject unknown names: leave out an empty `key_name`.
        "source": {name: value for name, value in asdict(source).items() if name != "key_name" or value},
    }
    return json.dumps(entry).encode()


def from_bytes(content: bytes, sample_id: str, timestamp: int) -> Sample:
    """Parse what `to_bytes` wrote. Raises ValueError if it is damaged or the image does not match the ID."""
    try:
        entry = read_object(content)
        picture = base64.b64decode(entry["picture"], validate=True)
        model, label, source = entry["model"], entry["label"], restored(Provenance, entry["source"], "the source")
        if not isinstance(model, str) or not isinstance(label, str) or not _has_valid_types(source):
            raise TypeError
        sample = Sample(sample_id, model, label, iso_time(timestamp), picture, source)
        glyph = sample.glyph
    except ConfigError as error:
        raise ValueError(f"sample {sample_id} cannot be read: {error}") from error
    except Exception as error:  # json, base64 and Pillow raise many types for damaged content
        raise ValueError(f"sample {sample_id} is damaged") from error
    if glyph.shape != (IMAGE_SIZE, IMAGE_SIZE) or content_id(glyph) != sample_id:
        raise ValueError(f"sample {sample_id} is damaged")
    return sample


def _has_valid_types(source: Provenance) -> bool:
    texts = (source.answered, source.key_id, source.key_name)
    return (
        isinstance(source.request_id, str)
        and all(isinstance(text, str | None) for text in texts)
        and isinstance(source.version, int | None)
        and isinstance(source.confidence, int | float | None)
    )


def iso_time(timestamp: int) -> str:
    """Format a Unix time in microseconds as ISO 8601."""
    return datetime.fromtimestamp(timestamp / 1e6, UTC).isoformat(timespec="milliseconds")
