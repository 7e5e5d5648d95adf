"""MLServer with a runtime of one's own, by V2 with the pixels as a tensor: there is no picture to decode."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.servers.reading import answer


class Reader(MLModel):  # type: ignore[misc]  # it brings no types
    """Read digits."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Read the digit."""
        found = answer(NumpyCodec.decode_input(payload.inputs[0]).astype(np.float32))
        probabilities = np.array([list(found["probabilities"].values())], np.float32)
        outputs = [
            StringCodec.encode_output("label", [found["label"]]),
            NumpyCodec.encode_output("probabilities", probabilities),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
