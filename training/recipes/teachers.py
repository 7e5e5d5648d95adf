"""Teachers: the networks that a recipe names to learn from, found, and held against what is to be learned."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from training.errors import ConfigError, WeightsError
from training.export.npz import load
from training.nn.mlp import MLP, MLPConfig
from training.recipes.model_zoo import find_release


@dataclass(frozen=True)
class Teacher:
    """A network that teaches, and where it came from."""

    name: str
    """The release, such as `accurate/5`, or the path."""
    network: MLP
    weights_sha256: str
    learned: str | None
    """The fingerprint of the examples that it learned from; None where no manifest tells, or there were others."""

    def told(self) -> dict[str, Any]:
        """Give what a manifest tells of a teacher."""
        return {"name": self.name, "weights_sha256": self.weights_sha256, "fingerprint": self.learned}


def open_teacher(said: str, student: MLPConfig, classes: tuple[str, ...]) -> Teacher:
    """Open a released model by its name, else a `weights.npz` by its path, to teach a network these classes.

    A manifest beside the weights tells the teacher's classes; without one their number must do. Raises ConfigError for
    one that is not there, or that knows other classes or sees other inputs than the student.
    """
    folder = find_release(said)
    weights = folder / "weights.npz" if folder else Path(said)
    try:
        content = weights.read_bytes()
        network = load(content)
    except (OSError, WeightsError) as error:
        raise ConfigError(f"there is no teacher {said!r}: {error}", field="teachers") from error
    manifest = _manifest(weights.with_name("manifest.json"))
    labels = tuple(manifest.get("labels", classes))
    if labels != classes or network.config.layers[-1] != len(classes) or network.config.output != "softmax":
        raise ConfigError(f"the teacher {said} must know {', '.join(classes)}, and no others", field="teachers")
    if network.config.input != student.input:
        raise ConfigError(f"the teacher {said} must see inputs of the form that the network sees", field="teachers")
    name = "/".join(folder.parts[-2:]) if folder else said
    return Teacher(name, network, sha256(content).hexdigest(), _learned(manifest))


def _learned(manifest: dict[str, Any]) -> str | None:
    """Tell what a network learned from, if it began with drawn weights and its own teachers learned from the same."""
    data, started = manifest.get("data", {}), manifest.get("settings", {}).get("start_from")
    fingerprint: str | None = data.get("fingerprint")
    others = [teacher for teacher in data.get("teachers", ()) if teacher["fingerprint"] != fingerprint]
    return None if started or others else fingerprint


def _manifest(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no manifest: {error}", field="teachers") from error
    return manifest if isinstance(manifest, dict) else {}
