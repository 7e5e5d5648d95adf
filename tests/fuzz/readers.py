"""All readers by name: how each is held against the ordinary way, and what it may raise."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tests.fuzz import messages, pictures, sets, tensors

Check = Callable[[bytes], None]
"""Reads some bytes in both ways; raises AssertionError where they differ, and lets through what is in no contract."""


@dataclass(frozen=True)
class Reader:
    """One reader of bytes."""

    name: str
    check: Check
    seeds: Callable[[], list[bytes]]
    """Good inputs, to be changed."""


@cache
def readers() -> dict[str, Reader]:
    """List them."""
    found = [
        Reader("plain_png", pictures.check_png, pictures.pngs),
        Reader("plain_jpeg", pictures.check_jpeg, pictures.jpegs),
        Reader("plain_glyph", pictures.check_glyph, pictures.glyphs),
        Reader("gray", pictures.check_gray, pictures.gray_streams),
        Reader("ink", pictures.check_ink, pictures.inks),
        Reader("open_image", pictures.check_picture, pictures.all_kinds),
        Reader("plain_request", messages.check_request, messages.requests),
        Reader("form", messages.check_form, messages.forms),
        Reader("base64", messages.check_base64, messages.base64_texts),
        Reader("json_object", messages.check_object, messages.objects),
        Reader("predict_json", messages.check_predict_json, messages.predict_bodies),
        Reader("decompressed", messages.check_compressed, messages.compressed_bodies),
        Reader("v2_binary", tensors.check_v2, tensors.v2_bodies),
        Reader("v1_json", tensors.check_v1, tensors.v1_bodies),
        Reader("idx", sets.check_idx, sets.idx_files),
        Reader("npz", sets.check_npz, sets.npz_files),
        Reader("weights", sets.check_weights, sets.weights_files),
    ]
    return {reader.name: reader for reader in found}
