"""The images of the last predictions, so that a correction may name a request instead of sending its image again."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.errors import InvalidInput, NotFound
from training.arrays import Pixels
from training.preprocess import SIDE


@dataclass(frozen=True)
class Seen:
    """An image that was read lately, and what it was taken for."""

    glyph: Pixels
    model: str
    version: int
    label: str
    confidence: float


_Answers = tuple[str, int, list[tuple[bytes, str, float] | None]]
"""A request's model and version, and for each of its images (glyph, label, confidence), or None for a broken one."""


class Recent:
    """A ring of the images read last, in this process's memory alone: used by the event loop's thread."""

    def __init__(self, most: int) -> None:
        """Remember at most so many images; 0 remembers none."""
        self._most, self._images = most, 0
        self._requests: OrderedDict[str, _Answers] = OrderedDict()

    def remember(
        self,
        request_id: str,
        model: str,
        version: int,
        glyphs: Sequence[Pixels | None],
        answers: Sequence[tuple[str, float]],
    ) -> None:
        """Remember a request's images, None for those that could not be read, and the others' (label, confidence)."""
        if not self._most:
            return
        each = iter(answers)
        seen = [None if glyph is None else (glyph.tobytes(), *next(each)) for glyph in glyphs]
        self._drop(request_id)  # a client may use its id again: the newest counts
        self._requests[request_id] = (model, version, seen)
        self._images += len(seen)
        while self._images > self._most:
            self._drop(next(iter(self._requests)))

    def _drop(self, request_id: str) -> None:
        if gone := self._requests.pop(request_id, None):
            self._images -= len(gone[2])

    def recall(self, request_id: str, place: int = 0) -> Seen:
        """Find an image by its request, and by its place among several. Raises NotFound once it is forgotten."""
        if request_id not in self._requests:
            raise NotFound(
                f"no image of that request is remembered (only the last {self._most:,} are); "
                "send the image itself with its label"
            )
        model, version, seen = self._requests[request_id]
        if place >= len(seen):
            raise InvalidInput(f"that request had {len(seen)} images; index counts from 0", field="index")
        image = seen[place]
        if image is None:
            raise InvalidInput("that image of the request could not be read", field="index")
        glyph, label, confidence = image
        return Seen(np.frombuffer(glyph, np.uint8).reshape(SIDE, SIDE), model, version, label, confidence)
