# mypy: ignore-errors
"""KServe's SDK by protocols V1 and V2 against a server: `with_kserve.py host:port model expected.npz`."""

import asyncio
import base64
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

ADDRESS, MODEL, FILE = sys.argv[1:]
URL = f"http://{ADDRESS}"
DATA = np.load(FILE)
IMAGES, EXPECTED, FILES = (
    DATA["images"],
    DATA["expected"],
    [DATA[name].tobytes() for name in sorted(DATA) if name.startswith("file")],
)


def right(rows):
    return np.allclose(rows, EXPECTED, atol=1e-6)


async def refused(status, part, call):
    error = None
    try:
        await call
    except httpx.HTTPStatusError as raised:
        error = raised
    assert error is not None, f"nothing was refused, expected: {part}"
    assert error.response.status_code == status, error
    assert part in str(error), error


async def v1():
    client = InferenceRESTClient(RESTConfig(protocol="v1"))
    assert await client.is_server_live(URL)
    assert await client.is_model_ready(URL, MODEL)
    answer = await client.infer(URL, {"instances": IMAGES.tolist()}, model_name=MODEL)
    assert right(answer["predictions"])
    values = [{"b64": base64.b64encode(file).decode()} for file in FILES]
    assert right((await client.infer(URL, {"instances": values}, model_name=MODEL))["predictions"])
    explained = await client.explain(URL, MODEL, {"instances": IMAGES.tolist()})
    assert right(explained["predictions"])
    best = EXPECTED.argmax(axis=1)
    assert [told["label"] for told in explained["explanations"]] == [str(place) for place in best]
    assert np.array(explained["explanations"][0]["saliency"]).shape == (28, 28)
    await refused(400, "shape", client.infer(URL, {"instances": [[1, 2, 3]]}, model_name=MODEL))
    await refused(404, "no model", client.infer(URL, {"instances": [[1]]}, model_name="nothing"))
    await client.close()


def request(values, datatype, binary, **more):
    tensor = InferInput("image", list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return InferRequest(model_name=MODEL, infer_inputs=[tensor], **more)


def check(answer, name="probabilities"):
    assert answer.model_name == MODEL
    (output,) = (output for output in answer.outputs if output.name == name)
    assert np.allclose(output.as_numpy(), EXPECTED, atol=1e-6)


async def v2():
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(URL)
    assert await client.is_server_ready(URL)
    assert await client.is_model_ready(URL, MODEL)
    for binary in (True, False):
        for values, datatype in (
            (IMAGES, "UINT8"),
            (IMAGES.astype(np.int32), "INT32"),
            (IMAGES.reshape(-1, 784) / np.float32(255), "FP32"),
        ):
            check(await client.infer(URL, request(values, datatype, binary), model_name=MODEL))
            wishes = [RequestedOutput("probabilities", parameters={"binary_data": True})]
            sent = request(values, datatype, binary, request_outputs=wishes, request_id="mine")
            answer = await client.infer(URL, sent, model_name=MODEL)
            check(answer)
            assert answer.id == "mine"
            sent = request(values, datatype, binary, parameters={"binary_data_output": True})
            check(await client.infer(URL, sent, model_name=MODEL))
    files = np.array(FILES, dtype=np.object_)
    check(await client.infer(URL, request(files, "BYTES", binary=True), model_name=MODEL))
    raw = {"inputs": [{"name": "image", "shape": [1, 28, 28], "datatype": "UINT8", "data": IMAGES[:1].tolist()}]}
    answer = await client.infer(URL, raw, model_name=MODEL)
    assert answer.outputs[1].data == [str(EXPECTED[0].argmax())]
    wrong = request(np.zeros((1, 5), np.uint8), "UINT8", binary=True)
    await refused(400, "shape", client.infer(URL, wrong, model_name=MODEL))
    await refused(404, "no model", client.infer(URL, wrong, model_name="nothing"))
    await client.close()


for part in (v1, v2):
    asyncio.run(part())
    sys.stdout.write(f"kserve: {part.__name__}\n")
