"""What a sample is: a picture that somebody has put right, as one object that is whole in itself."""

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
from training.arrays import Pixels
from training.errors import ConfigError
from training.preprocess import SIDE, fingerprint
from training.stored import restored

_LEAST_CONTRAST = 16


@dataclass(frozen=True)
class Provenance:
    """Where a sample came from."""

    request_id: str
    """The request that showed the picture: the prediction that was wrong, or the one that brought the sample."""
    version: int | None = None
    """The version that read it."""
    answered: str | None = None
    """What that version took it for."""
    confidence: float | None = None
    """How sure it was."""
    key_id: str | None = None
    """The key of whoever sent the label, where keys are asked for."""
    key_name: str | None = None
    """Its name, which is known for as long as the sample is, also when the key was revoked."""

    def is_by(self, sender: str, key_ids: frozenset[str] = frozenset()) -> bool:
        """Tell whether a key of this name or id, or one of those ids, sent it."""
        return sender in (self.key_name, self.key_id) or self.key_id in key_ids


@dataclass(frozen=True)
class Label:
    """One entry of a sample's history: what somebody said it shows, and when."""

    label: str
    since: str


@dataclass(frozen=True)
class Sample:
    """A picture, the glyph that the network saw, with the label that counts now."""

    id: str
    """Of the picture: the same picture is the same sample."""
    model: str
    label: str
    since: str
    picture: bytes
    """The glyph as a gray 28×28 PNG."""
    source: Provenance
    history: tuple[Label, ...] = field(default=())
    """All labels that it has had, the present one first; of many, the newest."""

    @property
    def glyph(self) -> Pixels:
        """The glyph, uint8 (28, 28)."""
        with Image.open(io.BytesIO(self.picture), formats=("PNG",)) as image:
            return np.array(image, dtype=np.uint8)


def content_id(glyph: Pixels) -> str:
    """Name a picture by its content. Raises BlankImage when there is nothing on it to learn."""
    if int(glyph.max()) - int(glyph.min()) < _LEAST_CONTRAST:
        raise BlankImage("the image is blank: there is nothing on it to learn from")
    return sha256(np.ascontiguousarray(glyph).data).hexdigest()[:32]


def to_bytes(glyph: Pixels, model: str, label: str, source: Source) -> bytes:
    """Write a sample as it is stored."""
    png = io.BytesIO()
    Image.fromarray(glyph).save(png, "PNG", optimize=True)
    entry = {
        "model": model,
        "label": label,
        "picture": base64.b64encode(png.getvalue()).decode(),
        "preprocessing": fingerprint(),
        # Earlier releases, which may read the same store, do not know the name.
        "source": {name: value for name, value in asdict(source).items() if name != "key_name" or value},
    }
    return json.dumps(entry).encode()


def from_bytes(content: bytes, sample_id: str, stamp: int) -> Sample:
    """Read back what `to_bytes` wrote. Raises ValueError when it is damaged: the picture must be that of the id."""
    try:
        entry = read_object(content)
        picture = base64.b64decode(entry["picture"], validate=True)
        model, label, source = entry["model"], entry["label"], restored(Provenance, entry["source"], "the source")
        if not isinstance(model, str) or not isinstance(label, str) or not _is_typed(source):
            raise TypeError
        sample = Sample(sample_id, model, label, iso_time(stamp), picture, source)
        glyph = sample.glyph
    except ConfigError as error:
        raise ValueError(f"sample {sample_id} cannot be read: {error}") from error
    except Exception as error:  # json, base64 and Pillow raise a dozen types for damaged content
        raise ValueError(f"sample {sample_id} is damaged") from error
    if glyph.shape != (SIDE, SIDE) or content_id(glyph) != sample_id:
        raise ValueError(f"sample {sample_id} is damaged")
    return sample


def _is_typed(source: Source) -> bool:
    texts = (source.answered, source.key_id, source.key_name)
    return (
        isinstance(source.request_id, str)
        and all(isinstance(text, str | None) for text in texts)
        and isinstance(source.version, int | None)
        and isinstance(source.confidence, int | float | None)
    )


def iso_time(stamp: int) -> str:
    """Write a time in microseconds since 1970 as ISO 8601."""
    return datetime.fromtimestamp(stamp / 1e6, UTC).isoformat(timespec="milliseconds")
