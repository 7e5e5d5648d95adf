import numpy as np
import pytest

from tests.service.conftest import Server, png
from training import evaluate, load
from training.data.published_sets import MNIST, load_published


@pytest.mark.mnist
def test_over_http_all_ten_thousand_test_digits_are_read_as_offline(server: Server, mnist_source: object) -> None:  # noqa: ARG001 -- skips where MNIST is not
    """One PNG a file, 50 files a request, through a really started server: the same answer for every image."""
    test = load_published(MNIST).test
    assert test is not None
    weights = server.http.get("/models/mnist/versions/1/weights.npz").content
    offline = evaluate(load(weights), test)
    online: list[int] = []
    for start in range(0, len(test), 50):
        files = [("file", (f"{n}.png", png(test.images[n]), "image/png")) for n in range(start, start + 50)]
        answer = server.http.post("/predict?version=1", files=files)
        online += [int(prediction["label"]) for prediction in answer.json()["predictions"]]
    np.testing.assert_array_equal(online, offline.predicted)
    accuracy = float(np.mean(np.array(online) == test.labels))
    print(f"accuracy over HTTP {accuracy:.4f}, offline {offline.accuracy:.4f}")  # noqa: T201 -- a figure, shown by pytest -s
    assert accuracy == offline.accuracy >= 0.98
