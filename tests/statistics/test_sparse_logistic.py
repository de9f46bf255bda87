"""The L1 logistic regression: against scikit-learn, and against the conditions of an optimum."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from harness.statistics.sparse_logistic import _violation, fit_liblinear, refit

L1 = {"penalty": "l1"} if LogisticRegression().get_params().get("penalty") == "l2" else None


def world(n=300, seed=0):
    rng = np.random.default_rng(seed)
    x = np.stack([np.tanh(rng.normal(size=n)), rng.normal(size=n), np.ones(n)], axis=1)
    y = expit(x @ [0.8, -0.4, -1.0] + rng.normal(size=n))
    return x, y, rng.integers(0, 4, size=(6, n)).astype(float)


def tight(x, y, w, strength):
    fixed = {"fit_intercept": False, "tol": 1e-12, "max_iter": 100_000}
    model = LogisticRegression(
        solver="liblinear", C=strength, random_state=0, **fixed, **(L1 or {"l1_ratio": 1})
    )
    both = np.r_[w * y, w * (1 - y)]
    return model.fit(np.vstack([x, x]), np.repeat([1, 0], len(y)), both).coef_[0]


@pytest.mark.parametrize("strength", [1e-4, 0.01, 0.05, 0.36, 1.0, 2.8, 21.5, 1e4])
@pytest.mark.parametrize("seed", range(4))
def test_liblinear_stops_where_liblinear_stops(strength, seed):
    x, y, weights = world(seed=seed)
    x = np.hstack([x, x[:, :1] ** 2, np.zeros((len(x), 1))])[:, [3, 0, 4, 1, 2]]
    for w in weights:
        fixed = {"fit_intercept": False, "tol": 1e-4, "max_iter": 100, "random_state": 123}
        model = LogisticRegression(
            solver="liblinear", C=strength, **fixed, **(L1 or {"l1_ratio": 1})
        )
        doubled = np.r_[w * y, w * (1 - y)]
        model.fit(np.vstack([x, x]), np.repeat([1, 0], len(y)), doubled)
        assert fit_liblinear(x, y, w, strength) == pytest.approx(model.coef_[0], abs=1e-9)


@pytest.mark.parametrize("strength", [1e-4, 0.01, 0.05, 1.0, 21.5, 1e4])
def test_refits_are_where_a_tightly_converged_liblinear_is(strength):
    x, y, w = world()
    coefficients = refit(x, y, w, strength, np.zeros(3))
    for beta, weights in zip(coefficients, w, strict=True):
        assert beta == pytest.approx(tight(x, y, weights, strength), abs=2e-5)


@pytest.mark.parametrize("strength", [0.01, 1.0, 1e4])
def test_a_refit_meets_the_conditions_of_an_optimum(strength):
    x, y, w = world()
    for beta, weights in zip(refit(x, y, w, strength, np.zeros(3)), w, strict=True):
        pull = strength * (weights * (y - expit(x @ beta))) @ x
        zero = beta == 0
        # at 0 the loss may pull with at most 1; elsewhere it pulls with exactly the sign
        assert (np.abs(pull[zero]) <= 1 + 1e-6).all()
        assert pull[~zero] == pytest.approx(np.sign(beta[~zero]), abs=1e-4)


def test_the_start_does_not_matter():
    x, y, w = world()
    near = refit(x, y, w, 2.8, np.array([0.8, -0.4, -1.0]))
    assert refit(x, y, w, 2.8, np.array([9.0, 9.0, -9.0])) == pytest.approx(near, abs=1e-6)


def test_separable_labels_and_empty_features_are_finite():
    x, _, w = world()
    x[:, 1] = 0
    coefficients = refit(x, np.ones(len(x)), w, 1e4, np.zeros(3))
    assert np.isfinite(coefficients).all()
    assert (coefficients[:, 1] == 0).all()


def test_liblinear_is_near_the_optimum():
    x, y, w = world()
    assert fit_liblinear(x, y, w[0], 2.8) == pytest.approx(tight(x, y, w[0], 2.8), abs=1e-2)


def test_liblinear_that_does_not_converge_warns_nobody():
    x, _, w = world()
    assert np.isfinite(fit_liblinear(x, (x[:, 0] > 0).astype(float), w[0], 1e8)).all()


@pytest.mark.parametrize("positives", [1, 2])
def test_few_positive_labels_tighten_liblinears_tolerance(positives):
    # as many rows of the rarer label, of all rows, scale the tolerance of 1e-4
    x, _, _ = world(40, seed=5)
    y = (np.arange(40) < positives).astype(float)
    fixed = {"fit_intercept": False, "tol": 1e-4, "max_iter": 100, "random_state": 123}
    model = LogisticRegression(solver="liblinear", C=50.0, **fixed, **(L1 or {"l1_ratio": 1}))
    coefficients = model.fit(x, y).coef_[0]
    assert fit_liblinear(x, y, np.ones(40), 50.0) == pytest.approx(coefficients, abs=1e-9)


@pytest.mark.parametrize(
    ("coefficient", "gradient", "violation"),
    [
        (0.5, -0.7, 0.3),  # above zero the gradient of the loss is -1 at the optimum
        (-0.5, 0.7, 0.3),
        (0.0, -1.25, 0.25),
        (0.0, 1.25, 0.25),
        (0.0, 0.0, None),  # idle
        (0.0, -0.95, 0.0),  # within the margin of the bound: not idle
        (0.0, 0.95, 0.0),
    ],
)
def test_violations_of_the_conditions_of_an_optimum(coefficient, gradient, violation):
    assert _violation(coefficient, gradient, 0.1) == pytest.approx(violation)
