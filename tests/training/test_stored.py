"""What is stored as JSON is read by releases that know more fields, and refused by name by those that know fewer."""

import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import (
    MLP,
    ConfigError,
    DataError,
    FitConfig,
    MLPConfig,
    Recipe,
    TrainingState,
    WeightsError,
    load,
    recipes,
    train,
)
from training.data.dataset import Dataset
from training.export.checkpoint import load_checkpoint, save_checkpoint
from training.export.npz import to_bytes
from training.recipes.config import DataConfig
from training.recipes.search import Trial, _key, read
from training.stored import of_known_fields, restored
from training.vision.glyph import preprocessing_id
from training.vision.input_spec import InputSpec

NETWORK, FIT = MLPConfig((4, 5, 3)), FitConfig(epochs=2)
Change = Callable[[dict[str, Any]], None]


def changed(content: bytes, change: Change, arrays: dict[str, Any] | None = None) -> bytes:
    """Rewrite the header of a weights file or a checkpoint, and add arrays."""
    with np.load(io.BytesIO(content)) as file:
        members = dict(file)
    header = json.loads(members["header"].tobytes())
    change(header)
    members["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    out = io.BytesIO()
    np.savez(out, **members | (arrays or {}))
    return out.getvalue()


def without(part: str, name: str) -> Change:
    return lambda header: header[part].pop(name, None)


def with_one_more(*path: str) -> Change:
    def change(header: dict[str, Any]) -> None:
        for name in path:
            header = header[name]
        header["future"] = 1

    return change


@pytest.mark.parametrize("name", [f.name for f in fields(MLPConfig) if f.name != "layers"])
def test_weights_of_a_release_that_did_not_know_a_field_are_read(name: str) -> None:
    network = MLP(NETWORK)
    read_back = load(changed(to_bytes(network), without("config", name)))
    assert read_back.config == NETWORK
    np.testing.assert_array_equal(read_back.parameters, network.parameters)


@pytest.mark.parametrize("path", [("config",), ("config", "input"), ()], ids=str)
def test_weights_of_a_newer_release_are_refused_by_the_field_s_name(path: tuple[str, ...]) -> None:
    with pytest.raises(WeightsError, match=r"has future, which.*newer release; update"):
        load(changed(to_bytes(MLP(NETWORK)), with_one_more(*path)))


def test_weights_with_an_array_of_a_newer_release_are_refused_by_its_name() -> None:
    with pytest.raises(WeightsError, match=r"has 0\.future\.npy, which.*newer release"):
        load(changed(to_bytes(MLP(NETWORK)), lambda _: None, {"0.future": np.zeros(3)}))


def test_a_new_field_of_the_input_form_keeps_the_fingerprint_of_every_released_model() -> None:
    @dataclass(frozen=True)
    class Grown(InputSpec):
        gamma: float = 1.0

    assert preprocessing_id(Grown()) == preprocessing_id(InputSpec())
    assert preprocessing_id(Grown(gamma=2.0)) != preprocessing_id(InputSpec())
    assert preprocessing_id(InputSpec(block=2)) != preprocessing_id(InputSpec())


@pytest.fixture
def checkpoint(tmp_path: Path, rng: np.random.Generator) -> Path:
    run = TrainingState.start(MLP(NETWORK), FIT)
    x = rng.normal(size=(30, 4)).astype(np.float32)
    next(train(run, (x, x[:, :3].argmax(axis=1)), FIT))
    save_checkpoint(tmp_path / "run.npz", run, FIT)
    return tmp_path / "run.npz"


@pytest.mark.parametrize(
    ("part", "name"),
    [("fit", f.name) for f in fields(FitConfig)] + [("network", f.name) for f in fields(MLPConfig)][1:],
)
def test_a_checkpoint_of_a_release_that_did_not_know_a_field_goes_on(checkpoint: Path, part: str, name: str) -> None:
    default: Any = next(f.default for f in fields(FitConfig if part == "fit" else MLPConfig) if f.name == name)
    checkpoint.write_bytes(changed(checkpoint.read_bytes(), without(part, name)))
    assert len(load_checkpoint(checkpoint, MLP(NETWORK), FIT).history) == 1
    if name == "learning_rate":
        with pytest.raises(ConfigError, match="learning_rate"):
            load_checkpoint(checkpoint, MLP(NETWORK), FIT.replace(learning_rate=2 * default))


@pytest.mark.parametrize("path", [("fit",), ("network",), ("network", "input"), (), ("history", 0)], ids=str)
def test_a_checkpoint_of_a_newer_release_is_refused_by_the_field_s_name(checkpoint: Path, path: Any) -> None:
    checkpoint.write_bytes(changed(checkpoint.read_bytes(), with_one_more(*path)))
    with pytest.raises(ConfigError, match="future"):
        load_checkpoint(checkpoint, MLP(NETWORK), FIT)


def test_a_checkpoint_with_unknown_or_without_needed_arrays_is_refused_by_their_names(checkpoint: Path) -> None:
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(changed(content, lambda _: None, {"average/0.weight": np.zeros(3)}))
    with pytest.raises(ConfigError, match=r"average/0\.weight.*newer release"):
        load_checkpoint(checkpoint, MLP(NETWORK), FIT)
    with np.load(io.BytesIO(content)) as file:
        members: dict[str, Any] = {
            name: file[name] for name in file.files if name not in ("optimizer/second", "learner/0.bias")
        }
    np.savez(checkpoint, **members)
    with pytest.raises(WeightsError, match=r"lacks learner/0\.bias, optimizer/second"):
        load_checkpoint(checkpoint, MLP(NETWORK), FIT)


@pytest.mark.parametrize("kind", [MLPConfig, FitConfig, DataConfig, InputSpec])
def test_any_field_may_be_absent_from_what_is_stored_and_one_more_is_refused(kind: type) -> None:
    stored = json.loads(json.dumps(asdict(kind())))
    for name in stored:
        assert restored(kind, {key: value for key, value in stored.items() if key != name}, "it") == kind()
        with pytest.raises(ConfigError, match=r"it has also_new, future, which") as caught:
            restored(kind, stored | {"future": 1, "also_new": 2}, "it")
    assert caught.value.field == "also_new"


def test_what_has_no_default_is_named_when_it_is_absent_and_what_is_no_object_is_refused() -> None:
    with pytest.raises(ConfigError, match="the set lacks name, images"):
        restored(Dataset, {"labels": []}, "the set")
    with pytest.raises(ConfigError, match="the config must be an object of names and values, not list"):
        restored(MLPConfig, [1], "the config")


def test_figures_to_show_are_read_without_what_only_a_newer_release_knows() -> None:
    assert of_known_fields(InputSpec, {"side": 20, "future": 1}) == InputSpec(side=20)


def test_results_of_a_search_name_what_they_lack_and_what_is_unknown(tmp_path: Path) -> None:
    trial = asdict(Trial("a", {}, 0.5, 1.0, 1, 1.0))
    del trial["failure"]
    results = tmp_path / "results.jsonl"
    results.write_text(json.dumps(trial) + "\n")
    assert read(results)[0].failure is None
    results.write_text(json.dumps(trial | {"future": 1}) + "\n")
    with pytest.raises(DataError, match=r"line 1 of .* has future, which.*newer release"):
        read(results)


def test_settings_of_a_stored_recipe_may_lack_any_and_name_the_unknown() -> None:
    settings = json.loads(json.dumps(Recipe("r", "").to_flat_dict()))
    for name in settings:
        less = {key: value for key, value in settings.items() if key != name}
        assert Recipe("r", "").replace(**less).to_flat_dict() == settings or name == "layers"
    with pytest.raises(ConfigError, match="unknown setting 'future'"):
        Recipe("r", "").replace(**settings, future=1)


def test_an_input_form_names_what_is_unknown() -> None:
    builds: tuple[Callable[..., Any], ...] = (MLPConfig, Recipe("r", "").replace)
    for build in builds:
        with pytest.raises(ConfigError, match="input takes side, low, high, block, not future") as caught:
            build(input={"side": 20, "future": 1})
        assert caught.value.field == "input"


def test_results_of_earlier_releases_count_in_a_search_that_goes_on() -> None:
    """The key of release 1. Where a new setting changes it, name the setting in `_ADDED`."""
    assert _key(recipes.get("starter")) == "35de2b05680312dc"
    assert _key(recipes.get("starter").replace(skip_unreadable=True)) != "35de2b05680312dc"
