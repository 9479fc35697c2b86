"""The model between two fits: new data, old hyperparameters."""

from __future__ import annotations

import torch

from metabo.baselines.refitted_gp import RefittedGP, is_due
from metabo.baselines.vanilla_gp import vanilla_gp
from metabo.space import InputSpace

LINE = InputSpace.from_bounds((-4, 4))
X = LINE.sample(12, seed=0)
Y = X.sin() + 3.0


def test_it_is_fitted_less_and_less_often() -> None:
    assert [n for n in range(1, 27) if is_due(n)] == [*range(1, 11), 15, 20, 25]


def test_when_it_is_due_it_is_the_vanilla_gp() -> None:
    own = RefittedGP(LINE)
    for n in (4, 10):
        expected = vanilla_gp(X[:n], Y[:n], LINE).posterior(X)
        torch.testing.assert_close(own.given(X[:n], Y[:n]).posterior(X).mean, expected.mean)


def test_in_between_it_has_the_new_data_and_the_old_hyperparameters() -> None:
    own = RefittedGP(LINE)
    fitted = own.given(X[:10], Y[:10])
    found = own.given(X[:11], Y[:11])
    assert found is not fitted
    assert len(found.train_targets) == 11
    torch.testing.assert_close(
        found.covar_module.lengthscale, fitted.covar_module.lengthscale, rtol=0, atol=0
    )
    torch.testing.assert_close(found.likelihood.noise, fitted.likelihood.noise, rtol=0, atol=0)
    torch.testing.assert_close(found.posterior(X[10:11]).mean, Y[10:11], rtol=0, atol=0.01)
