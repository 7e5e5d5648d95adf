import io

import pytest
from PIL import Image

from tests.hostile.pictures import END, chunk, header, of_many_scans
from training.errors import DataError
from training.vision.image_segments import check_segments

COMMENT = b"\xff\xfe\0\2"


def jpeg(*, progressive: bool = False) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(file, "JPEG", progressive=progressive, restart_marker_blocks=1)
    return file.getvalue()


PLAIN, PROGRESSIVE = jpeg(), jpeg(progressive=True)
OWN_SCANS = PROGRESSIVE.count(b"\xff\xda")
NOTE = b"\xff\xe1\xff\xf0" + (b"\xff\xda\0\x02\xff\xd9" * 20_000)[:0xFFEE]
PIECE = chunk(b"tEXt", b"a\0b")
PNG = b"\x89PNG\r\n\x1a\n" + header()


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PROGRESSIVE,
        of_many_scans(PROGRESSIVE, 100 - OWN_SCANS),
        PLAIN[:2] + NOTE + PLAIN[2:],
        PLAIN + b"\xff\xda" * 5000,
        PLAIN[:2] + COMMENT * 900 + PLAIN[2:],
        PLAIN[:2] + b"\xff" * 4000 + PLAIN[2:],
        PNG + PIECE * 900 + END,
        PNG + END + bytes(100_000),
        PNG + chunk(b"IDAT", b"") * 5000 + END,
        *(PROGRESSIVE[:end] for end in range(0, len(PROGRESSIVE), 7)),
        b"",
    ],
)
def test_what_pictures_have_is_passed(content: bytes) -> None:
    check_segments(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (of_many_scans(PROGRESSIVE, 101 - OWN_SCANS), "the JPEG has 101 scans; at most 100 are read"),
        (of_many_scans(PLAIN, 90_000), "more than 1,000 segments"),
        (PLAIN[:2] + COMMENT * 1001 + PLAIN[2:], "more than 1,000 segments"),
        (PLAIN[:2] + b"\xff\xd9" * 1001 + PLAIN[2:], "more than 1,000 segments"),
        (b"\xff\xd8" + b"\xff" * 1_000_000, "more than 4,096 bytes between its segments"),
        (b"\xff\xd8\xff\xd9" + bytes(1_000_000), "more than 4,096 bytes between its segments"),
        (PLAIN[:2] + b"\xff\xd0" * 3000 + PLAIN[2:], "more than 4,096 bytes between its segments"),
        (PLAIN[:2] + (COMMENT + bytes(9)) * 900 + PLAIN[2:], "more than 4,096 bytes between its segments"),
        (PNG + chunk(b"abCd", b"") * 1001 + END, "more than 1,000 chunks beside its data"),
    ],
)
def test_what_no_picture_needs_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        check_segments(content)
