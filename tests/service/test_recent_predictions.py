import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import NotFound, UnprocessableContent
from service.samples.recent import RecentPredictions, shared_folder
from service.samples.ring import RingBuffer, buffer_size
from training import Dataset

GLYPHS = [np.full((28, 28), shade, np.uint8) for shade in range(4)]


def test_an_image_is_remembered_with_what_it_was_taken_for() -> None:
    recent = RecentPredictions(10)
    recent.add("one", "mnist", 3, [GLYPHS[1], None, GLYPHS[2]], [("7", 0.5), ("1", 0.25)])
    seen = recent.get("one", 2)
    np.testing.assert_array_equal(seen.glyph, GLYPHS[2])
    assert (seen.model, seen.version, seen.label, seen.confidence) == ("mnist", 3, "1", 0.25)
    with pytest.raises(UnprocessableContent, match="could not be read"):
        recent.get("one", 1)
    with pytest.raises(UnprocessableContent, match="3 images"):
        recent.get("one", 3)


def test_the_oldest_are_forgotten_first_and_an_id_used_again_means_the_newest() -> None:
    recent = RecentPredictions(3)
    for request_id, shade in (("a", 0), ("b", 1), ("a", 2), ("c", 3)):
        recent.add(request_id, "mnist", 1, [GLYPHS[shade]], [(str(shade), 1.0)])
    assert [recent.get(request_id).label for request_id in "abc"] == ["2", "1", "3"]
    recent.add("d", "mnist", 1, GLYPHS[:2], [("0", 1.0), ("1", 1.0)])
    for forgotten in ("a", "b"):
        with pytest.raises(NotFound, match="last 3"):
            recent.get(forgotten)
    assert recent.get("c").label == "3"


def test_nothing_is_remembered_when_nothing_shall_be() -> None:
    recent = RecentPredictions(0)
    recent.add("a", "mnist", 1, [GLYPHS[0]], [("0", 1.0)])
    with pytest.raises(NotFound):
        recent.get("a")


def remember(recent: RecentPredictions, request_id: str, label: str) -> None:
    recent.add(request_id, "mnist", 1, [GLYPHS[1]], [(label, 1.0)])


def test_processes_that_share_a_folder_find_each_others_images(tmp_path: Path) -> None:
    one, other = RecentPredictions(10, tmp_path / "shared"), RecentPredictions(10, tmp_path / "shared")
    remember(one, "a", "1")
    remember(other, "b", "2")
    assert [recent.get(name).label for recent in (one, other) for name in "ab"] == ["1", "2", "1", "2"]
    remember(other, "a", "3")  # a client that uses its id again, answered by another process
    assert one.get("a").label == "3"
    one.close()
    assert other.get("b").label == "2"
    other.close()
    assert not (tmp_path / "shared").exists()


CODE = """
import sys, numpy, pathlib
from service.samples.recent import RecentPredictions
recent = RecentPredictions(10, pathlib.Path(sys.argv[1]))
recent.add("elsewhere", "mnist", 7, [numpy.full((28, 28), 9, numpy.uint8)], [("5", 0.5)])
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_remembered_is_cleared_away_by_the_next(tmp_path: Path) -> None:
    mine = RecentPredictions(10, tmp_path)
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        seen = mine.get("elsewhere")
        assert (seen.version, seen.label, int(seen.glyph[0, 0])) == (7, "5", 9)
        assert len(list(tmp_path.iterdir())) == 2
        process.kill()
    last = RecentPredictions(10, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(NotFound):
        last.get("elsewhere")
    for recent in (mine, last):
        recent.close()


def test_a_record_that_is_not_whole_is_not_taken_for_an_image(tmp_path: Path) -> None:
    recent = RecentPredictions(2, tmp_path)
    remember(recent, "a", "1")
    (file,) = tmp_path.iterdir()
    with file.open("r+b") as ring:
        ring.seek(900)
        ring.write(b"\xff")
    with pytest.raises(NotFound):
        recent.get("a")
    recent.close()


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "mine").symlink_to(tmp_path / "theirs")
    recent = RecentPredictions(2, tmp_path / "mine")
    remember(recent, "a", "1")
    assert recent.get("a").label == "1"
    assert list((tmp_path / "theirs").iterdir()) == []


def test_homes_do_not_share(tmp_path: Path) -> None:
    assert shared_folder(tmp_path / "one") != shared_folder(tmp_path / "two")
    assert shared_folder(tmp_path / "one") == shared_folder(tmp_path / "one")


class Counting(bytearray):
    """Memory that counts the bytes that are read from it as slices."""

    read = 0

    def __getitem__(self, key: Any) -> Any:
        content = super().__getitem__(key)
        self.read += len(content) if isinstance(key, slice) else 1
        return content


@pytest.mark.parametrize("most", [1000, 64_000])
def test_finding_an_image_reads_a_few_records_however_many_are_remembered(most: int) -> None:
    memory = Counting(buffer_size(most))
    ring = RingBuffer.create(memory, most)
    for number in range(3000):
        ring.append(b"%d" % number, b"mnist", 1, [(b"", b"7", 0.5)])
    for name in (b"2999", b"2500", b"2001", b"0", b"unknown"):
        memory.read = 0
        found = ring.find(name, 0)
        assert (found is None) == (name == b"unknown" or (most == 1000 and name == b"0"))
        assert memory.read < 20_000  # twenty records


def test_every_remembered_request_is_found_and_no_other(digits: Dataset) -> None:
    rng = np.random.default_rng(5)
    recent, most = RecentPredictions(200), 200
    written: list[tuple[str, int, int]] = []
    for number in range(1500):
        name, count = f"id-{rng.integers(60)}", int(rng.integers(1, 5))
        glyphs = [digits.images[(number + place) % len(digits)] for place in range(count)]
        recent.add(name, "mnist", number + 1, glyphs, [(str(place), 0.5) for place in range(count)])
        written += [(name, number + 1, place) for place in range(count)]
        kept = written[-most:]
        asked = f"id-{rng.integers(60)}"
        newest = max((version for of, version, _ in kept if of == asked), default=None)
        if newest is None:
            with pytest.raises(NotFound):
                recent.get(asked)
            continue
        for place in [place for of, version, place in kept if (of, version) == (asked, newest)]:
            seen = recent.get(asked, place)
            assert (seen.version, seen.label) == (newest, str(place))
            np.testing.assert_array_equal(seen.glyph, digits.images[(newest - 1 + place) % len(digits)])


def test_a_request_used_without_end_does_not_make_others_slow_to_find() -> None:
    memory = Counting(buffer_size(4096))
    ring = RingBuffer.create(memory, 4096)
    ring.append(b"first", b"mnist", 1, [(b"", b"7", 0.5)])
    for _ in range(4000):
        ring.append(b"again", b"mnist", 1, [(b"", b"7", 0.5)])
    for name in (b"first", b"again", b"unknown"):
        memory.read = 0
        assert (ring.find(name, 0) is None) == (name == b"unknown")
        assert memory.read < 10_000


def test_a_ring_of_another_release_is_passed_over(tmp_path: Path) -> None:
    recent = RecentPredictions(10, tmp_path)
    (tmp_path / "1-1.ring").write_bytes(b"\1" * 9960)
    (tmp_path / "1-2.ring").write_bytes(b"")
    remember(recent, "a", "1")
    assert recent.get("a").label == "1"
    with pytest.raises(NotFound):
        recent.get("b")
    recent.close()
