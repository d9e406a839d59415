import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from mygo.unknown.relative import RelativeMahalanobis, likelihood_ratio


def gaussians(num_classes: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return means, a covariance that is not diagonal, and some vectors, none of them of a class."""
    rng = torch.Generator().manual_seed(num_classes)
    factor = torch.randn(dim, dim, generator=rng)
    covariance = factor @ factor.T / dim + 0.5 * torch.eye(dim)
    return torch.randn(num_classes, dim, generator=rng), covariance, 2 * torch.randn(20, dim, generator=rng)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("num_classes", "dim"), [(2, 5), (7, 5), (4, 30)])
def test_it_is_the_difference_of_densities_of_gaussians(num_classes: int, dim: int, shrinkage: float) -> None:
    means, covariance, vectors = gaussians(num_classes, dim)
    found = RelativeMahalanobis.of(means, covariance, shrinkage)(vectors)
    shared = (1 - shrinkage) * covariance + shrinkage * covariance.diagonal().mean() * torch.eye(dim)
    centred = means - means.mean(0)
    everything = MultivariateNormal(means.mean(0), shared + centred.T @ centred / num_classes)
    of_all = everything.log_prob(vectors)
    for label, mean in enumerate(means):
        one = MultivariateNormal(mean, shared)
        constant = one.log_prob(mean) - everything.log_prob(everything.mean)
        expected = -2 * (one.log_prob(vectors) - of_all - constant)
        torch.testing.assert_close(found[:, label], expected, rtol=1e-3, atol=1e-3)


def test_the_ratio_is_that_of_the_mixture_to_the_one_gaussian_but_for_a_constant() -> None:
    means, covariance, vectors = gaussians(3, 4)
    centred = means - means.mean(0)
    everything = MultivariateNormal(means.mean(0), covariance + centred.T @ centred / 3)
    mixture = torch.stack([MultivariateNormal(mean, covariance).log_prob(vectors) for mean in means]).logsumexp(0)
    expected = -2 * (mixture - everything.log_prob(vectors))
    found = likelihood_ratio(RelativeMahalanobis.of(means, covariance, 0.0)(vectors))
    torch.testing.assert_close(found - found.mean(), expected - expected.mean(), rtol=1e-3, atol=1e-3)


def test_classes_that_do_not_vary_have_finite_distances() -> None:
    means = torch.eye(3)
    found = RelativeMahalanobis.of(means, torch.zeros(3, 3), 0.1)(torch.cat([means, torch.zeros(1, 3)]))
    assert found.isfinite().all()
    assert found[:3].argmin(1).tolist() == [0, 1, 2]
