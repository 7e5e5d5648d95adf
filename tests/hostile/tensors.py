"""Tensors that are not what they say, in the JSON and the binary layout of the inference protocols; and bombs."""

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

from tests.hostile.request import REFUSED, TAKEN_OR_REFUSED, Hostile, http

_INFER = "/v2/models/mnist/infer"
_LENGTH = "Inference-Header-Content-Length"


def _input(**changes: Any) -> dict[str, Any]:
    return {"name": "image", "datatype": "UINT8", "shape": [1, 784], "data": [9] * 784} | changes


def _json(**changes: Any) -> bytes:
    return json.dumps({"inputs": [_input(**changes)]}).encode()


def tensors() -> Iterator[Hostile]:
    """Requests of V2 and V1."""
    inputs: dict[str, dict[str, Any]] = {
        "no name": {"name": None},
        "another name": {"name": "../x"},
        "no datatype": {"datatype": None},
        "an unknown datatype": {"datatype": "FP8"},
        "an object datatype": {"datatype": "O"},
        "no shape": {"shape": None},
        "an empty shape": {"shape": []},
        "a shape of 9": {"shape": [1] * 9},
        "a shape with 0": {"shape": [0, 784]},
        "a shape below 0": {"shape": [-1, 784]},
        "a shape of fractions": {"shape": [1.0, 784]},
        "a shape of text": {"shape": ["1", "784"]},
        "a shape of 2⁶²": {"shape": [2**62, 784]},
        "a shape of products": {"shape": [2**32, 2**32, 2**32]},
        "a shape of truth": {"shape": [True, 784]},
        "a square of 28 rows": {"shape": [28, 28]},
        "data of text": {"data": ["x"] * 784},
        "data too short": {"data": [1]},
        "data of nothing": {"data": []},
        "data that is deep": {"data": [[[[[[[[[1]]]]]]]]]},
        "data of ragged rows": {"data": [[1] * 28] * 27 + [[1]]},
        "data beyond 8 bits": {"data": [256] * 784},
        "data below 0": {"data": [-1] * 784},
        "data of 2⁷⁰": {"data": [2**70] * 784},
        "data of fractions": {"data": [0.5] * 784},
        "data of both": {"data": [1, "a"] * 392},
        "pixels as floats": {"datatype": "FP32", "data": [255.0] * 784},
        "floats without end": {"datatype": "FP32", "data": [1e308] * 784},
        "half floats without end": {"datatype": "FP16", "data": [1e6] * 784},
        "BYTES of text": {"datatype": "BYTES", "shape": [1], "data": ["hello"]},
        "BYTES of numbers": {"datatype": "BYTES", "shape": [1], "data": [1]},
        "BYTES of a square": {"datatype": "BYTES", "shape": [1, 1, 1], "data": ["x"]},
        "65 BYTES": {"datatype": "BYTES", "shape": [65], "data": ["x"] * 65},
        "BYTES of half characters": {"datatype": "BYTES", "shape": [1], "data": ["\u00fc"]},
        "both data and binary": {"parameters": {"binary_data_size": 784}},
        "shared memory": {"parameters": {"shared_memory_region": "x", "shared_memory_byte_size": 784}},
        "parameters of text": {"parameters": "x"},
        "a size below 0": {"data": None, "parameters": {"binary_data_size": -1}},
        "a size of 2⁶³": {"data": None, "parameters": {"binary_data_size": 2**63}},
        "a size of truth": {"data": None, "parameters": {"binary_data_size": True}},
    }
    for name, changes in inputs.items():
        yield Hostile(f"tensor with {name}", http(_INFER, _json(**changes)), TAKEN_OR_REFUSED)
    yield from _messages()
    yield from _binary()
    yield from _packed()
    many = json.dumps({"inputs": [_input(shape=[2049, 784], data=[0] * (2049 * 784))]}, separators=(",", ":"))
    yield Hostile("tensor of 2,049 rows", http(_INFER, many.encode()), frozenset({413}))


def _messages() -> Iterator[Hostile]:
    good = _input()
    messages: dict[str, dict[str, Any]] = {
        "no inputs": {},
        "empty inputs": {"inputs": []},
        "two inputs": {"inputs": [good, good]},
        "inputs of numbers": {"inputs": [1, 2]},
        "an id of a number": {"id": 7, "inputs": [good]},
        "an id of 60 kB": {"id": "x" * 60_000, "inputs": [good]},
        "an unknown output": {"inputs": [good], "outputs": [{"name": "x"}]},
        "an output twice": {"inputs": [good], "outputs": [{"name": "label"}, {"name": "label"}]},
        "1,000 outputs": {"inputs": [good], "outputs": [{"name": f"o{number}"} for number in range(1000)]},
        "2⁶³ classes": {"inputs": [good], "outputs": [_classes(2**63)]},
        "−1 classes": {"inputs": [good], "outputs": [_classes(-1)]},
        "parameters of a list": {"inputs": [good], "parameters": []},
    }
    for name, message in messages.items():
        yield Hostile(f"message with {name}", http(_INFER, json.dumps(message).encode()), TAKEN_OR_REFUSED)
    for name in ("nobody", "..", "%2e%2e", "a" * 300, "%00", "MNIST", "mnist%2Fversions", "%ff", "mnist;x=1"):
        for target in (f"/v2/models/{name}/infer", f"/v1/models/{name}:predict", f"/v2/models/{name}/versions/1/infer"):
            sent = http(target, _json())
            yield Hostile(f"model {name[:20]!r} at {target[:12]}…{target[-8:]}", sent, frozenset({400, 404, 405}))
    for version in ("0", "-1", "99", "1.0", "01", "a", "2147483648", "9" * 50, "%31", "٣"):
        target = "/v2/models/mnist/versions/" + version.encode().decode("latin-1").replace("Ù£", "%D9%A3") + "/infer"
        right = frozenset({200} if version == "%31" else {404})
        yield Hostile(f"version {version[:20]!r}", http(target, _json()), right)


def _classes(count: int) -> dict[str, Any]:
    return {"name": "probabilities", "parameters": {"classification": count}}


def _binary() -> Iterator[Hostile]:
    def message(size: int, content: bytes, *, datatype: str = "UINT8", shape: tuple[int, ...] = (1, 784)) -> bytes:
        changes = {"datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}
        entry = {name: value for name, value in _input(**changes).items() if name != "data"}
        return json.dumps({"inputs": [entry]}).encode() + content

    good = message(784, bytes(784))
    length = len(good) - 784
    for header in ("-1", "0", "1", str(length - 1), str(length + 1), "99999999", "9" * 30, "x", "", "1e3", "0x10"):
        sent = http(_INFER, good, "application/octet-stream", "POST", f"{_LENGTH}: {header}")
        yield Hostile(f"binary whose JSON has {header[:12]!r} bytes", sent, REFUSED)
    for name, body in {
        "too short": message(784, bytes(783)),
        "too long": message(784, bytes(785)),
        "of another size": message(783, bytes(783)),
        "of 2⁶² bytes": message(2**62, bytes(784)),
        "of 2⁶² rows": message(784, bytes(784), shape=(2**62, 784)),
        "of floats that are none": message(3136, b"\xff" * 3136, datatype="FP32"),
        "of huge floats": message(3136, b"\xff\xff\x7f\x7f" * 784, datatype="FP32"),
        "of half truths": message(784, b"\2" * 784, datatype="BOOL"),
        "of BYTES without end": message(4, b"\xff\xff\xff\xff", datatype="BYTES", shape=(1,)),
        "of BYTES of nothing": message(4, bytes(4), datatype="BYTES", shape=(1,)),
        "of 2⁶² BYTES": message(4, bytes(4), datatype="BYTES", shape=(2**62,)),
        "of BYTES that go on": message(8, bytes(8), datatype="BYTES", shape=(1,)),
        "of BYTES of a lie": message(8, b"\5\0\0\0abcd", datatype="BYTES", shape=(1,)),
        "of 10,000 BYTES of nothing": message(40_000, bytes(40_000), datatype="BYTES", shape=(10_000,)),
    }.items():
        size = body.index(b"]}") + 2 if b"]}" in body else 0
        size = json.JSONDecoder().raw_decode(body.decode("latin-1"))[1] if size else 0
        sent = http(_INFER, body, "application/octet-stream", "POST", f"{_LENGTH}: {size}")
        yield Hostile(f"binary tensor {name}", sent, REFUSED)
    for size in (0, 1, 783, 785, 100_000):
        sent = http(_INFER, bytes(size), "application/octet-stream", "POST", f"{_LENGTH}: 0")
        yield Hostile(f"raw pixels, {size} of them", sent, REFUSED)


def _packed() -> Iterator[Hostile]:
    good = _json()
    for name, body, encoding in (
        ("a bomb of gzip", gzip.compress(bytes(100_000_000)), "gzip"),
        ("a bomb of deflate", zlib.compress(bytes(100_000_000)), "deflate"),
        ("a bomb within a bomb", gzip.compress(gzip.compress(bytes(100_000_000))), "gzip"),
        ("gzip cut short", gzip.compress(good)[:-9], "gzip"),
        ("gzip that goes on", gzip.compress(good) + b"x", "gzip"),
        ("two gzips", gzip.compress(good) * 2, "gzip"),
        ("no gzip", good, "gzip"),
        ("gzip of nothing", gzip.compress(b""), "gzip"),
        ("gzip with a wrong sum", gzip.compress(good)[:-8] + bytes(8), "gzip"),
        ("deflate without its wrapper", zlib.compress(good)[2:-4], "deflate"),
        ("br", good, "br"),
        ("zstd", good, "zstd"),
        ("gzip, gzip", gzip.compress(gzip.compress(good)), "gzip, gzip"),
        ("an encoding of bytes", good, "\xff"),
        ("an encoding of 10 kB", good, "gzip" * 2500),
    ):
        for target in (_INFER, "/v1/models/mnist:predict"):
            sent = http(target, body, "application/json", "POST", f"Content-Encoding: {encoding}")
            yield Hostile(f"{name} to {target}", sent, REFUSED)
    packed = http("/predict", gzip.compress(b"{}"), "application/json", "POST", "Content-Encoding: gzip")
    yield Hostile("gzip to /predict", packed, REFUSED)
    for wish in ("gzip;q=x", "gzip;q=1e999", ";;;", ",,,,", "*;q=0", "gzip;q=nan", "\xff", "gzip," * 5000):
        sent = http(_INFER, good, "application/json", "POST", f"Accept-Encoding: {wish}")
        yield Hostile(f"an answer as {wish[:20]!r}", sent, frozenset({200}))
