"""The Fréchet distance: closed forms, SciPy, torch-fidelity."""

import numpy as np
import pytest
import scipy.linalg
import torch

from bench.extractors.inception import torch_fidelity
from bench.stats import extrapolate, frechet_distance, gaussian_distance, moments


def features(seed: int, n: int = 300, d: int = 24, shift: float = 0.0) -> np.ndarray:
    g = np.random.default_rng(seed)
    return g.normal(size=(n, d)) @ g.normal(size=(d, d)) + shift


def by_scipy(a: np.ndarray, b: np.ndarray) -> float:
    (m, s), (n, t) = moments(a), moments(b)
    return float((m - n) @ (m - n) + np.trace(s + t - 2 * scipy.linalg.sqrtm(s @ t).real))


def test_distance_of_equal_features_is_zero():
    a = features(0)
    assert abs(frechet_distance(a, a)) < 1e-9


def test_moments_agree_with_numpy():
    a = features(1)
    mean, cov = moments(a)
    assert np.allclose(mean, a.mean(0), atol=1e-12)
    assert np.allclose(cov, np.cov(a, rowvar=False), atol=1e-12)


def test_closed_form_of_axis_aligned_gaussians():
    # Commuting covariances: |m - n|^2 + sum (sqrt(s) - sqrt(t))^2.
    s, t = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 0.0])
    m, n = np.array([1.0, 0.0, 2.0]), np.array([0.0, 0.0, 0.0])
    expected = 5.0 + ((np.sqrt(s) - np.sqrt(t)) ** 2).sum()
    assert gaussian_distance(m, np.diag(s), n, np.diag(t)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_agrees_with_scipy(shift):
    a, b = features(2), features(3, n=250, shift=shift)
    assert frechet_distance(a, b) == pytest.approx(by_scipy(a, b), rel=1e-6)


def test_small_side_agrees_with_large_side():
    a, b = features(4, n=30, d=50), features(5, n=20, d=50, shift=1.0)
    small = frechet_distance(a, b)
    large = gaussian_distance(*moments(a), *moments(b))
    assert small == pytest.approx(large, rel=1e-6)


@pytest.mark.parametrize("n", [60, 12])
def test_weights_count_rows(n):
    g = np.random.default_rng(6)
    a, b = features(7, n=n), features(8, n=n)
    draws = g.multinomial(n, np.full(n, 1 / n))
    assert frechet_distance(a, b, draws) == pytest.approx(
        frechet_distance(np.repeat(a, draws, 0), np.repeat(b, draws, 0)), rel=1e-6
    )


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.ones((1, 3)), np.ones((5, 3))),
        (np.ones((5, 3)), np.ones((5, 4))),
        (np.full((5, 3), np.nan), np.ones((5, 3))),
    ],
)
def test_invalid_features_are_refused(a, b):
    with pytest.raises(ValueError):
        frechet_distance(a, b)


class Pictures(torch.utils.data.Dataset):
    """uint8 pictures, as torch-fidelity takes them."""

    def __init__(self, seed: int, n: int = 64):
        g = torch.Generator().manual_seed(seed)
        self.all = torch.randint(0, 256 - 40 * seed, (n, 3, 4, 4), dtype=torch.uint8, generator=g)

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.all[i]


@pytest.mark.filterwarnings("ignore")  # torch-fidelity's own
def test_agrees_with_torch_fidelity():
    fidelity = torch_fidelity()
    mixing = torch.randn(48, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    class Toy(fidelity.FeatureExtractorBase):
        def __init__(self, name, features_list, **kwargs):
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list():
            return ("out",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "out"

        @staticmethod
        def can_be_compiled():
            return False

        @staticmethod
        def get_dummy_input_for_compile():
            return torch.zeros(1, 3, 4, 4, dtype=torch.uint8)

        def forward(self, images):
            return ((images.double() / 255).flatten(1) @ mixing,)

    fidelity.register_feature_extractor("ganmut-toy", Toy)
    one, two = Pictures(0), Pictures(1)
    theirs = fidelity.calculate_metrics(
        input1=one,
        input2=two,
        fid=True,
        feature_extractor="ganmut-toy",
        cuda=False,
        cache=False,
        verbose=False,
        save_cpu_ram=True,
    )["frechet_inception_distance"]
    features = [(p.all.double() / 255).flatten(1) @ mixing for p in (one, two)]
    assert frechet_distance(*(f.numpy() for f in features)) == pytest.approx(
        theirs, abs=1e-6, rel=1e-6
    )


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_limit_of_infinite_n_is_unbiased(shift):
    # Two standard normals of 16 values, shifted in each: the true distance is 16 shift^2.
    true, plain, limit, half = 16 * shift**2, [], [], []
    for seed in range(12):
        real, edited = np.random.default_rng(seed).normal(size=(2, 400, 16))
        edited += shift

        def distance(rows, real=real, edited=edited):
            return frechet_distance(real[rows], edited[rows])

        parts = extrapolate(distance, 400, 34, seed)
        plain.append(distance(np.arange(400)))
        half.append(parts["n / 2"])
        limit.append(parts["n = infinity"])
    bias = [np.mean(values) - true for values in (half, plain, limit)]
    assert bias[0] > 1.7 * bias[1] > 0  # K / n
    assert abs(bias[2]) < 0.25 * bias[1]


def test_too_few_samples_have_no_limit():
    assert extrapolate(lambda rows: 1.0, 60, 34, 0) == {}
