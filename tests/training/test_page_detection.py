"""A sheet of paper on something else."""

import numpy as np

from training.vision.page_detection import find_page


def test_a_sheet_with_marks_is_found_and_its_margin_is_left_out() -> None:
    desk = np.full((60, 90), 30, np.uint8)
    desk[10:50, 15:75] = 220
    desk[25:35, 40:48] = 20
    inside = find_page(desk)
    assert inside is not None
    (top, bottom), (left, right) = ((side.start, side.stop) for side in inside)
    assert 10 < top <= 25 < 35 <= bottom < 50
    assert 15 < left <= 40 < 48 <= right < 75


def test_a_strip_too_narrow_to_have_an_inside_is_no_sheet() -> None:
    strip = np.zeros((4, 9), np.uint8)
    strip[1:3, 1:8] = 255
    assert find_page(strip) is None
