# mypy: ignore-errors
"""`tritonclient[http]`, blocking and asyncio, against a server: `with_triton.py host:port model expected.npz`."""

import asyncio
import base64
import inspect
import itertools
import sys
import urllib.request

import numpy as np
import tritonclient.http as blocking
import tritonclient.http.aio as aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

ADDRESS, MODEL, FILE = sys.argv[1:]
DATA = np.load(FILE)
IMAGES, EXPECTED, FILES = (
    DATA["images"],
    DATA["expected"],
    [DATA[name].tobytes() for name in sorted(DATA) if name.startswith("file")],
)
BITS = set()
LABELS = [str(place).encode() for place in EXPECTED.argmax(axis=1)]


class Patient:
    """Calls either client alike."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        async def call(*arguments, **options):
            answer = getattr(self._client, name)(*arguments, **options)
            return await answer if inspect.isawaitable(answer) else answer

        return call


def an_input(module, values, binary):
    tensor = module.InferInput("image", list(values.shape), np_to_triton_dtype(values.dtype))
    tensor.set_data_from_numpy(values, binary_data=binary)
    return [tensor]


def outputs(module, binary, **more):
    return [module.InferRequestedOutput(name, binary_data=binary, **more) for name in ("probabilities", "label")]


def check(result, count, *, exact=True):
    probabilities, labels = result.as_numpy("probabilities"), result.as_numpy("label")
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (count, 10)
    if exact:  # the same pixels get the same bits, whatever way they take
        BITS.add(probabilities.tobytes())
        assert len(BITS) == 1
    assert np.allclose(probabilities, EXPECTED[:count], atol=1e-6)
    assert [label if isinstance(label, bytes) else label.encode() for label in labels] == LABELS[:count]


async def refused(part, call):
    error = None
    try:
        await call
    except InferenceServerException as raised:
        error = raised
    assert error is not None, f"nothing was refused, expected: {part}"
    assert part in error.message(), error.message()
    return error.status()


async def health(client):
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready(MODEL)
    assert await client.is_model_ready(MODEL, "1")
    assert not await client.is_model_ready(MODEL, "99")
    assert not await client.is_model_ready("nothing")


async def metadata(client):
    server = await client.get_server_metadata()
    assert server["name"] == "glyphserve"
    assert "binary_tensor_data" in server["extensions"]
    for version in ("", "1"):
        model = await client.get_model_metadata(MODEL, version)
        assert model["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}]
        assert [output["name"] for output in model["outputs"]] == ["probabilities", "label"]
        config = await client.get_model_config(MODEL, version)
        assert config["input"][0]["data_type"] == "TYPE_UINT8"
    await refused("no version", client.get_model_metadata(MODEL, "99"))


async def repository(client):
    index = await client.get_model_repository_index()
    assert {"name": MODEL, "version": "1", "state": "READY", "reason": ""} in index
    await client.load_model(MODEL)
    await refused("cannot be unloaded", client.unload_model(MODEL))
    await refused("no model", client.load_model("A model"))


async def inference(module, client):
    floats = IMAGES / np.float32(255)
    for binary_in, binary_out in itertools.product((True, False), repeat=2):
        for values in (IMAGES, IMAGES.reshape(-1, 784), IMAGES.astype(np.int64)):
            asked = outputs(module, binary_out)
            check(await client.infer(MODEL, an_input(module, values, binary_in), outputs=asked), len(values))
        tensor = an_input(module, floats, binary_in)
        check(await client.infer(MODEL, tensor, model_version="1"), len(floats), exact=False)
    result = await client.infer(MODEL, an_input(module, IMAGES[:1], True), request_id="mine", priority=1, timeout=10**6)
    assert result.get_response()["id"] == "mine"
    assert result.get_response()["model_name"] == MODEL
    halves = floats.round().astype(np.float16)
    answer = await client.infer(MODEL, an_input(module, halves, True))
    same = await client.infer(MODEL, an_input(module, halves.astype(np.float32), False))
    assert np.array_equal(answer.as_numpy("probabilities"), same.as_numpy("probabilities"))


async def encoded_images(module, client):
    files = np.array(FILES, dtype=np.object_)
    check(await client.infer(MODEL, an_input(module, files, True)), len(files))
    texts = np.array([base64.b64encode(file) for file in FILES], dtype=np.object_)
    check(await client.infer(MODEL, an_input(module, texts[:, None], False)), len(files))


async def classification(module, client):
    best = np.argsort(-EXPECTED, axis=1, kind="stable")[:, :3]
    for binary in (True, False):
        asked = [module.InferRequestedOutput("probabilities", binary_data=binary, class_count=3)]
        found = (await client.infer(MODEL, an_input(module, IMAGES, True), outputs=asked)).as_numpy("probabilities")
        assert found.shape == (len(IMAGES), 3)
        for row, places, values in zip(found, best, EXPECTED, strict=True):
            for entry, place in zip(row, places, strict=True):
                value, index, label = (entry.decode() if isinstance(entry, bytes) else entry).split(":")
                assert (int(index), label) == (place, str(place))
                assert np.isclose(float(value), values[place], atol=1e-6)


async def compression(module, client):
    for sent, wanted in itertools.product((None, "gzip", "deflate"), repeat=2):
        for binary in (True, False):
            ways = {"request_compression_algorithm": sent, "response_compression_algorithm": wanted}
            asked = outputs(module, binary)
            check(await client.infer(MODEL, an_input(module, IMAGES, binary), outputs=asked, **ways), len(IMAGES))


async def errors(module, client):
    wrong = an_input(module, np.zeros((1, 5), np.uint8), True)
    assert await refused("shape", client.infer(MODEL, wrong)) == "400"
    good = an_input(module, IMAGES, True)
    await refused("the outputs are", client.infer(MODEL, good, outputs=[module.InferRequestedOutput("other")]))
    await refused("no model", client.infer("nothing", good))
    await refused("no version", client.infer(MODEL, good, model_version="99"))
    await refused("from 0 to 1", client.infer(MODEL, an_input(module, IMAGES.astype(np.float32), True)))


async def statistics(client):
    counts = []
    for arguments in ((), (MODEL,), (MODEL, "1")):
        found = (await client.get_inference_statistics(*arguments))["model_stats"]
        (stats,) = (each for each in found if (each["name"], each["version"]) == (MODEL, "1"))
        assert not arguments or len(found) == 1
        counts.append(stats["inference_stats"]["success"]["count"])
        assert stats["inference_stats"]["fail"]["count"] > 0
    assert counts[0] == counts[1] == counts[2] > 10


async def everything(module, client):
    for part in (
        health,
        metadata,
        repository,
        inference,
        encoded_images,
        classification,
        compression,
        errors,
        statistics,
    ):
        await part(*((module, client) if "module" in inspect.signature(part).parameters else (client,)))
        sys.stdout.write(f"{module.__name__}: {part.__name__}\n")


def only_blocking(client):
    """Requests that overlap, and bodies made and read by the client's own functions but sent by another."""
    waiting = [client.async_infer(MODEL, an_input(blocking, IMAGES, True)) for _ in range(8)]
    for request in waiting:
        check(request.get_result(), len(IMAGES))
    make, read = client.generate_request_body, client.parse_response_body
    body, length = make(an_input(blocking, IMAGES, True), outputs=outputs(blocking, True))
    sent = urllib.request.Request(f"http://{ADDRESS}/v2/models/{MODEL}/infer", body)
    sent.add_header("Inference-Header-Content-Length", str(length))
    with urllib.request.urlopen(sent) as answer:  # noqa: S310 -- our own server
        told = int(answer.headers["Inference-Header-Content-Length"])
        check(read(answer.read(), header_length=told), len(IMAGES))


async def with_asyncio():
    async with aio.InferenceServerClient(ADDRESS) as client:
        await everything(aio, Patient(client))


with blocking.InferenceServerClient(ADDRESS, concurrency=8) as client:
    asyncio.run(everything(blocking, Patient(client)))
    only_blocking(client)
    sys.stdout.write(f"{blocking.__name__}: only_blocking\n")
asyncio.run(with_asyncio())
