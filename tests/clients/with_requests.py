# mypy: ignore-errors
"""TensorFlow Serving's REST calls, as its guides write them: `with_requests.py host:port model expected.npz`."""

import base64
import json
import shutil
import subprocess
import sys

import numpy as np
import requests

ADDRESS, MODEL, FILE = sys.argv[1:]
URL = f"http://{ADDRESS}/v1/models/{MODEL}"
DATA = np.load(FILE)
IMAGES, EXPECTED, FILES = (
    DATA["images"],
    DATA["expected"],
    [DATA[name].tobytes() for name in sorted(DATA) if name.startswith("file")],
)


def right(rows):
    return np.allclose(rows, EXPECTED, atol=1e-6)


def guide():
    """The Fashion MNIST guide: floats of shape (n, 28, 28, 1), `json.dumps`, and the arg max of each prediction."""
    data = json.dumps({"signature_name": "serving_default", "instances": (IMAGES[..., None] / 255.0).tolist()})
    for url in (URL, f"{URL}/versions/1", f"{URL}/labels/production"):
        answer = requests.post(f"{url}:predict", data=data, headers={"content-type": "application/json"}, timeout=60)
        predictions = json.loads(answer.text)["predictions"]
        assert [np.argmax(row) for row in predictions] == EXPECTED.argmax(axis=1).tolist()
        assert np.allclose(predictions, EXPECTED, atol=1e-6)


def forms():
    values = [{"b64": base64.b64encode(file).decode()} for file in FILES]
    for body in (
        {"instances": IMAGES.tolist()},
        {"instances": [{"image": image} for image in IMAGES.tolist()]},
        {"instances": values},
        {"instances": [{"image": value} for value in values]},
    ):
        assert right(requests.post(f"{URL}:predict", json=body, timeout=60).json()["predictions"])
    for body in ({"inputs": IMAGES.tolist()}, {"inputs": {"image": IMAGES.tolist()}}, {"inputs": values}):
        assert right(requests.post(f"{URL}:predict", json=body, timeout=60).json()["outputs"])
    examples = [{"image": image} for image in IMAGES.tolist()]
    result = requests.post(f"{URL}:classify", json={"examples": examples}, timeout=60).json()["result"]
    assert [ranked[0][0] for ranked in result] == [str(place) for place in EXPECTED.argmax(axis=1)]


def descriptions():
    (status,) = requests.get(URL, timeout=60).json()["model_version_status"]
    assert (status["version"], status["state"]) == ("1", "AVAILABLE")
    assert status["status"] == {"error_code": "OK", "error_message": ""}
    described = requests.get(f"{URL}/metadata", timeout=60).json()
    assert described["model_spec"]["version"] == "1"
    assert "serving_default" in described["metadata"]["signature_def"]["signature_def"]


def errors():
    for body, status in (({}, 400), ({"instances": [[1]]}, 400), ({"instances": [[1]], "inputs": [[1]]}, 400)):
        answer = requests.post(f"{URL}:predict", json=body, timeout=60)
        assert (answer.status_code, bool(answer.json()["error"])) == (status, True)
    for url in (f"{URL}/versions/99", f"{URL}/labels/none", f"http://{ADDRESS}/v1/models/none"):
        answer = requests.get(url, timeout=60)
        assert (answer.status_code, bool(answer.json()["error"])) == (404, True)


def with_curl():
    """As the guides do, without any Content-Type of JSON: `curl -d` calls it a form."""
    body = json.dumps({"instances": IMAGES.tolist()})
    command = [shutil.which("curl"), "-s", "-d", "@-", "-X", "POST", f"{URL}:predict"]
    done = subprocess.run(command, input=body, capture_output=True, text=True, check=True)
    assert right(json.loads(done.stdout)["predictions"])


for part in (guide, forms, descriptions, errors, *([with_curl] if shutil.which("curl") else [])):
    part()
    sys.stdout.write(f"TensorFlow Serving's calls: {part.__name__}\n")
