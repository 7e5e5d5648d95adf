import numpy as np
import pytest

from service.errors import InvalidInput, NotFound
from service.recent import Recent

GLYPHS = [np.full((28, 28), shade, np.uint8) for shade in range(4)]


def test_an_image_is_remembered_with_what_it_was_taken_for() -> None:
    recent = Recent(10)
    recent.remember("one", "mnist", 3, [GLYPHS[1], None, GLYPHS[2]], [("7", 0.5), ("1", 0.25)])
    seen = recent.recall("one", 2)
    np.testing.assert_array_equal(seen.glyph, GLYPHS[2])
    assert (seen.model, seen.version, seen.label, seen.confidence) == ("mnist", 3, "1", 0.25)
    with pytest.raises(InvalidInput, match="could not be read"):
        recent.recall("one", 1)
    with pytest.raises(InvalidInput, match="3 images"):
        recent.recall("one", 3)


def test_the_oldest_are_forgotten_first_and_an_id_used_again_means_the_newest() -> None:
    recent = Recent(3)
    for request_id, shade in (("a", 0), ("b", 1), ("a", 2), ("c", 3)):
        recent.remember(request_id, "mnist", 1, [GLYPHS[shade]], [(str(shade), 1.0)])
    assert [recent.recall(request_id).label for request_id in "abc"] == ["2", "1", "3"]
    recent.remember("d", "mnist", 1, GLYPHS[:2], [("0", 1.0), ("1", 1.0)])
    for forgotten in ("a", "b"):
        with pytest.raises(NotFound, match="last 3"):
            recent.recall(forgotten)
    assert recent.recall("c").label == "3"


def test_nothing_is_remembered_when_nothing_shall_be() -> None:
    recent = Recent(0)
    recent.remember("a", "mnist", 1, [GLYPHS[0]], [("0", 1.0)])
    with pytest.raises(NotFound):
        recent.recall("a")
