import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.hostile.pictures import DATA, END, header, of_many_scans
from training import Experiment, recipes
from training.data import Dataset, load_dataset, save_image_folder
from training.data.survey import survey
from training.errors import DataError
from training.vision.image_io import to_gray

STARTER = load_dataset("starter").train
DIGITS = STARTER.select(np.arange(60))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of two pictures each."""
    for name in ("b", "a", "10"):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.fromarray(DIGITS.images[number]).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_what_is_written_is_read_back_pixel_for_pixel(tmp_path: Path) -> None:
    save_image_folder(DIGITS, tmp_path / "digits")
    read = load_dataset(str(tmp_path / "digits")).train
    order = np.argsort(DIGITS.labels, kind="stable")
    np.testing.assert_array_equal(read.images, DIGITS.images[order])
    np.testing.assert_array_equal(read.labels, DIGITS.labels[order])
    assert read.classes == DIGITS.classes
    assert read.name == "digits"


def test_classes_are_the_sorted_names_of_the_folders(folder: Path) -> None:
    (folder / ".hidden").mkdir()
    (folder / "a" / ".DS_Store").write_bytes(b"x")
    (folder / "README.md").write_text("about these pictures")
    source = load_dataset(str(folder))
    assert source.train.classes == ("10", "a", "b")
    assert source.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert source.test is None


def test_a_file_address_names_a_folder_too(folder: Path) -> None:
    assert len(load_dataset(folder.as_uri()).train) == 6


def test_a_train_and_a_test_folder_are_the_two_parts_of_a_source(tmp_path: Path) -> None:
    save_image_folder(DIGITS, tmp_path / "train")
    save_image_folder(STARTER.select(np.arange(60, 160)), tmp_path / "test")
    source = load_dataset(str(tmp_path))
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (60, 100)
    (tmp_path / "test" / "9").rename(tmp_path / "test" / "nine")
    with pytest.raises(DataError, match="but test has"):
        load_dataset(str(tmp_path))


@pytest.mark.parametrize("ending", ["png", "bmp", "gif", "jpg", "tif", "webp"])
def test_pictures_of_any_size_and_format_become_glyphs(ending: str, tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    large = Image.fromarray(255 - np.pad(DIGITS.images[0].repeat(4, axis=0).repeat(4, axis=1), 30))
    large.convert("RGB").save(tmp_path / "7" / f"seven.{ending}", quality=95)
    read = load_dataset(str(tmp_path)).train
    assert read.images.shape == (1, 28, 28)
    assert np.abs(read.images[0].astype(int) - DIGITS.images[0]).mean() < 8  # of 255


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not an image"),
        (b"hello", "is not an image; expected one that Pillow can read"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "is not an image|damaged"),
    ],
)
def test_a_file_that_is_no_image_is_named(content: bytes, says: str, folder: Path) -> None:
    (folder / "a" / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        load_dataset(str(folder))
    assert str(folder / "a" / "bad.png") in str(caught.value)


def test_a_truncated_image_a_blank_one_and_a_folder_are_named(folder: Path) -> None:
    bad = folder / "a" / "bad.png"
    bad.write_bytes((folder / "a" / "0.png").read_bytes()[:-60])
    with pytest.raises(DataError, match=r"bad\.png is damaged"):
        load_dataset(str(folder))
    Image.new("L", (50, 50), 255).save(bad)
    with pytest.raises(DataError, match=r"bad\.png: the image is blank"):
        load_dataset(str(folder))
    bad.unlink()
    bad.mkdir()
    with pytest.raises(DataError, match=r"bad\.png"):
        load_dataset(str(folder))


@pytest.mark.parametrize(
    "name", ["Thumbs.db", "desktop.ini", ".DS_Store", "._0.png", ".ipynb_checkpoints/0.png", "__pycache__/x.pyc"]
)
def test_what_systems_leave_in_a_class_is_passed_over(name: str, folder: Path) -> None:
    (folder / "a" / name).parent.mkdir(exist_ok=True)
    (folder / "a" / name).write_bytes(b"\xd0\xcf\x11\xe0 no picture")
    assert len(load_dataset(str(folder)).train) == 6


@pytest.mark.parametrize("name", ["__MACOSX", "@eaDir", "$RECYCLE.BIN", "lost+found", ".git"])
def test_what_systems_leave_beside_the_classes_is_no_class(name: str, folder: Path) -> None:
    (folder / name / "a").mkdir(parents=True)
    (folder / name / "a" / "x.png").write_bytes(b"x")
    assert load_dataset(str(folder)).train.classes == ("10", "a", "b")


def test_a_folder_in_a_class_is_called_a_folder(folder: Path) -> None:
    (folder / "a" / "more").mkdir()
    with pytest.raises(DataError, match=r"a/more is a folder; expected only images in the folder of the class 'a'"):
        load_dataset(str(folder))


@pytest.mark.parametrize("parts", [("train", "val"), ("train", "test", "validation"), ("train",), ("Train", "Test")])
def test_other_names_of_parts_are_answered_with_those_expected(parts: tuple[str, ...], tmp_path: Path) -> None:
    for part in parts:
        save_image_folder(DIGITS, tmp_path / part)
    with pytest.raises(DataError, match="expected a folder for each class, or the two folders train and test"):
        load_dataset(str(tmp_path))


def test_classes_may_have_the_names_of_parts(tmp_path: Path) -> None:
    save_image_folder(Dataset("x", DIGITS.images[:4], np.array([0, 1, 0, 1]), ("train", "val")), tmp_path / "vehicles")
    assert load_dataset(str(tmp_path / "vehicles")).train.classes == ("train", "val")


def test_all_files_that_cannot_be_read_are_named_at_once(folder: Path) -> None:
    whole = (folder / "a" / "0.png").read_bytes()
    (folder / "a" / "cut.png").write_bytes(whole[:-60])
    (folder / "b" / "text.png").write_bytes(b"hello")
    Image.new("L", (50, 50), 255).save(folder / "10" / "white.png")
    with pytest.raises(DataError) as caught:
        load_dataset(str(folder))
    assert all(name in str(caught.value) for name in ("a/cut.png", "b/text.png", "10/white.png"))
    assert "skip_unreadable=true" in str(caught.value)


def test_of_many_files_that_cannot_be_read_the_others_are_counted(folder: Path) -> None:
    for number in range(45):
        (folder / "a" / f"bad-{number:02}.png").write_bytes(b"hello")
    with pytest.raises(DataError, match=r"bad-19\.png is not an image.*; and 25 more files; mend") as caught:
        load_dataset(str(folder))
    assert len(str(caught.value)) < 5000


def test_files_that_cannot_be_read_are_left_out_and_counted_when_that_is_wanted(folder: Path) -> None:
    (folder / "a" / "bad.png").write_bytes(b"hello")
    (folder / "b" / "cut.png").write_bytes((folder / "a" / "0.png").read_bytes()[:-60])
    read = load_dataset(str(folder), skip_unreadable=True).train
    assert (len(read), read.skipped) == (6, ("a/bad.png", "b/cut.png"))
    recipe = recipes.get("starter").replace(
        data=str(folder), skip_unreadable=True, layers=(784, 4, 3), epochs=1, validation_share=0.3
    )
    told = Experiment(recipe)._manifest()["data"]
    assert (told["skipped_files"], told["skipped"]) == (2, ["a/bad.png", "b/cut.png"])


def test_a_folder_of_no_picture_at_all_is_refused_also_when_files_may_be_left_out(folder: Path) -> None:
    for path in folder.glob("*/*"):
        path.write_bytes(b"hello")
    with pytest.raises(DataError, match="no image that can be read"):
        load_dataset(str(folder), skip_unreadable=True)


def test_an_empty_class_is_refused(folder: Path) -> None:
    (folder / "c").mkdir()
    with pytest.raises(DataError, match="c is empty; expected images of the class 'c'"):
        load_dataset(str(folder))


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one folder of images for each class"):
        load_dataset(str(tmp_path))


def test_writing_refuses_a_folder_that_holds_something_and_names_that_are_no_folders(folder: Path) -> None:
    with pytest.raises(DataError, match="is not empty"):
        save_image_folder(DIGITS, folder)
    for name in ("a/b", "..", ".", "", "/", "a\\b"):
        dataset = Dataset("odd", DIGITS.images[:1], np.array([0]), (name,))
        with pytest.raises(DataError, match="cannot be the name of a folder"):
            save_image_folder(dataset, folder / "new")
    assert not (folder / "new").exists()


def test_without_pillow_the_error_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match="needs Pillow"):
        load_dataset(str(folder))


def test_every_mode_of_picture_comes_to_the_same_gray() -> None:
    digit = DIGITS.images[0]
    plain = Image.fromarray(digit)
    high = Image.fromarray(digit.astype(np.uint16) * 257)
    for image in (plain, plain.convert("RGB"), plain.convert("RGBA"), plain.convert("P"), plain.convert("CMYK"),
                  plain.convert("F"), high, high.convert("I")):  # fmt: skip
        np.testing.assert_allclose(to_gray(image).astype(int), digit, atol=1, err_msg=image.mode)


@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0)])
def test_transparent_pictures_lie_on_paper_that_shows_their_ink(ink: int, paper: int) -> None:
    pixels = np.zeros((4, 4, 2), np.uint8)
    pixels[..., 0] = ink
    pixels[1, 1, 1] = 255
    values = to_gray(Image.fromarray(pixels, "LA"))
    assert values[1, 1] == ink
    assert values[0, 0] == paper


def test_a_photo_taken_sideways_stands_upright(tmp_path: Path) -> None:
    image, exif = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)), Image.Exif()
    exif[0x0112] = 6  # turn clockwise by a quarter
    image.save(tmp_path / "x.png", exif=exif)
    with Image.open(tmp_path / "x.png") as opened:
        np.testing.assert_array_equal(to_gray(opened), np.rot90(np.asarray(image), -1))


@pytest.mark.parametrize("size", [(2100, 2100), (5000, 40), (12_000, 12_000), (20_000, 20_000)])
@pytest.mark.parametrize("read", [load_dataset, survey])
def test_a_picture_of_too_many_pixels_is_named_before_it_is_decoded(
    read: Callable[[str], object], size: tuple[int, int], folder: Path
) -> None:
    (folder / "a" / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header(*size) + DATA + END)  # some 90 bytes
    with pytest.raises(DataError, match=r"bomb\.png: the image has .*make it smaller"):
        read(str(folder))
    assert len(load_dataset(str(folder), skip_unreadable=True).train) == 6


def test_a_picture_as_large_as_may_be_is_read(folder: Path) -> None:
    Image.fromarray(np.kron(DIGITS.images[0], np.ones((71, 71), np.uint8))).save(folder / "a" / "large.png")
    assert len(load_dataset(str(folder)).train) == 7


def test_a_picture_of_too_many_scans_is_named_before_it_is_decoded(folder: Path) -> None:
    file = folder / "a" / "many.jpg"
    Image.fromarray(DIGITS.images[0]).save(file, progressive=True)
    assert len(load_dataset(str(folder)).train) == 7
    file.write_bytes(of_many_scans(file.read_bytes(), 101))
    with pytest.raises(DataError, match=r"many.jpg: the JPEG has \d+ scans; at most 100 are read"):
        load_dataset(str(folder))
