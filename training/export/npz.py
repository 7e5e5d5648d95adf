"""Networks as `.npz` files: written reproducibly byte for byte, and validated when read.

Members: `header.npy`, UTF-8 JSON as bytes with the format's version, the network's config and, where they are not
the class numbers, its labels; and one array for each name of `MLP.state_dict()`, float32 or float16, little-endian,
uncompressed.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from training.atomic import write_atomically
from training.errors import TrainingError, WeightsError
from training.inputs.class_labels import are_default, restored_classes
from training.nn.config import MLPConfig, parameter_count
from training.nn.mlp import MLP
from training.stored import refuse_unknown, restored
from training.types import Floats
from training.vision.glyph import is_compatible, preprocessing_id
from training.vision.input_spec import InputSpec

FORMAT = "glyphserve-mlp"
VERSION = 1
HEADER = "header"
MAX_HEADER_BYTES = 64 * 1024
_HEADER_FIELDS = ("format", "version", "config", "preprocessing", "classes")
_CHUNK = 2**18
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date of the zip format; a constant keeps files reproducible


def save(network: MLP, path: Path | str) -> bytes:
    """Write a network to a file atomically, and return the bytes written.

    Raises WeightsError for weights that are not finite; an existing file is then kept.
    """
    content = to_bytes(network)
    write_atomically(Path(path), content)
    return content


def load(source: Path | str | bytes) -> MLP:
    """Read a network from a file or its bytes. Raises WeightsError for an invalid file."""
    content = source if isinstance(source, bytes) else _read_file(Path(source))
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _read(archive)
    except TrainingError as error:
        raise WeightsError(str(error)) from error
    except Exception as error:  # broken zip files raise many types, from struct.error to NotImplementedError
        raise WeightsError(f"not a weights file: {error}") from error


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error


def to_bytes(network: MLP, dtype: type = np.float32) -> bytes:
    """Return the content of a weights file; float16 halves its size. Raises WeightsError for NaN or infinity."""
    config = network.config.to_dict()
    header = {
        "format": FORMAT,
        "version": VERSION,
        "config": config,
        "preprocessing": preprocessing_id(network.config.input),
    }
    if not are_default(network):  # older releases refuse files with labels
        header["classes"] = network.classes_.tolist()
    text = np.frombuffer(json.dumps(header, sort_keys=True).encode(), np.uint8)
    with np.errstate(over="ignore"):  # checked below
        arrays = {name: array.astype(f"<f{np.dtype(dtype).itemsize}") for name, array in network.state_dict().items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise WeightsError(f"{name} has values that are not finite as {array.dtype}: nothing was saved; train anew")
    members = {HEADER: text} | arrays
    content = io.BytesIO()
    write_npz(content, members)
    return content.getvalue()


def write_npz(file: BinaryIO, members: dict[str, np.ndarray]) -> None:
    """Write arrays by name like NumPy's `savez`, but without timestamps."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in members.items():
            whole = np.ascontiguousarray(array)
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(whole))
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            info.file_size = len(header.getvalue()) + whole.nbytes
            with archive.open(info, "w") as member:
                member.write(header.getvalue())
                content = whole.reshape(-1).view(np.uint8).data
                for start in range(0, len(content), _CHUNK):  # avoids a second copy in memory
                    member.write(content[start : start + _CHUNK])


def _read(archive: zipfile.ZipFile) -> MLP:
    infos = archive.infolist()
    sizes = {info.filename: info.file_size for info in infos}
    if len(sizes) != len(infos) or f"{HEADER}.npy" not in sizes:
        raise WeightsError(
            "not a weights file: it has no header, or a member twice; networks are written by training.save"
        )
    if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise WeightsError("expected uncompressed members")
    config, classes = _config_and_classes(_array(archive, HEADER, sizes, MAX_HEADER_BYTES))
    limit = 4 * parameter_count(config) + 16 * sum(config.layers) + 1024 * len(infos)
    if sum(sizes.values()) > limit + MAX_HEADER_BYTES:
        raise WeightsError(f"its members claim {sum(sizes.values()):,} bytes, more than such a network can have")
    if sum(sizes.values()) < 2 * parameter_count(config):  # before memory is allocated
        raise WeightsError(f"its members claim {sum(sizes.values()):,} bytes, fewer than such a network has")
    network = MLP(config.replace(initializer="zeros"))
    network.config = config
    if classes is not None:
        network.classes_ = restored_classes(classes, network)
    expected = network.state_dict()
    known = {f"{HEADER}.npy", *(f"{name}.npy" for name in expected)}
    refuse_unknown(sizes, dict.fromkeys(known), "the file")
    if absent := sorted(known - set(sizes)):
        raise WeightsError(f"expected the arrays {', '.join(expected)}; {', '.join(absent)} is not in the file")
    for name, target in expected.items():
        target[:] = _checked(name, _array(archive, name, sizes, limit), target)
    return network


def _array(archive: zipfile.ZipFile, name: str, sizes: dict[str, int], limit: int) -> np.ndarray:
    if sizes[f"{name}.npy"] > limit:
        raise WeightsError(f"{name} claims {sizes[f'{name}.npy']:,} bytes, more than it can have")
    content = io.BytesIO(archive.read(f"{name}.npy"))
    array = np.lib.format.read_array(content, allow_pickle=False)
    if content.read(1):
        raise WeightsError(f"{name} has bytes behind its end")
    return array


def _checked(name: str, array: np.ndarray, target: Floats) -> np.ndarray:
    if array.dtype.str not in ("<f4", "<f2") or array.shape != target.shape:
        raise WeightsError(f"{name} should be float32 or float16 {target.shape}, is {array.dtype} {array.shape}")
    if not np.isfinite(array).all():
        raise WeightsError(f"{name} has values that are not finite")
    if name.endswith("variance") and (array < 0).any():
        raise WeightsError(f"{name} has negative values")
    return array


def _config_and_classes(text: np.ndarray) -> tuple[MLPConfig, Any]:
    if text.dtype != np.uint8 or text.ndim != 1:
        raise WeightsError("the header is not text")
    header: dict[str, Any] = json.loads(text.tobytes())
    if header.get("format") != FORMAT or header.get("version") != VERSION:
        raise WeightsError(
            f"expected format {FORMAT} version {VERSION}, found {header.get('format')} version {header.get('version')}"
        )
    refuse_unknown(header, dict.fromkeys(_HEADER_FIELDS), "the header")
    stored = dict(header["config"])
    stored["input"] = restored(InputSpec, stored.get("input", {}), "the input form")
    config = restored(MLPConfig, stored, "the config")
    if not is_compatible(header.get("preprocessing"), config.input):
        raise WeightsError("it was trained with a preprocessing that this version does not have")
    return config, header.get("classes")
