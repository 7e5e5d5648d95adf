"""Explanations of predictions: the input of the network, and which pixels count for or against the class."""

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
    """The explanation of one prediction."""

    label: str
    """The explained class."""
    glyph: Pixels
    """The input of the network, uint8 (28, 28)."""
    saliency: Floats
    """The contribution of each pixel to the score of the class, float32 (28, 28): gradient × input."""

    def to_json(self) -> dict[str, Any]:
        """Return the entry of a response. `saliency` stays an array; write it with orjson's OPT_SERIALIZE_NUMPY."""
        return {
            "label": self.label,
            "image": png_base64(self.glyph),
            "saliency": np.ascontiguousarray(self.saliency),
            "saliency_image": png_base64(saliency_heatmap(self.saliency)),
        }


def explain(snapshot: ServingModel, glyphs: Pixels, classes: Sequence[int] | None = None) -> list[Explanation]:
    """Explain the given classes, by default the most probable ones, for glyphs, uint8 (n, 28, 28)."""
    if not len(glyphs):
        return []
    indices = snapshot.predict(glyphs).argmax(axis=1) if classes is None else np.asarray(classes)
    maps = gradient_times_input(snapshot.network, glyphs, indices)
    return [
        Explanation(snapshot.labels[index], glyph, saliency)
        for index, glyph, saliency in zip(indices.tolist(), glyphs, maps, strict=True)
    ]


def saliency_heatmap(saliency: Floats) -> Pixels:
    """Convert a saliency map, (28, 28), to RGB, uint8 (28, 28, 3): red counts for the class, blue against it."""
    strength = np.abs(saliency) / max(float(np.abs(saliency).max()), np.finfo(np.float32).tiny)
    faded = np.rint(255 * (1 - strength)).astype(np.uint8)
    full = np.full_like(faded, 255)
    red, blue = np.where(saliency < 0, faded, full), np.where(saliency > 0, faded, full)
    return np.stack([red, faded, blue], axis=-1)


def png_base64(image: Pixels) -> str:
    """Encode an image, uint8 (h, w) or (h, w, 3), as PNG in base64."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
