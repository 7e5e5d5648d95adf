"""What is known of a model version, and the version brought into memory and held against it."""

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from service.errors import CorruptModel
from service.json_objects import read_object
from training import MLP, WeightsError, load

BUNDLED_PREFIX = "release-"
"""Begins the job id of versions that came with the package."""

_VERSION = re.compile(r"[1-9][0-9]{0,9}")


@dataclass(frozen=True)
class Manifest:
    """What is known of a version."""

    name: str
    version: int
    details: dict[str, Any]

    @classmethod
    def read(cls, name: str, version: int, content: bytes) -> "Manifest":
        """Parse a `manifest.json`. Raises CorruptModel."""
        try:
            details = read_object(content)
        except ValueError as error:
            raise CorruptModel(f"the manifest of {name} version {version} is damaged: {error}") from None
        if not _is_complete(details):
            raise CorruptModel(f"the manifest of {name} version {version} is incomplete")
        return cls(name, version, details)

    @property
    def labels(self) -> tuple[str, ...]:
        """What each class number stands for."""
        return tuple(self.details["labels"])

    @property
    def weights_sha256(self) -> str:
        """The hash that the weights must have."""
        return str(self.details["weights_sha256"])

    @property
    def temperature(self) -> float:
        """What divides the logits, so that confidence means frequency."""
        return float(self.details.get("temperature", 1.0))

    @property
    def job_id(self) -> str | None:
        """The job that made it, if any did."""
        return self.details.get("job_id")

    @property
    def is_bundled(self) -> bool:
        """Whether it came with the package."""
        return (self.job_id or "").startswith(BUNDLED_PREFIX)

    def to_bytes(self) -> bytes:
        """Write it as `manifest.json`."""
        return (json.dumps(self.details, indent=2) + "\n").encode()


@dataclass(frozen=True)
class VerifiedModel:
    """A version whose weights passed every check."""

    manifest: Manifest
    network: MLP


def is_version(text: str) -> bool:
    """Tell whether a part of a key is the number of a version."""
    return _VERSION.fullmatch(text) is not None


def _is_complete(details: dict[str, Any]) -> bool:
    labels, temperature = details.get("labels"), details.get("temperature", 1.0)
    return (
        isinstance(labels, list)
        and all(isinstance(label, str) for label in labels)
        and isinstance(details.get("weights_sha256"), str)
        and isinstance(details.get("job_id"), str | None)
        and all(isinstance(details.get(name), dict | None) for name in ("settings", "metrics", "data"))
        and isinstance(temperature, int | float)
        and 0 < temperature < float("inf")
    )


def load_verified(weights: bytes, manifest: Manifest) -> MLP:
    """Load weights and hold them against their manifest. Raises CorruptModel."""
    if sha256(weights).hexdigest() != manifest.weights_sha256:
        raise CorruptModel(f"the weights of {manifest.name} version {manifest.version} are damaged")
    try:
        network = load(weights)
    except WeightsError as error:
        raise CorruptModel(f"the weights of {manifest.name} version {manifest.version} are unusable: {error}") from None
    inputs, outputs = network.config.layers[0], network.config.layers[-1]
    if inputs != network.config.input.width**2:
        raise CorruptModel(f"{manifest.name} version {manifest.version} has {inputs} inputs for other pictures")
    if len(manifest.labels) != max(outputs, 2) or len(set(manifest.labels)) != len(manifest.labels):  # one is of two
        raise CorruptModel(f"{manifest.name} version {manifest.version} has {outputs} outputs for other labels")
    return network
