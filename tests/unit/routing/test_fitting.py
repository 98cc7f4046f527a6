"""Null distributions against SciPy, the data themselves, and their own limits."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import beta, gaussian_kde, kstest, norm, triang, uniform

from switchyard.errors import InputError
from switchyard.routing.fitting import GRID_POINTS, fit_nulls, kernel_cdf, left_out
from switchyard.routing.null_names import NULLS
from switchyard.routing.nulls import NullDistribution, nulls_table, p_values, read_nulls


@pytest.fixture
def logits() -> np.ndarray:
    """Skewed logits of 40 tokens and 16 experts, in float32 as a model gives them."""
    generator = np.random.default_rng(0)
    return (generator.gamma(2.0, size=(40, 16)) + generator.normal(size=(40, 1))).astype(np.float32)


def scipy_cdf(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    density = gaussian_kde(values.ravel().astype(np.float64))
    return np.array([density.integrate_box_1d(-np.inf, point) for point in x])


def test_pooled_is_scipys_gaussian_estimate(logits: np.ndarray) -> None:
    null = fit_nulls(logits, 4)["pooled"]
    x = null.logit[::50]
    np.testing.assert_allclose(null.cdf_at(x), scipy_cdf(logits, x), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", ["trimmed_2", "trimmed_4", "trimmed_8", "unselected"])
def test_trims_drop_what_their_name_says(logits: np.ndarray, name: str) -> None:
    ranked = np.sort(logits, axis=-1)
    half = 0 if name == "unselected" else int(name[-1]) // 2
    rest = ranked[:, :-4] if name == "unselected" else ranked[:, half:-half]
    null = fit_nulls(logits, 4)[name]
    x = null.logit[::100]
    np.testing.assert_allclose(null.cdf_at(x), scipy_cdf(rest, x), rtol=0, atol=2e-6)


def test_empirical_counts(logits: np.ndarray) -> None:
    null = fit_nulls(logits, 4)["empirical"]
    expected = [(logits <= point).mean() for point in null.logit]
    np.testing.assert_allclose(null.cdf, expected, rtol=0, atol=1e-15)


KERNELS = {
    "gaussian": norm(),
    "epanechnikov": beta(2, 2, -math.sqrt(5), 2 * math.sqrt(5)),
    "tophat": uniform(-math.sqrt(3), 2 * math.sqrt(3)),
    "linear": triang(0.5, -math.sqrt(6), 2 * math.sqrt(6)),
}
"""SciPy's distributions of the kernels' shapes, scaled to a standard deviation of one."""


@pytest.mark.parametrize("kernel", KERNELS)
def test_estimates_are_means_of_scipys_kernels(logits: np.ndarray, kernel: str) -> None:
    values = logits.ravel().astype(np.float64)
    bandwidth = values.size ** (-1 / 5) * values.std(ddof=1)
    points, cdf = kernel_cdf(values, kernel)
    some = slice(None, None, 1000)
    exact = KERNELS[kernel].cdf((points[some, None] - values) / bandwidth).mean(axis=1)
    assert KERNELS[kernel].std() == pytest.approx(1.0)
    np.testing.assert_allclose(cdf[some], exact, rtol=0, atol=2e-5 if kernel == "tophat" else 2e-6)


def test_the_grid(logits: np.ndarray) -> None:
    for null in fit_nulls(logits, 4).values():
        assert null.logit.size == null.cdf.size == GRID_POINTS
        assert (np.diff(null.logit) > 0).all()
        assert (np.diff(null.cdf) >= 0).all()
        assert 0.0 <= null.cdf[0] < 0.01 and null.cdf[-1] > 1 - 1e-6
        assert np.median(null.cdf) > 0.6  # denser in the upper tail


def test_the_grid_is_full_on_few_distinct_values() -> None:
    logits = np.random.default_rng(0).integers(-2, 3, (50, 8)).astype(np.float32)
    assert all(null.logit.size == GRID_POINTS for null in fit_nulls(logits, 2).values())


def test_one_far_logit_does_not_coarsen_the_rest() -> None:
    values = np.append(np.random.default_rng(0).normal(size=20_000), 1e4)
    points, cdf = kernel_cdf(values)
    bandwidth = values.size ** (-1 / 5) * values.std(ddof=1)
    exact = norm.cdf((points[:: points.size // 20, None] - values) / bandwidth).mean(axis=1)
    np.testing.assert_allclose(cdf[:: points.size // 20], exact, rtol=0, atol=1e-5)


def test_p_values_of_fresh_logits_are_uniform() -> None:
    generator = np.random.default_rng(0)
    null = fit_nulls(generator.normal(size=(20_000, 16)), 4)["pooled"]
    assert kstest(p_values(generator.normal(size=5_000), null), "uniform").statistic < 0.03


def test_nine_in_order_or_said_so(logits: np.ndarray) -> None:
    assert list(fit_nulls(logits, 4)) == list(NULLS)
    assert left_out(16, 4) == {}
    assert left_out(8, 2) == {"trimmed_8": "trimmed_8 drops 8 of 8 experts and leaves none"}
    assert list(left_out(4, 4)) == ["unselected", "trimmed_4", "trimmed_8"]
    assert list(fit_nulls(logits[:, :8], 2)) == [name for name in NULLS if name != "trimmed_8"]


def test_the_same_again(logits: np.ndarray) -> None:
    one, two = fit_nulls(logits, 4), fit_nulls(logits.copy(), 4)
    assert all(np.array_equal(one[name].cdf, two[name].cdf) for name in NULLS)


@pytest.mark.parametrize(
    ("value", "words"), [(1.5, "do not vary"), (np.nan, "not finite"), (np.inf, "not finite")]
)
def test_refuses_logits_without_a_distribution(value: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit_nulls(np.full((10, 4), value), 2)


def test_table_there_and_back(logits: np.ndarray, tmp_path: Path) -> None:
    layers = [fit_nulls(logits, 4), fit_nulls(logits + 1, 4)]
    path = tmp_path / "nulls.parquet"
    pq.write_table(nulls_table(layers), path)
    assert pq.read_schema(path).names == ["layer", "null", "logit", "cdf"]
    back = read_nulls(path, "linear")
    assert len(back) == 2
    for layer, null in enumerate(back):
        assert np.array_equal(null.logit, layers[layer]["linear"].logit)
        assert np.array_equal(null.cdf, layers[layer]["linear"].cdf)
    with pytest.raises(InputError, match=r"'gauss' is not in .*nulls\.parquet: use one of pooled"):
        read_nulls(path, "gauss")


def test_a_table_without_a_layer_is_refused(logits: np.ndarray, tmp_path: Path) -> None:
    table = nulls_table([fit_nulls(logits, 4)] * 2)
    pq.write_table(table.slice(table.num_rows // 2), tmp_path / "nulls.parquet")
    with pytest.raises(InputError, match=r"layers \[1\]"):
        read_nulls(tmp_path / "nulls.parquet", "pooled")


@pytest.mark.parametrize(
    ("logit", "cdf"),
    [
        ([], []),
        ([0.0, 1.0], [0.0]),
        ([0.0, 0.0], [0.0, 1.0]),
        ([1.0, 0.0], [0.0, 1.0]),
        ([0.0, 1.0], [1.0, 0.5]),
        ([0.0, 1.0], [0.0, 1.1]),
        ([0.0, 1.0], [-0.1, 1.0]),
        ([0.0, np.nan], [0.0, 1.0]),
        ([0.0, 1.0], [0.0, np.nan]),
    ],
)
def test_refuses_what_is_no_distribution(logit: list[float], cdf: list[float]) -> None:
    with pytest.raises(InputError, match="null: "):
        NullDistribution(logit, cdf)
