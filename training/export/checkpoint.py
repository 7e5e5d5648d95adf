"""Checkpoints, from which training resumes with bit-identical results.

A checkpoint is an `.npz` with the arrays of the network, the optimizer state, the best arrays so far, and a JSON header
with step, history, generator state and the configs, which must be the same when resuming.
"""

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from training.atomic import replacing
from training.errors import ConfigError, WeightsError
from training.export.npz import write_npz
from training.fit.config import FitConfig
from training.fit.history import Epoch, LossAndAccuracy
from training.fit.loop import TrainingState
from training.nn.config import MLPConfig
from training.nn.mlp import MLP
from training.stored import refuse_unknown, restored

FORMAT = "glyphserve-checkpoint-2"
FORMAT_1 = "glyphserve-checkpoint-1"
"""Written by releases whose network had active inputs only; such runs can be resumed."""


def save_checkpoint(path: Path, run: TrainingState, config: FitConfig) -> None:
    """Write a checkpoint atomically."""
    header = {
        "format": FORMAT,
        "network": run.network.config.to_dict(),
        "fit": _comparable(config),
        "step": run.step,
        "rng": run.rng.bit_generator.state,
        "shares_streams": run.shares_streams,
        "history": [asdict(epoch) for epoch in run.history],
    }
    members: dict[str, Any] = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    for kind, arrays in (
        ("learner", run.network.state_dict()),
        ("optimizer", run.optimizer.state),
        ("best", run.best or {}),
    ):
        members |= {f"{kind}/{name}": array for name, array in arrays.items()}
    with replacing(path) as file:
        write_npz(file, members)


def load_checkpoint(path: Path, network: MLP, config: FitConfig) -> TrainingState:
    """Restore a training state into a network built from the same config.

    Raises WeightsError for an invalid file, ConfigError for other settings; the number of epochs and the stopping
    criteria may differ, since they do not change any step.
    """
    try:
        # From memory: NumPy does not close broken files.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as members:
            arrays = {name: members[name] for name in members.files}
        header = json.loads(arrays.pop("header").tobytes())
        if header["format"] not in (FORMAT, FORMAT_1):
            raise ValueError(f"unknown format {header['format']}")
    except Exception as error:  # NumPy, zipfile and json raise different types
        raise WeightsError(f"{path} is not a checkpoint: {error}") from error
    refuse_unknown(header, dict.fromkeys(_HEADER_FIELDS), "the checkpoint")
    _check_same(asdict(restored(MLPConfig, header["network"], "the checkpoint's network")), asdict(network.config))
    _check_same(_comparable(restored(FitConfig, header["fit"], "the checkpoint's fit")), _comparable(config))
    run = TrainingState.start(network, config)
    columns = arrays.pop("columns", None)
    _check_arrays(path, arrays, run)
    network.load_state_dict(
        {name: _with_all_inputs(array, columns, network, name) for name, array in _arrays_of("learner", arrays).items()}
    )
    for name, array in _arrays_of("optimizer", arrays).items():
        run.optimizer.state[name][:] = _with_all_inputs(array, columns, network)
    run.best = _arrays_of("best", arrays) or None
    run.step = header["step"]
    run.shares_streams = header.get("shares_streams", header["format"] == FORMAT_1)
    run.rng.bit_generator.state = header["rng"]
    run.history = [replace(_epoch(figures), epochs=config.epochs) for figures in header["history"]]
    return run


def _with_all_inputs(array: Any, columns: Any, network: MLP, name: str = "0.weight") -> Any:
    """Insert the rows of inactive inputs into an array of format 1; return other arrays unchanged.

    In the flat vectors of optimizers these rows are at the front.
    """
    fan_in, fan_out = network.config.layers[:2]
    if columns is None or name != "0.weight" or (array.ndim == 1 and len(array) < len(columns) * fan_out):
        return array
    rows = np.zeros((fan_in, fan_out), array.dtype)
    rows[columns] = array.reshape(-1)[: len(columns) * fan_out].reshape(len(columns), fan_out)
    return rows if array.ndim == 2 else np.concatenate([rows.ravel(), array[len(columns) * fan_out :]])


_HEADER_FIELDS = ("format", "network", "fit", "step", "rng", "shares_streams", "history")


def _check_same(theirs: dict[str, Any], mine: dict[str, Any]) -> None:
    different = sorted(name for name, value in mine.items() if theirs.get(name) != value)
    if different:
        raise ConfigError(f"the checkpoint was made with other settings: {', '.join(different)}", field=different[0])


def _check_arrays(path: Path, arrays: dict[str, Any], run: TrainingState) -> None:
    learned = [f"learner/{name}" for name in run.network.state_dict()]
    needed = [*learned, *(f"optimizer/{name}" for name in run.optimizer.state)]
    best = [f"best/{name}" for name in run.network.state_dict()]
    refuse_unknown(arrays, dict.fromkeys([*needed, *best]), "the checkpoint")
    if any(name in arrays for name in best):
        needed += best
    if absent := [name for name in needed if name not in arrays]:
        raise WeightsError(f"{path} is not a checkpoint: it lacks {', '.join(absent)}")


_NOT_COMPARED = ("epochs", "patience", "stop_at_error", "stop_at_update", "max_seconds")


def _comparable(config: FitConfig) -> dict[str, Any]:
    """Return the settings that affect the steps; these include the number of epochs unless the rate is constant."""
    settings = asdict(config)
    free = [name for name in _NOT_COMPARED if name != "epochs" or config.schedule == "constant"]
    return {name: value for name, value in settings.items() if name not in free}


def _arrays_of(kind: str, arrays: dict[str, Any]) -> dict[str, Any]:
    return {name.partition("/")[2]: array for name, array in arrays.items() if name.startswith(f"{kind}/")}


def _epoch(figures: dict[str, Any]) -> Epoch:
    scores = {name: LossAndAccuracy(*figures[name]) if figures[name] else None for name in ("train", "validation")}
    return restored(Epoch, figures | scores, "an epoch of the checkpoint")
