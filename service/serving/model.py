"""A model version loaded into memory for inference."""

from dataclasses import dataclass, field

import numpy as np

from service.errors import CorruptModel
from service.registry.manifest import Manifest, VerifiedModel
from service.serving.batch_invariant import LARGE_PARAMETERS, Forward, batch_invariant_forward
from service.serving.drift import Baseline
from training import MLP
from training.types import Floats, Pixels
from training.vision.input_spec import IMAGE_SIZE


@dataclass(frozen=True)
class ServingModel:
    """A loaded and warmed-up version. Immutable: a promotion creates a new one."""

    model: str
    version: int
    labels: tuple[str, ...]
    network: MLP
    temperature: float
    forward: Forward = field(repr=False)
    """Maps features to the network's outputs, from `batch_invariant_forward`.

    A field rather than a cached property: `dataclasses.replace` keeps it, so copies with another generation are cheap.
    """
    generation: int = 0
    """The generation of the alias that pointed to the version; 0 if it was requested by number."""
    manifest: Manifest | None = field(default=None, repr=False)
    baseline: Baseline | None = None
    """Statistics of the training examples, if the manifest has them."""

    @property
    def is_large(self) -> bool:
        """Whether predicting a batch takes too long for the event loop."""
        return self.network.parameters.size >= LARGE_PARAMETERS

    def predict(self, glyphs: Pixels) -> Floats:
        """Predict probabilities, float32 (n, labels), for glyphs, uint8 (n, 28, 28)."""
        return self.predict_features(self.network.config.input.to_features(glyphs))

    def predict_features(self, features: Floats) -> Floats:
        """Predict probabilities, float32 (n, labels), for network inputs, float32 (n, inputs).

        The result for a row is bitwise identical in any batch.
        """
        probabilities = self.forward(features)
        if probabilities.shape[1] == 1:  # a single sigmoid output: the probability of the second class
            probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
        if self.temperature == 1:
            return probabilities
        # Temperature scaling of probabilities: p^(1/T), normalised (Guo et al. 2017).
        powers = np.power(np.maximum(probabilities, np.finfo(np.float32).tiny), 1 / self.temperature)
        scaled: Floats = powers / powers.sum(axis=1, keepdims=True)
        return scaled


def load_and_warm(verified: VerifiedModel, generation: int = 0) -> ServingModel:
    """Prepare a version for inference and run one prediction. Raises CorruptModel if that is not finite."""
    manifest = verified.manifest
    model = ServingModel(
        manifest.name,
        manifest.version,
        manifest.labels,
        verified.network,
        manifest.temperature,
        batch_invariant_forward(verified.network),
        generation,
        manifest,
        Baseline.parse(manifest.details.get("baseline")),
    )
    if not np.isfinite(model.predict(np.zeros((1, IMAGE_SIZE, IMAGE_SIZE), np.uint8))).all():
        raise CorruptModel(f"{manifest.name} version {manifest.version} predicts probabilities that are not finite")
    return model
