"""What a job is given beside its recipe: the samples, and the version that it goes on from.

    jobs/<job id>/samples.npz    the samples of its model, as they stood when it was first begun
    jobs/<job id>/start.json     the version that its alias meant then

Both are decided once, create-only, so that a job that goes on elsewhere, after samples were deleted and others
promoted, is still the same job, and the gate judges it by what it has held out.
"""

import io
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service.errors import CorruptModel, InvalidInput, Unavailable
from service.jobs.datasets import resolve_recipe
from service.jobs.job import JobRequest
from service.json_objects import read_object
from service.registry.registry import Registry
from service.registry.store import Store
from service.samples.export import to_npz
from service.samples.store import SampleStore
from training import DataError, Dataset, recipes
from training.data import Source
from training.data.npz import parse_npz
from training.extra import divide

_SAMPLES = "samples.npz"
HELD_OUT, LEARNED = "samples held out", "samples that it has learned from"
"""What a verdict calls the samples that a version is judged by."""


@dataclass(frozen=True)
class JobInputs:
    """Where jobs get what they are given."""

    store: Store
    samples: SampleStore
    registry: Registry
    datasets_dir: Path | None = None

    def materialize(self, request: JobRequest, job_id: str, folder: Path) -> dict[str, Any]:
        """Bring a job's inputs into its folder; answer the settings that name them there.

        Raises NotFound for a version or an alias that is not there, InvalidInput for a data set, CorruptModel,
        Unavailable.
        """
        recipe = recipes.get(request.recipe).replace(**request.settings)
        settings: dict[str, Any] = {"data": resolve_recipe(recipe, self.datasets_dir).data.data}
        if request.include_samples:
            path = folder / _SAMPLES
            _write(path, self._decided(job_id, _SAMPLES, lambda: self._samples(request.model)))
            settings["extra_data"] = str(path)
        if request.start_from is not None:
            version = self._decided_start(request, job_id)
            path = folder / "start.npz"
            _write(path, self.registry.weights(self.registry.manifest(request.model, version)))
            settings["start_from"] = str(path)
        return settings

    def _samples(self, model: str) -> bytes:
        known = [*self.samples.read_all(model)]
        if not known:  # deleted since the job was queued, or all of them damaged
            raise InvalidInput(f"there are no samples of {model} any more; send some, and train again")
        return to_npz(known)

    def describe(self, request: JobRequest, job_id: str, details: dict[str, Any]) -> dict[str, Any]:
        """Let a manifest say what the inputs were, instead of where they lay."""
        said: dict[str, Any] = {"data": recipes.get(request.recipe).replace(**request.settings).data.data}
        if request.include_samples:
            said["extra_data"] = "samples"
        if request.start_from is not None:
            said["start_from"] = f"{request.model} version {self._decided_start(request, job_id)}"
        return details | {"settings": details["settings"] | said}

    def holdout_samples(self, request: JobRequest, job_id: str, version: int) -> Dataset | None:
        """Give the samples that a job's version is judged by: those held out, or of a few all; None without any.

        Raises DataError when they are damaged, NotFound, CorruptModel, Unavailable.
        """
        if not request.include_samples:
            return None
        try:
            given = parse_npz(io.BytesIO(self.store.get(_key(job_id, _SAMPLES))), "samples")
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DataError(f"the samples of the job are damaged: {error}") from None
        labels = self.registry.manifest(request.model, version).labels
        extra = divide(Source(given), labels, drop_others=True)
        if extra.held_out:
            return replace(extra.held_out, name=HELD_OUT)
        return replace(extra.learned, name=LEARNED) if len(extra.learned) else None

    def _decided_start(self, request: JobRequest, job_id: str) -> int:
        def decide() -> bytes:
            return json.dumps({"version": resolve_start_version(self.registry, request)}).encode()

        try:
            return int(read_object(self._decided(job_id, "start.json", decide))["version"])
        except (KeyError, TypeError, ValueError):
            raise CorruptModel(f"{_key(job_id, 'start.json')} is damaged; train again") from None

    def _decided(self, job_id: str, name: str, decide: Callable[[], bytes]) -> bytes:
        """Give what was decided for a job; decide it now if it is the first time."""
        key = _key(job_id, name)
        with suppress(FileNotFoundError):
            return self.store.get(key)
        with suppress(FileExistsError):  # another worker, in this moment
            self.store.create(key, decide())
        return self.store.get(key)


def _write(path: Path, content: bytes) -> None:
    """Write into the job's folder; what fails now, on a full disk, may work later."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Unavailable("the scratch folder cannot be written") from error


def resolve_start_version(registry: Registry, request: JobRequest) -> int:
    """Find the version that a job would go on from now. Raises NotFound."""
    said = str(request.start_from)
    if said.isdigit():
        return registry.manifest(request.model, int(said)).version
    return registry.alias(request.model, said).version


def _key(job_id: str, name: str) -> str:
    return f"jobs/{job_id}/{name}"
