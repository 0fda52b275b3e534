"""Each observer against its definition in plain NumPy, over the values themselves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bvx.calibration.histogram import Histogram
from bvx.calibration.observers import OBSERVERS, PERCENTILE, choose_bounds, find_observer
from bvx.runtime.errors import CalibrationError


def outliers(generator: np.random.Generator) -> np.ndarray:
    """Values as after a LayerNorm: most of them small, one channel twenty times larger."""
    found = generator.standard_normal((16, 32, 24))
    found[..., 3] *= 20
    return found


SHAPES = {
    "normal": lambda generator: generator.standard_normal((16, 32, 24)),
    "shifted": lambda generator: generator.standard_normal((16, 32, 24)) * 0.3 + 2,
    "gelu": lambda generator: np.maximum(generator.standard_normal((16, 32, 24)) * 2, -0.17),
    "heavy": lambda generator: generator.standard_t(2, (16, 32, 24)),
    "negative": lambda generator: -np.abs(generator.standard_normal((16, 32, 24))),
    "outliers": outliers,
}


@pytest.fixture(params=SHAPES)
def seen(request) -> tuple[np.ndarray, Histogram]:
    found = SHAPES[request.param](np.random.default_rng(3)).astype(np.float32)
    return found, count(*np.split(found, 4))


def count(*batches: np.ndarray) -> Histogram:
    histogram = Histogram()
    for batch in batches:
        rows = batch.reshape(len(batch), -1)
        histogram.add(batch, rows.min(axis=1), rows.max(axis=1))
    return histogram


def bounds(name: str, histogram: Histogram) -> tuple[float, float]:
    return choose_bounds(histogram, find_observer(name))


def round_trip(found: np.ndarray, low: float, high: float) -> np.ndarray:
    """What uint8 between low and high makes of float64 values."""
    scale = (high - low) / 255
    zero = np.round(-low / scale)
    return (np.clip(np.round(found / scale) + zero, 0, 255) - zero) * scale


def test_minmax_is_the_extremes_and_zero(seen) -> None:
    found, histogram = seen
    assert bounds("minmax", histogram) == (min(found.min(), 0), max(found.max(), 0))


def test_moving_average_is_the_mean_of_each_texts_extremes(seen) -> None:
    found, histogram = seen
    rows = found.reshape(len(found), -1).astype(np.float64)
    expected = (min(rows.min(axis=1).mean(), 0), max(rows.max(axis=1).mean(), 0))
    assert bounds("moving-average", histogram) == pytest.approx(expected, rel=1e-6)


def test_percentile_is_numpys_to_the_width_of_a_bin(seen) -> None:
    found, histogram = seen
    cut = (100 - PERCENTILE) / 2
    low, high = (np.percentile(found, share, method="inverted_cdf") for share in (cut, 100 - cut))
    expected = (min(low, 0), max(high, 0))
    assert bounds("percentile", histogram) == pytest.approx(expected, abs=1.01 * histogram.width)


def test_mse_is_about_the_best_of_all_bounds(seen) -> None:
    found, histogram = seen
    exact = found.astype(np.float64).ravel()
    shares = np.linspace(0.04, 1, 25)
    low, high = min(exact.min(), 0), max(exact.max(), 0)
    errors = [
        np.mean((exact - round_trip(exact, low * a, high * b)) ** 2)
        for a in (shares if low else [0.0])
        for b in (shares if high else [0.0])
    ]
    chosen = np.mean((exact - round_trip(exact, *bounds("mse", histogram))) ** 2)
    assert chosen < 1.05 * min(errors)


def divergence(absolute: np.ndarray, edges: np.ndarray, bins: int) -> float:
    """D(P || Q) after the talk, word by word: slow, over a list of bins."""
    counts = [float(np.sum((absolute >= low) & (absolute < high))) for low, high in itertools.pairwise(edges)]
    counts[0] = 0.0
    p = counts[:bins]
    p[-1] += sum(counts[bins:])
    q = [0.0] * bins
    for step in range(128):
        places = range(step * bins // 128, (step + 1) * bins // 128)
        filled = [place for place in places if counts[place]]
        for place in filled:
            q[place] = sum(counts[one] for one in filled) / len(filled)
    total, inside = sum(p), sum(counts[:bins])
    return sum(a / total * np.log(a / total / max(b / inside, 1e-9)) for a, b in zip(p, q, strict=True) if a)


@pytest.mark.parametrize("shape", ["normal", "heavy", "outliers"])
def test_entropy_clips_where_the_divergence_is_least(shape, monkeypatch) -> None:
    found = SHAPES[shape](np.random.default_rng(3)).astype(np.float32)
    histogram = count(found)
    edges = np.arange(4097) * histogram.width
    tried = {bins: divergence(np.abs(found).ravel(), edges, bins) for bins in range(128, 4097, 512)}
    monkeypatch.setattr("bvx.calibration.observers._STRIDE", 512)
    limit = min(tried, key=tried.__getitem__) * histogram.width
    expected = (max(found.min(), -limit), min(found.max(), limit))
    assert bounds("entropy", histogram) == pytest.approx(expected, rel=1e-6)


def test_a_few_outliers_widen_minmax_and_not_the_others() -> None:
    generator = np.random.default_rng(0)
    found = generator.standard_normal((1000, 400)).astype(np.float32)
    found[0, :3] = 300
    histogram = count(found)
    highs = {name: bounds(name, histogram)[1] for name in OBSERVERS}
    assert highs["minmax"] == 300
    assert all(high < 20 for name, high in highs.items() if name not in ("minmax", "mse")), highs


def test_every_observer_gives_bounds_that_hold_zero_and_are_not_empty(seen) -> None:
    _, histogram = seen
    for name in OBSERVERS:
        low, high = bounds(name, histogram)
        assert low <= 0 <= high and low < high
        assert (low, high) == (np.float32(low), np.float32(high))


@pytest.mark.parametrize("name", OBSERVERS)
def test_a_tensor_of_zeros_gets_a_range_too(name) -> None:
    assert bounds(name, count(np.zeros((2, 4), np.float32))) == (0.0, 1.0)


def test_an_unknown_observer_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CalibrationError, match=r"no observer 'max'.*minmax, moving-average, percentile, entropy, mse"):
        find_observer("max")
