"""Readers of the inference protocols, held against NumPy."""

import base64
import json
import struct

import numpy as np
import orjson

from service.errors import ServiceError
from service.inference import open_inference, tensorflow_rest
from service.inference.model_input import INPUT, RAW_IMAGE_SPEC, BatchLimits, read_batch, single_input
from service.inference.tensors import DATATYPES, Tensor
from tests.fuzz.pictures import LIMITS, glyphs, must_be_the_callers, pngs
from training.vision.input_spec import InputSpec

_LIMITS = BatchLimits(LIMITS, 8, 64)


def _v2(datatype: str, shape: list[int], data: bytes) -> bytes:
    described = {"name": INPUT, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"id": "a", "inputs": [described]}).encode()
    return struct.pack(">H", len(head)) + head + data


def v2_bodies() -> list[bytes]:
    """Binary requests of several types, behind two bytes with the length of the JSON."""
    picture, file = np.frombuffer(glyphs()[0], np.uint8), pngs()[0]
    found = [_v2("UINT8", [1, 28, 28], picture.tobytes()), struct.pack(">H", 0) + picture.tobytes()]
    found += [_v2(name, [1, 784], (picture > 0).astype(DATATYPES[name]).tobytes()) for name in ("FP32", "FP16", "BOOL")]
    for element in (file, base64.b64encode(file), b"data:image/png;base64," + base64.b64encode(file)):
        found.append(_v2("BYTES", [2], (struct.pack("<I", len(element)) + element) * 2))
    entry = {"name": INPUT, "datatype": "INT64", "shape": [1, 784], "data": picture.tolist()}
    text = json.dumps({"inputs": [entry]}).encode()
    return [*found, struct.pack(">H", len(text)) + text]


def check_v2(content: bytes) -> None:
    """A request is read as NumPy reads it, or refused by errors of the service."""
    length, body = int.from_bytes(content[:2], "big"), content[2:]
    try:
        message = open_inference.read_request(body, str(length), RAW_IMAGE_SPEC)
        for tensor in message.inputs:
            _compare(tensor, body[length:] if len(message.inputs) == 1 and length else b"")
        _read(single_input(message.inputs))
    except ServiceError as error:
        must_be_the_callers(error)


def _compare(tensor: Tensor, binary: bytes) -> None:
    if isinstance(tensor.values, list):
        assert len(tensor.values) == int(np.prod(tensor.shape))
        return
    assert tensor.values.shape == tensor.shape
    if binary:
        assert tensor.values.tobytes() == np.frombuffer(binary, DATATYPES[tensor.datatype]).tobytes()


def _read(tensor: Tensor) -> None:
    batch = read_batch(tensor, InputSpec(), _LIMITS)
    assert batch.features.shape == (len(batch), 784)
    assert np.isfinite(batch.features).all()
    assert batch.glyphs.dtype == np.uint8


def v1_bodies() -> list[bytes]:
    """Requests of V1 in each form."""
    rows = np.frombuffer(glyphs()[0], np.uint8).reshape(28, 28)
    image = {"b64": base64.b64encode(pngs()[0]).decode()}
    bodies = (
        {"instances": [rows.tolist()]},
        {"instances": [(rows / 255).round(2).ravel().tolist()]},
        {"inputs": {"image": [image]}},
        {"instances": [{"image": image}, image]},
    )
    return [json.dumps(body).encode() for body in bodies]


def check_v1(content: bytes) -> None:
    """A request is read, or refused by errors of the service."""
    try:
        message = tensorflow_rest.read_request(content, INPUT, 2048)
        orjson.loads(content)
        _read(single_input(message.inputs))
    except ServiceError as error:
        must_be_the_callers(error)
