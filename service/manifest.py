"""What is known of a model version, and the version brought into memory and held against it."""

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from service.errors import CorruptModel
from training import MLP, WeightsError, load


@dataclass(frozen=True)
class Manifest:
    """What is known of a version."""

    name: str
    version: int
    details: dict[str, Any]

    @property
    def labels(self) -> tuple[str, ...]:
        """What each class number stands for."""
        return tuple(self.details["labels"])

    @property
    def weights_sha256(self) -> str:
        """The hash that the weights must have."""
        return str(self.details["weights_sha256"])

    @property
    def job_id(self) -> str | None:
        """The job that made it, if any did."""
        return self.details.get("job_id")

    def to_bytes(self) -> bytes:
        """Write it as `manifest.json`."""
        return (json.dumps(self.details, indent=2) + "\n").encode()


@dataclass(frozen=True)
class LoadedModel:
    """A version whose weights passed every check."""

    manifest: Manifest
    network: MLP


def open_network(weights: bytes, manifest: Manifest) -> MLP:
    """Load weights and hold them against their manifest. Raises CorruptModel."""
    if sha256(weights).hexdigest() != manifest.weights_sha256:
        raise CorruptModel(f"the weights of {manifest.name} version {manifest.version} are damaged")
    try:
        network = load(weights)
    except WeightsError as error:
        raise CorruptModel(f"the weights of {manifest.name} version {manifest.version} are unusable: {error}") from None
    outputs = network.config.layers[-1]
    if len(manifest.labels) != outputs and (len(manifest.labels), outputs) != (2, 1):
        raise CorruptModel(f"{manifest.name} version {manifest.version} has {outputs} outputs for other labels")
    return network
