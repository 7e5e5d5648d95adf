"""Samples as sets of examples: a folder of images, a zip of one, or an `.npz`; `training` reads the first and last.

In a folder each label is a folder of PNG files, with `samples.json` beside them, which tells of each where it came
from. What is read back is bit for bit what the network saw.
"""

import io
import json
import zipfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from service.errors import InvalidInput
from service.samples.sample import Sample
from training.preprocess import SIDE

LIST_NAME = "samples.json"


def write_folder(samples: Iterable[Sample], folder: Path) -> int:
    """Write samples into a new or empty folder; answer how many. Raises InvalidInput."""
    if folder.exists() and any(folder.iterdir()):
        raise InvalidInput("the folder is not empty; name a new or an empty one")
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    for sample in samples:
        target = folder / _file_name(sample)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(sample.picture)
        listed.append(_told(sample))
    (folder / LIST_NAME).write_text(json.dumps(listed, indent=2) + "\n")
    return len(listed)


def write_zip(samples: Iterable[Sample], file: IO[bytes]) -> None:
    """Write samples as a zip of an image folder. Raises InvalidInput."""
    listed = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for sample in samples:
            archive.writestr(zipfile.ZipInfo(_file_name(sample), _when(sample)), sample.picture)
            listed.append(_told(sample))
        archive.writestr(LIST_NAME, json.dumps(listed, indent=2) + "\n", zipfile.ZIP_DEFLATED)


def to_npz(samples: Iterable[Sample]) -> bytes:
    """Write samples as an `.npz` of images, class numbers, and classes: the labels that they have, in order."""
    known = [(sample.glyph, sample.label) for sample in samples]
    classes = sorted({label for _, label in known})
    images = np.stack([glyph for glyph, _ in known]) if known else np.zeros((0, SIDE, SIDE), np.uint8)
    labels = np.array([classes.index(label) for _, label in known], np.int64)
    content = io.BytesIO()
    np.savez(content, images=images, labels=labels, classes=np.array(classes, dtype=str))
    return content.getvalue()


def _file_name(sample: Sample) -> str:
    label = sample.label
    if not label or Path(label).name != label or label.startswith(".") or "\\" in label:
        raise InvalidInput("a label of these samples cannot be the name of a folder", field="label")
    return f"{label}/{sample.id}.png"


def _when(sample: Sample) -> tuple[int, int, int, int, int, int]:
    date, _, clock = sample.since.partition("T")
    year, month, day = map(int, date.split("-"))
    hour, minute, second = map(int, clock[:8].split(":"))
    return year, month, day, hour, minute, second


def _told(sample: Sample) -> dict[str, Any]:
    """Tell everything of a sample but its picture, which is a file."""
    return {"id": sample.id, "label": sample.label, "since": sample.since, "source": asdict(sample.source)}
