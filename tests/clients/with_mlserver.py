# mypy: ignore-errors
"""MLServer's codecs and its `infer` command against a server: `with_mlserver.py host:port model expected.npz`."""

import base64
import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import numpy as np
from mlserver.codecs import Base64Codec, NumpyCodec, NumpyRequestCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataModelResponse, RequestInput, RequestOutput

ADDRESS, MODEL, FILE = sys.argv[1:]
DATA = np.load(FILE)
IMAGES, EXPECTED, FILES = (
    DATA["images"],
    DATA["expected"],
    [DATA[name].tobytes() for name in sorted(DATA) if name.startswith("file")],
)
LABELS = [str(place) for place in EXPECTED.argmax(axis=1)]


def send(request):
    url = f"http://{ADDRESS}/v2/models/{MODEL}/infer"
    body = request.model_dump_json().encode()  # with every optional field as null
    with urllib.request.urlopen(urllib.request.Request(url, body)) as answer:
        return InferenceResponse.model_validate_json(answer.read())


def codecs():
    for values in (IMAGES, IMAGES.reshape(-1, 784) / np.float32(255), IMAGES.astype(np.int64)):
        answer = send(NumpyRequestCodec.encode_request(values))
        assert np.allclose(NumpyRequestCodec.decode_response(answer), EXPECTED, atol=1e-6)
        tensor, wishes = NumpyCodec.encode_input("image", values), [RequestOutput(name="label")]
        answer = send(InferenceRequest(id="mine", inputs=[tensor], outputs=wishes))
        assert answer.id == "mine"
        assert StringCodec.decode_output(answer.outputs[0]) == LABELS
    texts = [base64.b64encode(file).decode() for file in FILES]
    for tensor in (
        StringCodec.encode_input("image", texts, use_bytes=False),
        Base64Codec.encode_input("image", FILES, use_bytes=False),
        RequestInput(name="image", shape=[len(texts)], datatype="BYTES", data=texts),
    ):
        answer = send(InferenceRequest(inputs=[tensor]))
        assert np.allclose(NumpyCodec.decode_output(answer.outputs[0]), EXPECTED, atol=1e-6)
        assert StringCodec.decode_output(answer.outputs[1]) == LABELS


def described():
    with urllib.request.urlopen(f"http://{ADDRESS}/v2/models/{MODEL}") as answer:
        model = MetadataModelResponse.model_validate_json(answer.read())
    assert [tensor.name for tensor in model.outputs] == ["probabilities", "label"]


def infer_command(folder, size, *options):
    """Each line of a file is a request; the answers come out in a file of lines."""
    asked, answered = folder / "asked.jsonl", folder / "answered.jsonl"
    requests = [NumpyRequestCodec.encode_request(image[None]) for image in IMAGES]
    for place, request in enumerate(requests):
        request.id = str(place)
    asked.write_text("".join(request.model_dump_json(exclude_none=True) + "\n" for request in requests))
    command = [
        Path(sys.executable).parent / "mlserver",
        "infer",
        "-u",
        ADDRESS,
        "-m",
        MODEL,
        "-i",
        asked,
        "-o",
        answered,
    ]
    done = subprocess.run([*command, "-s", str(size), "-w", "2", *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in answered.read_text().splitlines()]
    assert len(lines) == len(IMAGES), done.stdout + done.stderr
    for line in lines:
        assert "error" not in line, line
        row = line["parameters"]["batch_index"]
        (tensor,) = (output for output in line["outputs"] if output["name"] == "probabilities")
        assert tensor["shape"] == [1, 10]
        assert np.allclose(tensor["data"], EXPECTED[row], atol=1e-6)


codecs()
sys.stdout.write("mlserver: codecs\n")
described()
sys.stdout.write("mlserver: described\n")
with tempfile.TemporaryDirectory() as name:
    infer_command(Path(name), 1)
    infer_command(Path(name), 4, "--binary-data")
sys.stdout.write("mlserver: infer_command\n")
