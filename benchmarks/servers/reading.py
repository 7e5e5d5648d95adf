"""What every server of the comparison does with a picture: Pillow, the same network, the same answer."""

import io
import os
from typing import Any

import numpy as np
from PIL import Image

from training import load

NETWORK = load(os.environ["BENCHMARK_WEIGHTS"])


def read(content: bytes) -> dict[str, Any]:
    """Decode a picture as it is usually done, and answer label, confidence and probabilities."""
    image = Image.open(io.BytesIO(content)).convert("L")
    if image.size != (28, 28):
        image = image.resize((28, 28))
    return answer(np.asarray(image, np.float32).reshape(1, 784) / 255)


def answer(x: np.ndarray) -> dict[str, Any]:
    """Let the network see one row of pixels."""
    probabilities = NETWORK.predict(x)[0]
    place = int(probabilities.argmax())
    return {
        "label": str(place),
        "confidence": float(probabilities[place]),
        "probabilities": {str(number): float(value) for number, value in enumerate(probabilities)},
    }
