"""Weights files that somebody has made up or tampered with, by name.

Each comes with the right hash in its manifest, so that reading it with distrust is all that stands in the way. What is
not refused must be the very network that was saved.
"""

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from training import MLP, MLPConfig
from training.export.npz import to_bytes
from training.vision.glyph import preprocessing_id
from training.vision.input_spec import InputSpec

FORM = InputSpec(side=8)
CONFIG = MLPConfig((64, 4, 10), input=FORM)
LABELS = [str(label) for label in range(10)]
Members = dict[str, bytes]


def small_network(seed: int = 0, config: MLPConfig = CONFIG) -> MLP:
    """The smallest network that still reads a digit's middle."""
    return MLP(config, np.random.default_rng(seed))


def crafted() -> Iterator[tuple[str, bytes]]:
    """All of them."""
    good = to_bytes(small_network())
    members = _members(good)
    yield from _no_archives(good)
    for name, made in _arrays(members).items():
        yield name, _zip(made)
    for name, header in _headers(members).items():
        yield f"header: {name}", _zip({**members, "header.npy": _npy(np.frombuffer(header, np.uint8))})
    yield from _archives(good, members)
    yield from _other_networks()


def _members(content: bytes) -> Members:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(members: Members, compression: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), member, compression)
    return content.getvalue()


def _npy(array: Any) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, np.asarray(array), allow_pickle=True)
    return content.getvalue()


def _by_hand(header: str, data: bytes, version: bytes = b"\x01\x00") -> bytes:
    """An `.npy` whose header says what we like."""
    text = header.encode("latin-1") + b"\n"
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + data


def _no_archives(good: bytes) -> Iterator[tuple[str, bytes]]:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("header.npy"))
    yield "nothing", b""
    yield "text", b"these are weights, believe me"
    yield "zeros", bytes(4096)
    yield "an npy alone", _npy(np.zeros((64, 4), np.float32))
    yield "a pickle", pickle.dumps({"header": b"", "dense_0.weight": [1.0]})
    yield "a tar", tar.getvalue()
    yield "gzip around it", gzip.compress(good)
    yield "zip around it", _zip({"weights.npz": good})
    yield "an empty archive", _zip({})
    yield "the end of an archive alone", good[-22:]
    yield "twice the same file", good + good
    yield "junk before it", b"#!/bin/sh\n" + good
    yield "junk behind it", good + bytes(100)
    yield "its halves swapped", good[len(good) // 2 :] + good[: len(good) // 2]


def _arrays(members: Members) -> dict[str, Members]:
    name = next(name for name in members if name != "header.npy")
    array = np.lib.format.read_array(io.BytesIO(members[name]))
    rows, columns = array.shape
    shape = f"'fortran_order': False, 'shape': ({rows}, {columns})"
    data, inf = array.tobytes(), np.float32(np.inf)
    spoilt = {sign: np.where(np.arange(columns) == 1, sign, array) for sign in (np.float32(np.nan), inf, -inf)}
    changed: dict[str, bytes] = {
        "float64": _npy(array.astype(np.float64)),
        "big-endian": _npy(array.astype(">f4")),
        "int32": _npy(array.astype(np.int32)),
        "complex": _npy(array.astype(np.complex64)),
        "bool": _npy(array > 0),
        "strings": _npy(array.astype("S4")),
        "objects": _npy(array.astype(object)),
        "a structure": _npy(np.zeros((rows, columns), [("a", "<f4")])),
        "dates": _npy(array.astype("<M8[s]")),
        "transposed": _npy(np.ascontiguousarray(array.T)),
        "Fortran order": _npy(np.asfortranarray(array)),
        "flat": _npy(array.ravel()),
        "one row more": _npy(np.zeros((rows + 1, columns), np.float32)),
        "no rows": _npy(np.zeros((0, columns), np.float32)),
        "a scalar": _npy(np.float32(1)),
        "NaN": _npy(spoilt[next(iter(spoilt))]),
        "infinity": _npy(spoilt[inf]),
        "minus infinity": _npy(spoilt[-inf]),
        "cut data": members[name][:-4],
        "bytes behind its data": members[name] + b"more",
        "no data": _by_hand(f"{{'descr': '<f4', {shape}}}", b""),
        "a shape of terabytes": _by_hand("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000)}", data),
        "a negative shape": _by_hand("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4)}", data),
        "a shape that overflows": _by_hand("{'descr': '<f4', 'fortran_order': False, 'shape': (2**63, 4)}", data),
        "code for a shape": _by_hand(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os').abort(), 4)}", data
        ),
        "code for a dtype": _by_hand(f"{{'descr': __import__('os').abort(), {shape}}}", data),
        "a key too many": _by_hand(f"{{'descr': '<f4', {shape}, 'x': 1}}", data),
        "a deep header": _by_hand("(" * 5000 + ")" * 5000, data),
        "a long header": _by_hand(" " * 40000 + f"{{'descr': '<f4', {shape}}}", data, b"\x02\x00"),
        "a version of the future": _by_hand(f"{{'descr': '<f4', {shape}}}", data, b"\x09\x00"),
        "no magic": b"XNUMPY" + members[name][6:],
        "nothing": b"",
    }
    return {f"an array: {what}": {**members, name: member} for what, member in changed.items()}


def _headers(members: Members) -> dict[str, bytes]:
    good = json.loads(np.lib.format.read_array(io.BytesIO(members["header.npy"])).tobytes())

    def changed(**config: Any) -> bytes:
        return json.dumps(good | {"config": good["config"] | config}).encode()

    other_form = {"side": 8, "low": -1.0, "high": 1.0}
    without = {name: value for name, value in good["config"].items() if name != "dropout"}
    return {
        "empty": b"",
        "no JSON": b"{",
        "not UTF-8": b"\xff\xfe{}",
        "null": b"null",
        "a list": b"[]",
        "very deep": b"[" * 30000 + b"]" * 30000,
        "an endless number": b'{"version": ' + b"9" * 30000 + b"}",
        "another format": json.dumps(good | {"format": "pickle"}).encode(),
        "another version": json.dumps(good | {"version": 2}).encode(),
        "another preprocessing": json.dumps(good | {"preprocessing": "0" * 12}).encode(),
        "no preprocessing": json.dumps({k: v for k, v in good.items() if k != "preprocessing"}).encode(),
        "a config of text": json.dumps(good | {"config": "mlp"}).encode(),
        "a config with more": changed(surprise=1),
        "a config with less": json.dumps(good | {"config": without}).encode(),
        "no layers": changed(layers=[]),
        "one layer": changed(layers=[64]),
        "layers of text": changed(layers="64,4,10"),
        "a layer of text": changed(layers=[64, "4", 10]),
        "a negative layer": changed(layers=[64, -4, 10]),
        "half a unit": changed(layers=[64, 4.5, 10]),
        "NaN units": changed(layers=[64, float("nan"), 10]),
        "a true layer": changed(layers=[64, True, 10]),
        "layers of a hundred gigabytes": changed(layers=[64, 10**10, 10]),
        "layers of nearly a hundred million weights": changed(layers=[64, 1_300_000, 10]),
        "thirty thousand layers": changed(layers=[64] + [1] * 30000 + [10]),
        "other layers": changed(layers=[64, 5, 10]),
        "no such activation": changed(activation="exec"),
        "an activation of lists": changed(activation=["relu"]),
        "no such initializer": changed(initializer="../x"),
        "dropout of all": changed(dropout=1.0),
        "dropout NaN": changed(dropout=float("nan")),
        "dropout of text": changed(dropout="0"),
        "dropout of lists": changed(dropout=[0]),
        "an input of text": changed(input="8"),
        "an input of side 0": changed(input={"side": 0, "low": 0, "high": 1}),
        "an input of side 7": changed(input={"side": 7, "low": 0, "high": 1}),
        "an input that the hash does not know": changed(input=other_form),
        "batch normalisation without its arrays": changed(batch_norm=True),
        "no biases, with biases": changed(bias=False),
        "an input that does not fit the layers": json.dumps(
            good
            | {"config": good["config"] | {"input": {"side": 10, "low": 0.0, "high": 1.0}}}
            | {"preprocessing": preprocessing_id(InputSpec(side=10))}
        ).encode(),
    }


def _archives(good: bytes, members: Members) -> Iterator[tuple[str, bytes]]:
    first = next(name for name in members if name != "header.npy")
    rest = {name: member for name, member in members.items() if name != first}
    yield "a member missing", _zip(rest)
    yield "no header", _zip({name: member for name, member in members.items() if name != "header.npy"})
    yield "a member too many", _zip({**members, "more.npy": members[first]})
    yield "a member by a path", _zip({**rest, f"../../{first}": members[first]})
    yield "a member by an absolute path", _zip({**rest, f"/{first}": members[first]})
    yield "a folder", _zip({**members, "folder/": b""})
    yield "members in another order", _zip(dict(reversed(members.items())))
    yield "the header as numbers", _zip({**members, "header.npy": _npy(np.zeros(10, np.float32))})
    yield "the header in two dimensions", _zip({**members, "header.npy": _npy(np.zeros((2, 5), np.uint8))})
    yield "a header of megabytes", _zip({**members, "header.npy": _npy(np.full(5_000_000, 32, np.uint8))})
    for name, kind in {"deflated": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2, "LZMA": zipfile.ZIP_LZMA}.items():
        yield name, _zip(members, kind)
    yield "a bomb", _zip({**members, first: _npy(np.zeros(50_000_000, np.float32))}, zipfile.ZIP_DEFLATED)
    yield from _tampered(good)


def _tampered(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Change single fields of the archive's own tables."""
    entry, end = good.index(b"PK\x01\x02"), good.rindex(b"PK\x05\x06")

    def at(place: int, value: bytes) -> bytes:
        return good[:place] + value + good[place + len(value) :]

    def twice() -> bytes:
        content = io.BytesIO(good)
        with zipfile.ZipFile(content, "a") as archive:
            name = archive.namelist()[-1]
            archive.writestr(name + "x", archive.read(name))
        return content.getvalue().replace(name.encode() + b"x", name.encode() + b"\x00")

    changes: dict[str, Callable[[], bytes]] = {
        "a member twice": twice,
        "said to be encrypted": lambda: at(entry + 8, b"\x01\x00"),
        "a size of gigabytes": lambda: at(entry + 24, b"\xff\xff\xff\x7f"),
        "a packed size of gigabytes": lambda: at(entry + 20, b"\xff\xff\xff\x7f"),
        "a wrong checksum": lambda: at(entry + 16, b"\x00\x00\x00\x00"),
        "a member that begins elsewhere": lambda: at(entry + 42, b"\x10\x00\x00\x00"),
        "a member said to be deflated": lambda: at(entry + 10, b"\x08\x00"),
        "an unknown compression": lambda: at(entry + 10, b"\x63\x00"),
        "a symbolic link": lambda: at(entry + 38, b"\x00\x00\xff\xa1"),
        "a comment": lambda: good[: end + 20] + b"\x05\x00hello",
        "entries without number": lambda: at(end + 8, b"\xff\xff\xff\xff"),
        "a table that begins elsewhere": lambda: at(end + 16, b"\x00\x00\x00\x00"),
        "another name in front of the data": lambda: good.replace(b"header", b"reader", 1),
        "on another disk": lambda: at(end + 4, b"\x01\x00"),
    }
    for name, change in changes.items():
        yield name, change()


def _other_networks() -> Iterator[tuple[str, bytes]]:
    normalised = small_network(config=CONFIG.replace(batch_norm=True))
    members = _members(to_bytes(normalised))
    name = next(name for name in members if name.endswith("variance.npy"))
    negative = np.lib.format.read_array(io.BytesIO(members[name])) * np.float32(-1)
    yield "a negative variance", _zip({**members, name: _npy(negative)})
    yield "eleven outputs for ten labels", to_bytes(small_network(config=CONFIG.replace(layers=(64, 4, 11))))
    yield "one output for ten labels", to_bytes(small_network(config=CONFIG.replace(layers=(64, 4, 1))))
