"""The inputs of a job besides its recipe: samples, and the version that it starts from.

    jobs/<job id>/samples.npz    the samples of its model when it was first started
    jobs/<job id>/start.json     the version that its alias pointed to then

Both are created once, so that a job that continues on another host, after samples were deleted or other versions
promoted, still has the same inputs, and the gate evaluates it on what it has held out.
"""

import io
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service.errors import CorruptModel, Unavailable, UnprocessableContent
from service.jobs.datasets import resolve_recipe
from service.jobs.job import JobRequest
from service.json_objects import read_object
from service.registry.registry import Registry
from service.registry.store import Store
from service.samples.export import to_npz
from service.samples.store import SampleStore
from training import DataError, Dataset, recipes
from training.data import TrainTest
from training.data.extra_data import split_extra
from training.data.npz import parse_npz

_SAMPLES = "samples.npz"
_HELD_OUT, _TRAINED_ON = "held-out samples", "samples that it has learned from"
"""Names in a decision for the samples that a version is evaluated on."""


@dataclass(frozen=True)
class JobInputs:
    """Resolves the inputs of jobs."""

    store: Store
    samples: SampleStore
    registry: Registry
    datasets_dir: Path | None = None

    def materialize(self, request: JobRequest, job_id: str, folder: Path) -> dict[str, Any]:
        """Write a job's inputs into its folder; return the settings with their paths.

        Raises NotFound for an unknown version or alias, UnprocessableContent for an unknown data set, CorruptModel,
        Unavailable.
        """
        recipe = recipes.get(request.recipe).replace(**request.settings)
        settings: dict[str, Any] = {"data": resolve_recipe(recipe, self.datasets_dir).data.data}
        if request.include_samples:
            path = folder / _SAMPLES
            _write(path, self._get_or_create(job_id, _SAMPLES, lambda: self._read_samples(request.model)))
            settings["extra_data"] = str(path)
        if request.start_from is not None:
            version = self._start_version(request, job_id)
            path = folder / "start.npz"
            _write(path, self.registry.weights(self.registry.manifest(request.model, version)))
            settings["start_from"] = str(path)
        return settings

    def _read_samples(self, model: str) -> bytes:
        samples = [*self.samples.read_all(model)]
        if not samples:  # all deleted since the job was queued, or damaged
            raise UnprocessableContent(f"there are no samples of {model} any more; send some, and train again")
        return to_npz(samples)

    def describe(self, request: JobRequest, job_id: str, details: dict[str, Any]) -> dict[str, Any]:
        """Replace local paths in the details of a manifest by stable descriptions."""
        described: dict[str, Any] = {"data": recipes.get(request.recipe).replace(**request.settings).data.data}
        if request.include_samples:
            described["extra_data"] = "samples"
        if request.start_from is not None:
            described["start_from"] = f"{request.model} version {self._start_version(request, job_id)}"
        return details | {"settings": details["settings"] | described}

    def holdout_samples(self, request: JobRequest, job_id: str, version: int) -> Dataset | None:
        """Return the samples to evaluate a job's version on: the held-out ones, or all if there are too few.

        None if the job has no samples. Raises DataError if they are damaged, NotFound, CorruptModel, Unavailable.
        """
        if not request.include_samples:
            return None
        try:
            samples = parse_npz(io.BytesIO(self.store.get(_key(job_id, _SAMPLES))), "samples")
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise DataError(f"the samples of the job are damaged: {error}") from None
        labels = self.registry.manifest(request.model, version).labels
        extra = split_extra(TrainTest(samples), labels, ignore_unknown_classes=True)
        if extra.held_out:
            return replace(extra.held_out, name=_HELD_OUT)
        return replace(extra.train, name=_TRAINED_ON) if len(extra.train) else None

    def _start_version(self, request: JobRequest, job_id: str) -> int:
        def create() -> bytes:
            return json.dumps({"version": resolve_start_version(self.registry, request)}).encode()

        try:
            return int(read_object(self._get_or_create(job_id, "start.json", create))["version"])
        except (KeyError, TypeError, ValueError):
            raise CorruptModel(f"{_key(job_id, 'start.json')} is damaged; train again") from None

    def _get_or_create(self, job_id: str, name: str, create: Callable[[], bytes]) -> bytes:
        """Return a stored input of a job; create it the first time."""
        key = _key(job_id, name)
        with suppress(FileNotFoundError):
            return self.store.get(key)
        with suppress(FileExistsError):  # another worker created it just now
            self.store.create(key, create())
        return self.store.get(key)


def _write(path: Path, content: bytes) -> None:
    """Write a file. Raises Unavailable, since a full disk may have space later."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Unavailable("the scratch folder cannot be written") from error


def resolve_start_version(registry: Registry, request: JobRequest) -> int:
    """Return the version that a job would start from now. Raises NotFound."""
    reference = str(request.start_from)
    if reference.isdigit():
        return registry.manifest(request.model, int(reference)).version
    return registry.alias(request.model, reference).version


def _key(job_id: str, name: str) -> str:
    return f"jobs/{job_id}/{name}"
