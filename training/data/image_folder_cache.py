"""Cache of preprocessed image folders, so that images are decoded only once.

    $XDG_CACHE_HOME/glyphserve/folders/<hash>.npz    by default below ~/.cache

The key is a hash of the folder's path and of the names, sizes and modification times of its files, so any change is
noticed. Entries that are damaged or cannot be written are ignored.
"""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.atomic import write_atomically
from training.data.dataset import Dataset, TrainTest
from training.data.image_folder import list_images, read_images
from training.data.published_sets import cache_directory
from training.errors import DataError
from training.vision.glyph import preprocessing_id

_MIN_IMAGES = 100
"""Smaller folders are not cached; they are read in about a second."""
_MAX_ENTRIES = 16
_MAX_BYTES = 2 * 1024**3


def read_images_once(folder: Path, *, skip_unreadable: bool = False) -> TrainTest:
    """Read an image folder, from the cache if possible. Raises what `read_images` raises."""
    key = _key(folder, skip_unreadable=skip_unreadable)
    if key is None:
        return read_images(folder, skip_unreadable=skip_unreadable)
    entry = cache_directory() / "folders" / f"{key}.npz"
    if found := _load(entry, folder.name):
        return found
    source = read_images(folder, skip_unreadable=skip_unreadable)
    if key == _key(folder, skip_unreadable=skip_unreadable):  # the folder has not changed meanwhile
        _keep(entry, source)
    return source


def _key(folder: Path, *, skip_unreadable: bool) -> str | None:
    """Return the cache key of a folder; None if it is too small to be cached."""
    digest, count = hashlib.sha256(repr((folder.resolve(), preprocessing_id(), skip_unreadable)).encode()), 0
    for part, (classes, files) in list_images(folder).items():
        digest.update(repr((part, classes)).encode())
        for path in (path for paths in files for path in paths):
            status = path.stat()
            digest.update(repr((path, status.st_size, status.st_mtime_ns)).encode())
            count += 1
    return digest.hexdigest()[:32] if count >= _MIN_IMAGES else None


def _load(entry: Path, name: str) -> TrainTest | None:
    try:
        with np.load(entry) as arrays:
            parts = [_dataset(arrays, part, name) for part in ("train", "test") if f"{part}_images" in arrays]
        os.utime(entry)  # the least recently used entries are deleted first
        return TrainTest(*parts)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, DataError):  # missing or damaged
        return None


def _dataset(arrays: "np.lib.npyio.NpzFile", part: str, name: str) -> Dataset:
    classes, skipped = arrays[f"{part}_classes"].tolist(), arrays[f"{part}_skipped"].tolist()
    return Dataset(name, arrays[f"{part}_images"], arrays[f"{part}_labels"], tuple(classes), tuple(skipped))


def _keep(entry: Path, source: TrainTest) -> None:
    arrays: dict[str, NDArray[Any]] = {}
    content = io.BytesIO()
    for part, dataset in (("train", source.train), ("test", source.test)):
        if dataset:
            arrays |= {f"{part}_images": dataset.images, f"{part}_labels": dataset.labels}
            arrays |= {f"{part}_classes": np.array(dataset.classes, np.str_)}
            arrays |= {f"{part}_skipped": np.array(dataset.skipped, np.str_)}
    np.savez(content, allow_pickle=False, **arrays)
    with suppress(OSError):
        entry.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(entry, content.getvalue())
        for old in _surplus(entry.parent):
            old.unlink()


def _surplus(folder: Path) -> Iterator[Path]:
    """Yield the least recently used entries beyond the limits."""
    entries = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
    size = 0
    for index, path in enumerate(entries):
        size += path.stat().st_size
        if index >= _MAX_ENTRIES or size > _MAX_BYTES:
            yield path
