import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from service.errors import InvalidInput, NotFound
from service.samples.recent import Recent, shared_folder

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


def remember(recent: Recent, request_id: str, label: str) -> None:
    recent.remember(request_id, "mnist", 1, [GLYPHS[1]], [(label, 1.0)])


def test_processes_that_share_a_folder_find_each_others_images(tmp_path: Path) -> None:
    one, other = Recent(10, tmp_path / "shared"), Recent(10, tmp_path / "shared")
    remember(one, "a", "1")
    remember(other, "b", "2")
    assert [recent.recall(name).label for recent in (one, other) for name in "ab"] == ["1", "2", "1", "2"]
    remember(other, "a", "3")  # a client that uses its id again, answered by another process
    assert one.recall("a").label == "3"
    one.close()
    assert other.recall("b").label == "2"
    other.close()
    assert not (tmp_path / "shared").exists()


CODE = """
import sys, numpy, pathlib
from service.samples.recent import Recent
recent = Recent(10, pathlib.Path(sys.argv[1]))
recent.remember("elsewhere", "mnist", 7, [numpy.full((28, 28), 9, numpy.uint8)], [("5", 0.5)])
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_remembered_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    mine = Recent(10, tmp_path)
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        seen = mine.recall("elsewhere")
        assert (seen.version, seen.label, int(seen.glyph[0, 0])) == (7, "5", 9)
        assert len(list(tmp_path.iterdir())) == 2
        process.kill()
    last = Recent(10, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(NotFound):
        last.recall("elsewhere")
    for recent in (mine, last):
        recent.close()


def test_a_record_that_is_not_whole_is_not_taken_for_an_image(tmp_path: Path) -> None:
    recent = Recent(2, tmp_path)
    remember(recent, "a", "1")
    (file,) = tmp_path.iterdir()
    with file.open("r+b") as ring:
        ring.seek(900)
        ring.write(b"\xff")
    with pytest.raises(NotFound):
        recent.recall("a")
    recent.close()


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "mine").symlink_to(tmp_path / "theirs")
    recent = Recent(2, tmp_path / "mine")
    remember(recent, "a", "1")
    assert recent.recall("a").label == "1"
    assert list((tmp_path / "theirs").iterdir()) == []


def test_homes_do_not_share(tmp_path: Path) -> None:
    assert shared_folder(tmp_path / "one") != shared_folder(tmp_path / "two")
    assert shared_folder(tmp_path / "one") == shared_folder(tmp_path / "one")
