import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.errors import ConfigError, WeightsError
from training.export.checkpoint import load_checkpoint, save_checkpoint
from training.export.npz import load
from training.fit.config import FitConfig
from training.fit.loop import TrainingState, train
from training.inputs.active_inputs import input_order
from training.nn.config import MLPConfig
from training.nn.mlp import MLP
from training.types import Floats, Labels

STORED = Path(__file__).parent / "stored"
NETWORK = MLPConfig((6, 10, 3), batch_norm=True, dropout=0.2)


@pytest.fixture
def examples(rng: np.random.Generator) -> tuple[Floats, Labels]:
    x = rng.normal(size=(90, 6)).astype(np.float32)
    return x, x[:, :3].argmax(axis=1)


def config(**changes: Any) -> FitConfig:
    return FitConfig(epochs=6, batch_size=16, learning_rate=0.01, keep_best=True, validation_share=0.2).replace(
        **changes
    )


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop", "adagrad"])
@pytest.mark.parametrize("stopped_after", [1, 3, 5])
def test_a_resumed_run_ends_with_the_bytes_of_one_that_never_stopped(
    optimizer: str, stopped_after: int, examples: tuple[Floats, Labels], tmp_path: Path
) -> None:
    settings = config(
        optimizer=optimizer, schedule="cosine", optimizer_options={"momentum": 0.9} if optimizer == "sgd" else {}
    )
    whole = TrainingState.start(MLP(NETWORK, 0), settings)
    list(train(whole, examples, settings))
    first = TrainingState.start(MLP(NETWORK, 0), settings)
    for epoch in train(first, examples, settings):
        save_checkpoint(tmp_path / "run.npz", first, settings)
        if epoch.number == stopped_after:
            break
    resumed = load_checkpoint(tmp_path / "run.npz", MLP(NETWORK, 99), settings)
    list(train(resumed, examples, settings))
    for name, array in whole.network.state_dict().items():
        assert array.tobytes() == resumed.network.state_dict()[name].tobytes(), name
    strip = [(e.number, e.step, e.train, e.validation, e.update) for e in whole.history]
    assert strip == [(e.number, e.step, e.train, e.validation, e.update) for e in resumed.history]


def test_a_checkpoint_describes_the_network_as_earlier_releases_did(tmp_path: Path) -> None:
    run = TrainingState.start(MLP(NETWORK, 0), config())
    save_checkpoint(tmp_path / "run.npz", run, config())
    with np.load(tmp_path / "run.npz") as members:
        network = json.loads(members["header"].tobytes())["network"]
    assert network["input"] == {"side": 28, "low": 0.0, "high": 1.0}


def test_a_finished_run_can_be_given_more_epochs(examples: tuple[Floats, Labels], tmp_path: Path) -> None:
    run = TrainingState.start(MLP(NETWORK, 0), config(keep_best=False))
    list(train(run, examples, config(keep_best=False)))
    save_checkpoint(tmp_path / "run.npz", run, config(keep_best=False))
    longer = config(epochs=8, keep_best=False)
    resumed = load_checkpoint(tmp_path / "run.npz", MLP(NETWORK, 0), longer)
    assert [epoch.number for epoch in train(resumed, examples, longer)] == [7, 8]


@pytest.mark.parametrize(
    "changes", [{"learning_rate": 0.02}, {"optimizer": "sgd"}, {"seed": 4}, {"epochs": 9, "schedule": "cosine"}]
)
def test_other_settings_are_refused_by_name(
    changes: dict[str, Any], examples: tuple[Floats, Labels], tmp_path: Path
) -> None:
    run = TrainingState.start(MLP(NETWORK, 0), config())
    next(train(run, examples, config()))
    save_checkpoint(tmp_path / "run.npz", run, config())
    with pytest.raises(ConfigError, match="other settings"):
        load_checkpoint(tmp_path / "run.npz", MLP(NETWORK, 0), config(**changes))
    with pytest.raises(ConfigError, match="layers"):
        load_checkpoint(tmp_path / "run.npz", MLP(NETWORK.replace(layers=(6, 11, 3)), 0), config())


def test_what_is_no_checkpoint_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    for content in (b"", b"text", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="not a checkpoint"):
            load_checkpoint(path, MLP(NETWORK, 0), config())


def test_a_run_that_had_finished_goes_on_to_its_best_weights(tmp_path: Path, rng: np.random.Generator) -> None:
    """Also when it learned without the silent inputs, so that what the checkpoint has are the last weights."""
    x = np.zeros((200, 64), np.float32)
    x[:, 20:30] = rng.normal(size=(200, 10))
    examples = x, rng.integers(0, 3, 200)  # nothing to learn: the best epoch is seldom the last
    network, settings = MLPConfig((64, 10, 3)), config(keep_best=True)
    whole = TrainingState.start(MLP(network, 0), settings)
    list(train(whole, examples, settings))
    save_checkpoint(tmp_path / "run.npz", whole, settings)
    assert input_order(whole.network, x) is not None
    resumed = load_checkpoint(tmp_path / "run.npz", MLP(network, 0), settings)
    assert list(train(resumed, examples, settings)) == []
    for name, array in whole.network.state_dict().items():
        assert array.tobytes() == resumed.network.state_dict()[name].tobytes(), name


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_checkpoint_of_format_1_goes_on_as_it_would_have_there(optimizer: str) -> None:
    """What the stored runs did without a break was stored beside them by the release that made them."""
    rng = np.random.default_rng(7)
    x = np.zeros((60, 64), np.float32)
    x[:, 20:30] = rng.integers(0, 8, (60, 10)) / 8
    settings = config(
        epochs=4,
        keep_best=False,
        l2=0.001,
        optimizer=optimizer,
        optimizer_options={"momentum": 0.9} if optimizer == "sgd" else {},
    )
    path = STORED / f"checkpoint-1-{optimizer}.npz"
    run = load_checkpoint(path, MLP(MLPConfig((64, 6, 3)), 99), settings)
    assert [epoch.number for epoch in train(run, (x, x[:, 20:23].argmax(axis=1)), settings)] == [3, 4]
    ended = load(STORED / f"checkpoint-1-{optimizer}-ended.npz")
    np.testing.assert_allclose(run.network.parameters, ended.parameters, rtol=1e-4, atol=1e-6)


def test_a_checkpoint_of_format_1_keeps_its_split_when_it_is_saved_again(tmp_path: Path) -> None:
    settings = config(epochs=4, keep_best=False, l2=0.001)
    network = MLP(MLPConfig((64, 6, 3)), 0)
    run = load_checkpoint(STORED / "checkpoint-1-adam.npz", network, settings)
    save_checkpoint(tmp_path / "run.npz", run, settings)
    assert load_checkpoint(tmp_path / "run.npz", network, settings).shares_streams
    save_checkpoint(tmp_path / "run.npz", TrainingState.start(network, settings), settings)
    assert not load_checkpoint(tmp_path / "run.npz", network, settings).shares_streams
