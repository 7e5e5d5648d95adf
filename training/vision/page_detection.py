"""Page detection: a sheet of paper on a desk, or a drawing inside a wide frame."""

import numpy as np

from training.types import Pixels
from training.vision.background import otsu_threshold
from training.vision.borders import border
from training.vision.connected_components import label_components
from training.vision.resize import resize

_SIDE = 64


def find_page(gray: Pixels) -> tuple[slice, slice] | None:
    """Return the rows and columns inside a page, or None if the image shows no page with something around it.

    A page is a solid rectangle that differs from its surroundings and has marks on it.
    """
    height, width = (min(side, _SIDE) for side in gray.shape)
    small = resize(gray.astype(np.float32), height, width)
    light = small > otsu_threshold(small)
    edge = border(light)
    if 0.3 < edge.mean() < 0.7:
        return None
    page = ~light if edge.mean() > 0.5 else light
    found = label_components(np.ones_like(small), page)
    if not len(found.weights):
        return None
    largest = int(found.weights.argmax())
    top, bottom, left, right = (int(side[largest]) for side in (found.tops, found.bottoms, found.lefts, found.rights))
    inset = 1 + round(0.03 * max(bottom - top, right - left))
    inside = (slice(top + inset, bottom + 1 - inset), slice(left + inset, right + 1 - inset))
    tall, broad = bottom - top + 1, right - left + 1
    if min(tall / height, broad / width) < 0.4 or found.weights[largest] < 0.7 * tall * broad:
        return None
    marks = ~page[inside]
    if not marks.size or not 0.005 < marks.mean() < 0.4:  # an empty array if the page is too narrow to have an inside
        return None
    down, across = gray.shape[0] / height, gray.shape[1] / width
    return (
        slice(round(inside[0].start * down), round(inside[0].stop * down)),
        slice(round(inside[1].start * across), round(inside[1].stop * across)),
    )
