"""Export of samples as an image folder, as a ZIP of one, or as an `.npz`; `training` reads the first and the last.

A folder has one subfolder of PNG files per label and a `samples.json` with the provenance of each sample. Reading it
returns exactly the pixels that the network got.
"""

import io
import json
import zipfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from service.errors import UnprocessableContent
from service.samples.sample import Sample
from training.vision.input_spec import IMAGE_SIZE

METADATA_FILE = "samples.json"


def write_folder(samples: Iterable[Sample], folder: Path) -> int:
    """Write samples into a new or empty folder; return how many. Raises UnprocessableContent."""
    if folder.exists() and any(folder.iterdir()):
        raise UnprocessableContent("the folder is not empty; choose a new or an empty one")
    folder.mkdir(parents=True, exist_ok=True)
    metadata = []
    for sample in samples:
        target = folder / _file_name(sample)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(sample.picture)
        metadata.append(_metadata(sample))
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=2) + "\n")
    return len(metadata)


def write_zip(samples: Iterable[Sample], file: IO[bytes]) -> None:
    """Write samples as a ZIP of an image folder. Raises UnprocessableContent."""
    metadata = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for sample in samples:
            archive.writestr(zipfile.ZipInfo(_file_name(sample), _zip_time(sample)), sample.picture)
            metadata.append(_metadata(sample))
        archive.writestr(METADATA_FILE, json.dumps(metadata, indent=2) + "\n", zipfile.ZIP_DEFLATED)


def to_npz(samples: Iterable[Sample]) -> bytes:
    """Serialize samples as an `.npz` of `images`, `labels` (class indices) and `classes` (their sorted labels)."""
    examples = [(sample.glyph, sample.label) for sample in samples]
    classes = sorted({label for _, label in examples})
    images = np.stack([glyph for glyph, _ in examples]) if examples else np.zeros((0, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    labels = np.array([classes.index(label) for _, label in examples], np.int64)
    content = io.BytesIO()
    np.savez(content, images=images, labels=labels, classes=np.array(classes, dtype=str))
    return content.getvalue()


def _file_name(sample: Sample) -> str:
    label = sample.label
    if not label or Path(label).name != label or label.startswith(".") or "\\" in label:
        raise UnprocessableContent("a label of these samples cannot be the name of a folder", field="label")
    return f"{label}/{sample.id}.png"


def _zip_time(sample: Sample) -> tuple[int, int, int, int, int, int]:
    date, _, clock = sample.since.partition("T")
    year, month, day = map(int, date.split("-"))
    hour, minute, second = map(int, clock[:8].split(":"))
    return year, month, day, hour, minute, second


def _metadata(sample: Sample) -> dict[str, Any]:
    """Return everything about a sample except its image."""
    return {"id": sample.id, "label": sample.label, "since": sample.since, "source": asdict(sample.source)}
