"""Why an answer came out as it did: what the network saw, and which pixels spoke for the answer or against it."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from service.serving.model import ServingModel
from training.evaluation.saliency import gradient_times_input
from training.types import Floats, Pixels


@dataclass(frozen=True)
class Explanation:
    """Of one answer."""

    label: str
    """The class that is explained."""
    glyph: Pixels
    """What the network saw, uint8 (28, 28)."""
    saliency: Floats
    """What each pixel added to the score of the class, float32 (28, 28): gradient × input."""

    def to_json(self) -> dict[str, Any]:
        """Give the entry of an answer; the numbers stay an array, for orjson's OPT_SERIALIZE_NUMPY."""
        return {
            "label": self.label,
            "image": as_png(self.glyph),
            "saliency": np.ascontiguousarray(self.saliency),
            "saliency_image": as_png(heat(self.saliency)),
        }


def explain(snapshot: ServingModel, glyphs: Pixels, classes: Sequence[int] | None = None) -> list[Explanation]:
    """Explain the answers to glyphs, uint8 (n, 28, 28): of the most probable classes, or of those that are given."""
    if not len(glyphs):
        return []
    chosen = snapshot.predict(glyphs).argmax(axis=1) if classes is None else np.asarray(classes)
    maps = gradient_times_input(snapshot.network, glyphs, chosen)
    return [
        Explanation(snapshot.labels[place], glyph, saliency)
        for place, glyph, saliency in zip(chosen.tolist(), glyphs, maps, strict=True)
    ]


def heat(saliency: Floats) -> Pixels:
    """Paint a map, (28, 28) → uint8 (28, 28, 3): red speaks for the class, blue against it, white says nothing."""
    strength = np.abs(saliency) / max(float(np.abs(saliency).max()), np.finfo(np.float32).tiny)
    faded = np.rint(255 * (1 - strength)).astype(np.uint8)
    full = np.full_like(faded, 255)
    red, blue = np.where(saliency < 0, faded, full), np.where(saliency > 0, faded, full)
    return np.stack([red, faded, blue], axis=-1)


def as_png(picture: Pixels) -> str:
    """Give a picture, uint8 (h, w) or (h, w, 3), as PNG in base64."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
