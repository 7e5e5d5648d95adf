"""What people hand over: lists, columns, raw pixels. It works, or the error says what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training import MLP, ConfigError, DataError, Dataset, FitConfig, MLPConfig, WeightsError, data, evaluate, fit, save
from training.export.npz import load, to_bytes
from training.vision.input_spec import InputSpec

Entrance = Callable[[MLP, Any], object]
LABELS = np.arange(20) % 10
ENTRANCES: dict[str, Entrance] = {
    "predict": lambda network, x: network.predict(x),
    "fit": lambda network, x: fit(network, x, LABELS, FitConfig(epochs=1)),
    "validation": lambda network, x: fit(
        network, np.zeros((20, 784), "f"), LABELS, FitConfig(epochs=1), validation=(x, LABELS)
    ),
    "hold out": lambda network, x: fit(network, x, LABELS, FitConfig(epochs=1, validation_share=0.5)),
}


class Frame:
    """Gives its numbers as a data frame does."""

    def __repr__(self) -> str:
        """Give the test the same name in every process."""
        return "Frame"

    def __init__(self, values: Any) -> None:
        self._values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._values if dtype is None else self._values.astype(dtype)


@pytest.fixture
def pixels(rng: np.random.Generator) -> Any:
    return rng.integers(0, 256, (20, 784)).astype(np.uint8)


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("form", [InputSpec(), InputSpec(low=-1.0)])
def test_raw_pixels_are_refused_and_the_error_says_to_divide(entrance: str, form: InputSpec, pixels: Any) -> None:
    network = MLP(MLPConfig((784, 8, 10), input=form))
    for raw in (pixels, pixels.astype(np.float32), pixels.astype(np.int64), pixels.tolist()):
        with pytest.raises(DataError, match=r"as raw pixels 0 … 255 are.*divide pixels by 255"):
            ENTRANCES[entrance](network, raw)
    ENTRANCES[entrance](network, pixels / np.float32(255))


def test_a_network_of_raw_pixels_or_of_other_features_takes_them(pixels: Any) -> None:
    assert MLP(MLPConfig((784, 10), input=InputSpec(high=255.0))).predict(pixels.astype(np.float32)).shape == (20, 10)
    assert MLP(MLPConfig((4, 3))).predict(np.array([[10.0, 200.0, 3.0, 4.0]])).shape == (1, 3)


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(
    ("x", "says"),
    [
        ([["a"] * 784] * 20, "x must be numbers"),
        ([[None] * 784] * 20, "x must be numbers"),
        ([[0.0], [0.0, 1.0]], "x must be a rectangular array"),
        ([0.5] * 784, r"x of shape \(n, 784\), got shape \(784,\); give a single row as x\[np\.newaxis\]"),
        (np.zeros((20, 28, 28), "f"), "flatten images first"),
        (np.full((20, 784), np.nan, "f"), "x has numbers that are not finite"),
        (np.full((20, 784), -np.inf, "f"), "x has numbers that are not finite"),
        (None, "x must be numbers"),
    ],
)
def test_what_is_no_input_is_refused_by_an_error_of_our_own(entrance: str, x: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        ENTRANCES[entrance](MLP(MLPConfig((784, 8, 10))), x)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_lists_and_data_frames_are_taken(entrance: str, pixels: Any) -> None:
    x = pixels.astype(np.float64) / 255
    for given in (x.tolist(), Frame(x)):
        ENTRANCES[entrance](MLP(MLPConfig((784, 8, 10))), given)


@pytest.mark.parametrize("y", [LABELS[:, None], LABELS.tolist(), LABELS.astype(np.uint8), Frame(LABELS)], ids=str)
def test_labels_may_be_a_column_or_a_list(y: Any, rng: np.random.Generator) -> None:
    x = rng.random((20, 784), np.float32)
    trained = [MLP(MLPConfig((784, 8, 10))) for _ in range(2)]
    for network, labels in zip(trained, (LABELS, y), strict=True):
        fit(network, x, labels, FitConfig(epochs=1, validation_share=0.5))
    np.testing.assert_array_equal(trained[0].parameters, trained[1].parameters)


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (LABELS.astype(float), r"use y\.astype\(int\)"),
        (["one"] * 20, r"y has 1 different labels \(one\), but the network has 10 classes"),
        (3, "y has none"),
        (LABELS[:5], "x has 20 rows, y has 5"),
    ],
)
def test_labels_that_are_none_are_refused_by_an_error_of_our_own(y: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        fit(MLP(MLPConfig((784, 8, 10))), np.zeros((20, 784), "f"), y, FitConfig(epochs=1))


def test_other_examples_and_weights_are_refused_by_an_error_of_our_own() -> None:
    network, x = MLP(MLPConfig((784, 8, 10))), np.zeros((20, 784), "f")
    with pytest.raises(DataError, match="examples must be a pair"):
        fit(network, x, LABELS, FitConfig(epochs=1), validation=data)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="sample_weight must be numbers"):
        fit(network, x, LABELS, FitConfig(epochs=1), sample_weight=["much"] * 20)


def test_a_data_set_may_be_given_as_lists(pixels: Any) -> None:
    images = pixels.reshape(20, 28, 28)
    whole = Dataset("own", images, LABELS)
    column: Any = LABELS[:, None]
    assert Dataset("own", images, column).fingerprint() == whole.fingerprint()
    assert Dataset("own", images, LABELS.tolist()).fingerprint() == whole.fingerprint()  # type: ignore[arg-type]
    assert evaluate(MLP(MLPConfig((784, 10))), whole).examples == 20
    for labels in (LABELS.astype(float), ["one"] * 20):
        with pytest.raises(DataError):
            Dataset("own", images, labels)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="expected images of uint8"):
        Dataset("own", images.tolist(), LABELS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_not_saved(value: float, tmp_path: Path) -> None:
    network = MLP(MLPConfig((4, 3)))
    kept = save(network, tmp_path / "weights.npz")
    network.state_dict()["0.bias"][1] = value
    with pytest.raises(WeightsError, match=r"0\.bias has values that are not finite.*nothing was saved"):
        save(network, tmp_path / "weights.npz")
    assert (tmp_path / "weights.npz").read_bytes() == kept


def test_weights_beyond_half_precision_are_not_saved_in_it() -> None:
    network = MLP(MLPConfig((4, 3)))
    network.state_dict()["0.weight"][0, 0] = 1e6
    with pytest.raises(WeightsError, match=r"0\.weight has values that are not finite as float16"):
        to_bytes(network, np.float16)
    assert load(to_bytes(network)).state_dict()["0.weight"][0, 0] == 1e6


@pytest.mark.parametrize("dtype", [np.float16, np.int32])
def test_a_network_of_half_precision_is_refused_for_what_it_is(dtype: Any) -> None:
    with pytest.raises(ConfigError, match="computes in float32 or float64") as caught:
        MLP(MLPConfig((4, 3)), 0, dtype)
    assert caught.value.field == "dtype"


def test_weights_order_and_hold_out_are_drawn_from_different_bits() -> None:
    """The first numbers of the three streams of any seed differ."""
    from training.random_streams import hold_out_rng, training_rng, weights_rng

    for seed in range(20):
        drawn: set[Any] = {rng(seed).integers(2**62) for rng in (weights_rng, training_rng, hold_out_rng)}
        assert len(drawn | {np.random.default_rng(seed).integers(2**62)}) == 4
