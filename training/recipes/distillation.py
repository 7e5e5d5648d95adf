"""Distillation: train a small network to match the outputs of better ones (Hinton, Vinyals and Dean 2015).

A teacher's probabilities carry more than a label, such as that a seven looks a little like a one, and it gives them for
every deformed image anew. A student that is trained on both comes closer to a large network than on labels alone.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from training.errors import ConfigError, WeightsError
from training.export.npz import load
from training.fit.steps import LossTransform
from training.nn.activations import softmax
from training.nn.config import MLPConfig
from training.nn.losses import Loss, cross_entropy
from training.nn.mlp import MLP
from training.recipes.model_zoo import find_release
from training.types import Floats, Targets


def make_distillation(teachers: Sequence[MLP], weight: float, temperature: float) -> LossTransform:
    """Return a loss transform for teachers with the student's inputs; the student matches their mean probabilities."""

    def transform(loss: Loss, x: Floats) -> Loss:
        probabilities = [softmax(teacher.forward(x)[0] / temperature)[0] for teacher in teachers]
        return distillation_loss(loss, np.mean(probabilities, axis=0), weight, temperature)

    return transform


def distillation_loss(loss: Loss, teacher_probabilities: Floats, weight: float, temperature: float) -> Loss:
    """Mix a loss of logits z with the cross-entropy H to probabilities q (n, k), both at the temperature T.

    (1 − weight)·L(z, y) + weight·T²·H(q, softmax(z/T)). The gradient of H scales with 1/T²; the factor T² compensates
    for that (section 2 of the paper), so a weight means the same at every temperature.
    """

    def function(logits: Floats, targets: Targets, weights: Floats | None) -> tuple[float, Floats]:
        value, gradient = loss.function(logits, targets, weights)
        soft_value, soft_gradient = cross_entropy(logits / temperature, teacher_probabilities, weights)
        gradient *= 1 - weight
        gradient += weight * temperature * soft_gradient
        return (1 - weight) * value + weight * temperature**2 * soft_value, gradient

    return loss._replace(function=function)


@dataclass(frozen=True)
class Teacher:
    """A trained network to distil from, and its origin."""

    name: str
    """The release, such as `accurate/5`, or the path."""
    network: MLP
    weights_sha256: str
    data_fingerprint: str | None
    """Fingerprint of its training examples; None if no manifest states it, or if it was trained on others as well."""

    def provenance(self) -> dict[str, Any]:
        """Return the entry of a manifest about this teacher."""
        return {"name": self.name, "weights_sha256": self.weights_sha256, "fingerprint": self.data_fingerprint}


def load_teacher(name_or_path: str, student: MLPConfig, classes: tuple[str, ...]) -> Teacher:
    """Load a released model by name, or a `weights.npz` by path, as a teacher of these classes.

    The teacher's classes are read from a manifest next to the weights; without one, only their number is compared.
    Raises ConfigError if it does not exist, or has other classes or inputs than the student.
    """
    folder = find_release(name_or_path)
    weights = folder / "weights.npz" if folder else Path(name_or_path)
    try:
        content = weights.read_bytes()
        network = load(content)
    except (OSError, WeightsError) as error:
        raise ConfigError(f"there is no teacher {name_or_path!r}: {error}", field="teachers") from error
    manifest = _read_manifest(weights.with_name("manifest.json"))
    labels = tuple(manifest.get("labels", classes))
    if labels != classes or network.config.layers[-1] != len(classes) or network.config.output != "softmax":
        raise ConfigError(f"the teacher {name_or_path} must know {', '.join(classes)}, and no others", field="teachers")
    if network.config.input != student.input:
        raise ConfigError(
            f"the teacher {name_or_path} must see inputs of the form that the network sees", field="teachers"
        )
    name = "/".join(folder.parts[-2:]) if folder else name_or_path
    return Teacher(name, network, sha256(content).hexdigest(), _data_fingerprint(manifest))


def _data_fingerprint(manifest: dict[str, Any]) -> str | None:
    """Return the fingerprint of the training data if nothing else, such as other teachers' data, contributed."""
    data, initial_weights = manifest.get("data", {}), manifest.get("settings", {}).get("start_from")
    fingerprint: str | None = data.get("fingerprint")
    others = [teacher for teacher in data.get("teachers", ()) if teacher["fingerprint"] != fingerprint]
    return None if initial_weights or others else fingerprint


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no manifest: {error}", field="teachers") from error
    return manifest if isinstance(manifest, dict) else {}
