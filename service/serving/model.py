"""One model version in memory, ready to answer."""

from dataclasses import dataclass, field

import numpy as np

from service.errors import CorruptModel
from service.registry.manifest import Manifest, VerifiedModel
from service.serving.batch_invariant import LARGE_PARAMETERS, Forward, batch_invariant_forward
from service.serving.drift import Baseline
from training import MLP
from training.arrays import Floats, Pixels
from training.preprocess import SIDE


@dataclass(frozen=True)
class ServingModel:
    """One version, loaded and warm. Never changed; a promotion makes a new one."""

    model: str
    version: int
    labels: tuple[str, ...]
    network: MLP
    temperature: float
    forward: Forward = field(repr=False)
    """The network's outputs for rows of features, as `batch_invariant_forward` gives them.

    A field and no cached property: `dataclasses.replace` keeps it, so a copy with another generation costs nothing and
    the event loop never computes it.
    """
    generation: int = 0
    """Of the alias that led here; 0 when the version was asked for by number."""
    manifest: Manifest | None = field(default=None, repr=False)
    baseline: Baseline | None = None
    """What its training examples looked like, if the manifest tells."""

    @property
    def is_large(self) -> bool:
        """Whether reading a batch takes longer than the event loop should stand still."""
        return self.network.parameters.size >= LARGE_PARAMETERS

    def predict(self, glyphs: Pixels) -> Floats:
        """Read glyphs, uint8 (n, 28, 28): one row of probabilities each, in the order of the labels."""
        return self.predict_features(self.network.config.input.features(glyphs))

    def predict_features(self, features: Floats) -> Floats:
        """Read what the network itself takes, float32 (n, inputs): one row of probabilities each.

        To the last bit they are the same for a row whatever it is read with.
        """
        probabilities = self.forward(features)
        if probabilities.shape[1] == 1:  # a single sigmoid, for the second of two classes
            probabilities = np.concatenate([1 - probabilities, probabilities], axis=1)
        if self.temperature == 1:
            return probabilities
        # Softmax at a temperature, from probabilities: p^(1/T), normalised (Guo et al. 2017).
        powers = np.power(np.maximum(probabilities, np.finfo(np.float32).tiny), 1 / self.temperature)
        scaled: Floats = powers / powers.sum(axis=1, keepdims=True)
        return scaled


def load_and_warm(loaded: VerifiedModel, generation: int) -> ServingModel:
    """Make a snapshot and let it answer once. Raises CorruptModel when the answer is no number."""
    manifest = loaded.manifest
    fresh = ServingModel(
        manifest.name,
        manifest.version,
        manifest.labels,
        loaded.network,
        manifest.temperature,
        batch_invariant_forward(loaded.network),
        generation,
        manifest,
        Baseline.read(manifest.details.get("baseline")),
    )
    if not np.isfinite(fresh.predict(np.zeros((1, SIDE, SIDE), np.uint8))).all():
        raise CorruptModel(f"{manifest.name} version {manifest.version} answers with numbers that are not finite")
    return fresh
