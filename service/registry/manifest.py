"""The manifest of a model version, and its network loaded and verified against it."""

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from service.errors import CorruptModel
from service.json_objects import read_object
from training import MLP, WeightsError, load

BUNDLED_PREFIX = "release-"
"""Prefix of the job ID of versions that are bundled with the package."""

_VERSION = re.compile(r"[1-9][0-9]{0,9}")


@dataclass(frozen=True)
class Manifest:
    """The metadata of a version."""

    name: str
    version: int
    details: dict[str, Any]

    @classmethod
    def parse(cls, name: str, version: int, content: bytes) -> "Manifest":
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
        """The labels by class index."""
        return tuple(self.details["labels"])

    @property
    def weights_sha256(self) -> str:
        """The expected SHA-256 of the weights."""
        return str(self.details["weights_sha256"])

    @property
    def temperature(self) -> float:
        """Divisor of the logits that calibrates the confidence."""
        return float(self.details.get("temperature", 1.0))

    @property
    def job_id(self) -> str | None:
        """The job that published the version, if any."""
        return self.details.get("job_id")

    @property
    def is_bundled(self) -> bool:
        """Whether the version is bundled with the package."""
        return (self.job_id or "").startswith(BUNDLED_PREFIX)

    def to_bytes(self) -> bytes:
        """Serialize as `manifest.json`."""
        return (json.dumps(self.details, indent=2) + "\n").encode()


@dataclass(frozen=True)
class VerifiedModel:
    """A version whose weights passed all checks."""

    manifest: Manifest
    network: MLP


def is_version(text: str) -> bool:
    """Return whether a part of a key is a version number."""
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
    """Load weights and verify them against their manifest. Raises CorruptModel."""
    if sha256(weights).hexdigest() != manifest.weights_sha256:
        raise CorruptModel(f"the weights of {manifest.name} version {manifest.version} are damaged")
    try:
        network = load(weights)
    except WeightsError as error:
        raise CorruptModel(f"the weights of {manifest.name} version {manifest.version} are unusable: {error}") from None
    inputs, outputs = network.config.layers[0], network.config.layers[-1]
    if inputs != network.config.input.grid_size**2:
        raise CorruptModel(
            f"{manifest.name} version {manifest.version} does not fit its images: it has {inputs} inputs"
        )
    n_classes = max(outputs, 2)  # a single output distinguishes two classes
    if len(manifest.labels) != n_classes or len(set(manifest.labels)) != len(manifest.labels):
        raise CorruptModel(
            f"{manifest.name} version {manifest.version} does not fit its labels: it has {outputs} outputs"
        )
    return network
